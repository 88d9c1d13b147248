/* internal.h - what the files of a run share. */
#ifndef TRAIN_INTERNAL_H
#define TRAIN_INTERNAL_H

#include "../nn/workspace.h"
#include "course.h"
#include "data.h"
#include "keeper.h"
#include "networks.h"
#include "settings/settings.h"
#include "state.h"
#include "witness.h"

struct run {
	struct train_settings *s;
	const struct tool *tool;
	bool looks_ahead;               /* what is said now will be said again */
	struct run_data data;
	struct run_networks net;
	struct course course;
	struct keeper keeper;
	struct witness witness;
};

/* data.c: the latents, against the model's headers; their order; the length of the run */
int run_prepare_data(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
void run_make_order(struct run *r);                     /* of the data, once it is there */

/* data_stand_in.c: where there are no latents yet */
/* A sample of each bucket of the settings, with as many visits as fill a batch. */
int run_imagine_data(struct run *r, struct error *e) MUST_CHECK;
/* The pictures of a report of lora-prep, each with its bucket and repeats: the run's length and batches are then those of the run to be. */
int run_imagine_pictures(struct run *r, struct error *e) MUST_CHECK;

/* data_origin.c: latents of another VAE or other text encoders are refused, or said */
int run_check_origin(const struct run *r, struct error *e) MUST_CHECK;

/* schedule.c: the learning rate over r->total steps, 0 where it is not known */
int run_set_schedule(struct run *r, struct error *e) MUST_CHECK;

/* identity.c: identity and config */
void run_set_identity(struct run *r);
char *run_settings_of(const struct run *r, const char *config); /* of such a text what makes a run, malloced */

void run_free(struct run *r);

/* run_setup.c: what the settings alone can say; data and model; device, networks, memory */
int run_settings(struct run *r, struct error *e) MUST_CHECK;
const char *run_vae(const struct train_settings *s);    /* another than the model's, or NULL */
int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_open_device(struct run *r, struct error *e) MUST_CHECK;
size_t run_limit(const struct run *r);                  /* of device memory, as far as settings and device tell; 0: none */
int run_settle(struct run *r, struct error *e) MUST_CHECK;      /* how it is made to fit; EXIT_MEMORY where it cannot be */
int run_load(struct run *r, struct error *e) MUST_CHECK;        /* all but the arena */
int run_setup(struct run *r, struct error *e) MUST_CHECK;       /* settle, load, arena */

/* run_check.c: --plan and --check, which train nothing; what cannot fit is refused before the latents are read, where they are files */
int run_show_plan(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_check(struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;
int run_look_ahead(const struct run *r, const char *const *latents, size_t count, struct error *e) MUST_CHECK;

/* networks.c: what a run holds on its device, in this order; the arena is released and taken again where others need its room. */
struct batch_shape {
	int n, h, w;
	uint32_t sample;                /* one of its samples */
	size_t bytes, blocks;           /* once measured: activations of such a step; its blocks that may be checkpointed */
};
bool run_trains_text(const struct train_settings *s);
int run_load_text(struct run *r, struct error *e) MUST_CHECK;          /* nothing where text comes from the latents */
int run_load_unet(struct run *r, struct error *e) MUST_CHECK;
size_t run_shapes(const struct run *r, struct batch_shape **shapes);   /* all that the data gives; malloced */
void run_measure(struct run *r, struct batch_shape *shapes, size_t count);
int run_take_arena(struct run *r, struct error *e) MUST_CHECK;         /* nothing if it is there */
void run_give_arena(struct run *r);

/* networks_adapter.c: what is trained, and what hangs before it, with optimizer and average; words for the identity, only where something is
 * not usual */
int run_make_adapter(struct run *r, struct error *e) MUST_CHECK;
void run_adapter_identity(const struct run *r, struct buffer *out);
void run_bases_free(struct run *r);

/* batch.c: assembles micro-batch i of the place; the batch's buffers are reused */
void run_batch(struct run *r, const struct order_place *place, int micro, struct batch *b);
struct order_place run_place(struct run *r);            /* of the step that comes next */
struct order_batch run_samples_of(struct run *r, const struct order_place *place, int micro);
/* A sample as this step sees it: mirrored or not, one of its captions.  It borrows the data's memory. */
struct latent_sample run_drawn(const struct run *r, uint32_t sample, uint32_t item);
/* One sample without any draw: its mean as latent, its first caption; noisy, target, timestep and weight are the caller's. */
void run_batch_still(struct run *r, uint32_t sample, struct batch *b);
/* Zeros of such a batch's shape, to learn what a step takes. */
void run_batch_blank(struct run *r, const struct batch_shape *s, struct batch *b);
void run_batch_free(struct batch *b);

/* claims.c: what is written into the output folder against what is read (EXIT_USAGE): the adapter, as soon as its name is known, and the
 * rest, once it is known which steps come and what was resumed from */
int run_claim_adapter(const struct run *r, struct error *e) MUST_CHECK;
int run_claim_outputs(const struct run *r, struct error *e) MUST_CHECK;

/* resume.c: what lies in the output folder */
int run_lock(struct run *r, struct error *e) MUST_CHECK;
int run_resume(struct run *r, struct error *e) MUST_CHECK;
char *run_adapter_path(const struct run *r);            /* of the last one, malloced */
/* Resumed at the end: *finished, if its adapter lies there too.  Behind the end: EXIT_USAGE. */
int run_check_end(struct run *r, bool *finished, struct error *e) MUST_CHECK;
void run_tell_others(const struct run *r);              /* files of other runs that this one will replace */

/* room.c: what will be written against the room for it.  Without the adapter's it is EXIT_IO; without room for the rest too if strict,
 * else that is said. */
int run_check_room(struct run *r, bool strict, struct error *e) MUST_CHECK;
/* Would there be room for the last adapter behind this file of now?  EXIT_IO: no. */
int run_leave_room(const struct run *r, enum run_file file, struct error *e) MUST_CHECK;

/* save_when.c: on the way, when it is due; when stopped; at the end, the adapter first.  What is on the way and finds no space costs a
 * warning. */
unsigned run_due(const struct run *r, long step);       /* enum saved_by: what the settings say of a step */
int run_save_on_the_way(struct run *r, struct error *e) MUST_CHECK;
int run_save_stopped(struct run *r, struct error *e) MUST_CHECK;
int run_save_last(struct run *r, struct error *e) MUST_CHECK;

/* save.c; by: enum saved_by */
int run_save_adapter(struct run *r, unsigned by, struct error *e) MUST_CHECK;
int run_save_state(struct run *r, unsigned by, struct error *e) MUST_CHECK;
struct rotation run_adapter_rotation(const struct train_settings *s);
struct rotation run_state_rotation(const struct train_settings *s);
/* The weights that are saved, painted and validated, in the place of those in training: averages, if any are kept.  To be ended even after
 * a failure; ending what never began does nothing. */
int run_show_average(struct run *r, struct error *e) MUST_CHECK;
void run_end_average(struct run *r);

/* nonfinite.c: writes out what a step that was not finite saw; the step is the one that comes next */
void run_keep_nonfinite(struct run *r, const struct order_place *place);

/* validate.c */
int run_hold_out(struct run *r, struct error *e) MUST_CHECK;
void run_validate(struct run *r);                       /* when it is due */
size_t run_validation_need(struct run *r);              /* activations */

/* sample.c: pictures on the way.  What fails there costs a warning, not the run. */
int run_samples_open(struct run *r, struct error *e) MUST_CHECK;
void run_sample(struct run *r);                         /* when it is due */
double run_samples_ahead(const struct run *r, double *bytes);    /* how many pictures will be painted; about how large one is */
void run_samples_free(struct run *r);
void run_common_bucket(const struct run *r, int size[2]);       /* that most visits see; of equals the first in the data */
/* The most activations that r's pictures take.  The networks that they need are loaded onto dry's device, where they are counted, and freed. */
int run_samples_need(const struct run *r, struct run *dry, size_t *activations, struct error *e) MUST_CHECK;

/* report.c */
struct step_facts {
	double loss, lr, grad_norm, seconds;
	double data, compute, optimizer;                /* its phases, in seconds */
	double bin_loss[LOSS_BINS]; int bin_samples[LOSS_BINS];
	int samples, epoch;
	struct norm_facts norms;                        /* with scale_weight_norms */
	bool finite;
};
void report_start(struct run *r);
void report_step(struct run *r, const struct step_facts *f);
void report_save(struct run *r, const char *event, const char *path);
void report_end(struct run *r, const char *why, bool done);     /* done: the adapter is there */
void report_finding(struct run *r, const char *kind, const char *say);
void report_nonfinite(struct run *r, long step, const char *path, const char *say);
/* due by steps, by epochs, or both */
void report_validation(struct run *r, const double *loss, int timesteps, size_t pictures, bool of_step, bool of_epoch);
void report_sample(struct run *r, size_t index, const char *path, const char *prompt, uint64_t seed, int width, int height);
/* farewell.c: notes of where the adapter is, how to paint with it, where the curves are */
void run_tell_result(const struct run *r);
/* --print-lr */
int report_lr(const struct run *r, struct error *e) MUST_CHECK;

/* board.c: what TensorBoard alone shows, under sd-scripts' tags.  Before and after a step's event; with a validation's. */
void board_step(struct run *r, const struct step_facts *f);
void board_epoch(struct run *r);
void board_validation(struct run *r, double loss, bool of_step, bool of_epoch);

#endif
