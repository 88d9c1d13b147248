/* run_internal.h - what the files of a run share: run.c, run_setup.c, run_batch.c, run_save.c, run_report.c. */
#ifndef TRAIN_RUN_INTERNAL_H
#define TRAIN_RUN_INTERNAL_H

#include "../base/progress.h"
#include "../data/latents.h"
#include "lr_schedule.h"
#include "objective.h"
#include "optimizer.h"
#include "order.h"
#include "run.h"
#include "state.h"
#include "step.h"

struct run {
	struct train_settings *s;
	const struct tool *tool;
	int lock;                       /* descriptor of the locked file in the output folder */

	struct latent_set data;
	struct order *order;
	struct objective objective;
	struct lr_schedule lr;
	uint64_t seed;
	long total, done;               /* optimizer steps: of the run; behind us */

	struct model_files *files;
	const struct backend *be;
	struct device *device;
	struct unet *unet;
	struct clip *te1, *te2;         /* NULL: text comes from the latents */
	struct networks networks;
	struct layer_list layers;
	struct adapter *adapter;
	struct optimizer optimizer;
	struct tape *tape;
	size_t activation_bytes;
	int32_t **ids1, **ids2;         /* [samples][length] when text encoders run */

	char *identity, *config;        /* what a resume must have in common; the settings as TOML */
	int json;                       /* descriptor of the metrics, -1: nobody reads them */
	struct error lost;              /* why metrics could not be written, where that is no reader's choice */
	struct json_out line;
	struct progress *progress;
	bool save_failed;               /* the last one on the way: no space */
	int nonfinite;                  /* steps in a row */
	double smooth;                  /* loss, for the bar */
};

/* run_setup.c: what the settings alone can say; then data, networks, memory */
int run_settings(struct run *r, struct error *e) MUST_CHECK;
int run_setup(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
void run_free(struct run *r);

/* run_batch.c: assembles micro-batch i of the place; the batch's buffers are reused */
void run_batch(struct run *r, const struct order_place *place, int micro, struct batch *b);
void run_batch_free(struct batch *b);

/* run_save.c */
int run_lock(struct run *r, struct error *e) MUST_CHECK;
int run_resume(struct run *r, struct error *e) MUST_CHECK;
int run_save_adapter(struct run *r, bool last, struct error *e) MUST_CHECK;
int run_save_state(struct run *r, struct error *e) MUST_CHECK;

/* run_report.c */
struct step_facts { double loss, lr, grad_norm, seconds; int samples, epoch; bool finite; };
void report_start(struct run *r);
void report_step(struct run *r, const struct step_facts *f);
void report_save(struct run *r, const char *event, const char *path);
void report_end(struct run *r, const char *why);
/* --print-lr */
int report_lr(const struct run *r, struct error *e) MUST_CHECK;

#endif
