/*
 * witness.h - what a run shows while it runs: events, curves, progress on a terminal, validation, sample pictures.
 *
 * Reads data, networks and course.  Validation and pictures use the arena's memory and the averages for a while.  Must
 * not know what is kept in the output folder.
 */
#ifndef TRAIN_WITNESS_H
#define TRAIN_WITNESS_H

#include "../base/progress.h"
#include "batch.h"
#include "course.h"
#include "data.h"
#include "log/events.h"
#include "log/loss_mean.h"
#include "log/page.h"
#include "networks.h"

/* Smoothed values of the log.  A state carries them, so that the log of a resumed run goes on as if nothing had
 * happened.  0: no value yet. */
enum { CURVE_LOSS, CURVE_BIN, CURVES = CURVE_BIN + LOSS_BINS };

struct witness {
	struct train_settings *s;
	const struct tool *tool;
	struct run_data *data;
	struct run_networks *net;
	struct course *course;
	struct events events;
	double curves[CURVES];
	struct loss_mean mean;          /* for TensorBoard */
	struct progress *progress;
	struct run_samples *samples;    /* NULL: none are painted */
};

/* report.c */
struct step_facts {
	double loss, lr, grad_norm, seconds;
	double data, compute, optimizer;                /* its phases, in seconds */
	double bin_loss[LOSS_BINS]; int bin_samples[LOSS_BINS];
	int samples, epoch;
	struct norm_facts norms;                        /* with scale_weight_norms */
	bool finite;
};
/* config: the settings as TOML; resumed: the state that the run goes on from, or NULL */
void report_start(struct witness *w, const char *config, const char *resumed);
void report_step(struct witness *w, const struct step_facts *f);
void report_save(struct witness *w, const char *event, const char *path);
void report_end(struct witness *w, const char *why, const char *adapter);      /* adapter: NULL where it is not there */
void report_finding(struct witness *w, const char *kind, const char *say);
void report_nonfinite(struct witness *w, long step, const char *path, const char *say);
/* due by steps, by epochs, or both */
void report_validation(struct witness *w, const double *loss, int timesteps, size_t pictures, bool of_step,
		       bool of_epoch);
void report_sample(struct witness *w, size_t index, const char *path, const char *prompt, uint64_t seed, int width,
		   int height);
int report_lr(const struct course *c, struct error *e) MUST_CHECK;      /* --print-lr */

/* board.c: scalars for TensorBoard alone, with sd-scripts' tags: before and after a step's event, and with a
 * validation's */
void board_step(struct witness *w, const struct step_facts *f);
void board_epoch(struct witness *w);
void board_validation(struct witness *w, double loss, bool of_step, bool of_epoch);

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

void witness_free(struct witness *w);

#endif
