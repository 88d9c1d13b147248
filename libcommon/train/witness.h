/*
 * witness.h - what a run shows while it runs: events, curves, progress on a terminal, validation, sample pictures.
 *
 * Reads data, networks and course.  Validation and pictures use the arena's memory and the averages for a while.  Must
 * not know what is kept in the output folder.
 */
#ifndef TRAIN_WITNESS_H
#define TRAIN_WITNESS_H

#include "batch.h"
#include "course.h"
#include "data.h"
#include "log/report.h"
#include "networks.h"
#include "watch.h"

struct witness {
	struct train_settings *s;
	const struct tool *tool;
	struct run_data *data;
	struct run_networks *net;
	struct course *course;
	struct run_log log;
	struct run_samples *samples;    /* NULL: none are painted */
	struct watch watch;             /* of the device */
};

/* farewell.c: notes of where the adapter is, how to paint with it, where the curves are */
void witness_tell_result(const struct witness *w, const char *adapter);

/* validate.c */
void witness_validate(struct witness *w);               /* when it is due */
size_t validation_need(const struct batch_source *from);        /* bytes of activations */

/* sample.c: pictures during training.  A failure costs a warning, not the run. */
int witness_open_samples(struct witness *w, struct error *e) MUST_CHECK;
void witness_sample(struct witness *w);                 /* when it is due */
/* The number of pictures that will be painted, and the rough size of one. */
double witness_samples_ahead(const struct witness *w, double *bytes);
void samples_free(struct run_samples *x);               /* accepts NULL */
/* The most bytes of activations that a picture takes.  The other networks for it are loaded onto n's device, where they
 * are counted, and freed. */
int samples_need(const struct run_samples *x, struct run_networks *n, size_t *activations, struct error *e) MUST_CHECK;

/* resumed: the state that the run goes on from, or NULL; config: the settings as TOML; the others are struct share's */
void witness_tell_start(struct witness *w, const char *config, const char *resumed, const char *engine,
			const char *not_joined);
/* Around each step; the device is looked at from the first one on. */
void witness_step_begins(struct witness *w);
void witness_tell_step(struct witness *w, struct step_facts *f);
void witness_free(struct witness *w);

#endif
