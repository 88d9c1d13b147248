/*
 * report.h - the log of a run: events and the curves that they smooth, scalars for TensorBoard alone, progress on a
 * terminal.
 *
 * All numbers are given by the caller.  Must not know data, networks or the output folder.
 */
#ifndef TRAIN_LOG_REPORT_H
#define TRAIN_LOG_REPORT_H

#include "../../adapter/adapter.h"
#include "../../base/progress.h"
#include "../../model/quantise.h"
#include "../../optimize/optimizer.h"
#include "card.h"
#include "events.h"
#include "loss_mean.h"
#include "page.h"

/* Smoothed values of the log.  A state carries them, so that the log of a resumed run goes on as if nothing had
 * happened.  0: no value yet. */
enum { CURVE_LOSS, CURVE_BIN, CURVES = CURVE_BIN + LOSS_BINS };

struct run_log {
	struct events events;
	double curves[CURVES];
	struct loss_mean mean;          /* for TensorBoard */
	struct progress *progress;
	struct card_rows card;          /* of this run */
	struct card_said said;
};

struct start_facts {
	const char *config, *resumed;   /* the settings as TOML; the state that the run goes on from, or NULL */
	long step, steps, rank;         /* steps done; of the run */
	size_t pictures, regularization, held_out, batches_per_epoch, modules, activation_bytes, planned_bytes;
	size_t blocks, checkpointed;    /* of a step */
	bool cheap_again;               /* plan_way's (fit.h) */
	uint64_t seed;
	const char *device;
	const char *engine, *not_joined;        /* between ranks: share.h's */
	bool trains;                    /* progress is shown */
	const char *base_precision;
	const struct quantising *quantising;
};
void report_start(struct run_log *l, const struct tool *tool, const struct start_facts *f);

struct step_facts {
	long step, per_epoch;                           /* its number, from 1; steps an epoch */
	double loss, lr, grad_norm, seconds;
	double data, compute, optimizer;                /* its phases, in seconds */
	double bin_loss[LOSS_BINS]; int bin_samples[LOSS_BINS];
	int samples, epoch;
	struct norm_facts norms;                        /* with scale_weight_norms */
	bool finite;
	const double *waited; int ranks;                /* seconds that each rank waited for the slowest one */
	const struct device_use *use;                   /* what the device did; NULL: it tells nothing */
	size_t planned_bytes;                           /* of its memory */
};
void report_step(struct run_log *l, const struct train_settings *s, const struct optimizer *o,
		 const struct step_facts *f);

struct validation_facts {
	long step, per_epoch;
	const double *loss;             /* [timesteps] */
	int timesteps;
	size_t pictures;
	bool of_step, of_epoch;         /* due by steps, by epochs, or both */
};
void report_validation(struct run_log *l, const struct validation_facts *f);

/* step: the number of steps done when it happens.  event: "save", "state" or "resume". */
void report_path(struct run_log *l, long step, const char *event, const char *path);
void report_finding(struct run_log *l, long step, const char *kind, const char *say);
void report_nonfinite(struct run_log *l, long step, const char *path, const char *say);
void report_sample(struct run_log *l, long step, size_t index, const char *path, const char *prompt, uint64_t seed,
		   int width, int height);
/* adapter: the path of the last one, NULL where it was not saved */
void report_end(struct run_log *l, long step, const char *why, const char *adapter);
void run_log_free(struct run_log *l);

/* board.c: scalars for TensorBoard alone, with sd-scripts' tags: before and after a step's event, and with a
 * validation's */
void board_step(struct run_log *l, const struct train_settings *s, const struct optimizer *o,
		const struct step_facts *f);
void board_epoch(struct run_log *l, const struct step_facts *f);
void board_validation(struct run_log *l, double loss, const struct validation_facts *f);

#endif
