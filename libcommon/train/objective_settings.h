/*
 * objective_settings.h - the objective from the settings, with checks against the model and notes on surprises.
 */
#ifndef TRAIN_OBJECTIVE_SETTINGS_H
#define TRAIN_OBJECTIVE_SETTINGS_H

#include "objective.h"
#include "settings/settings.h"

/* Schedules are made: release both with noise_schedule_free(). */
int objective_init(struct objective *o, const struct train_settings *s, const struct model_config *c, uint64_t seed,
		   struct error *e) MUST_CHECK;

#endif
