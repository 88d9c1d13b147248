/*
 * settings_objective.h - what the settings say about the objective, checked against the model and said where it surprises.
 */
#ifndef TRAIN_OBJECTIVE_SETTINGS_H
#define TRAIN_OBJECTIVE_SETTINGS_H

#include "objective.h"
#include "settings/settings.h"

/* Schedules are made: release both with noise_schedule_free(). */
int objective_init(struct objective *o, const struct train_settings *s, const struct model_config *c, uint64_t seed,
		   struct error *e) MUST_CHECK;

#endif
