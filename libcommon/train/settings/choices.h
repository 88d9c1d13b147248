/*
 * choices.h - names of settings that are an enum elsewhere, each list in the enum's order.
 *
 * The option's row and the code that reads its value take both from here, through choice_index().
 */
#ifndef TRAIN_SETTINGS_CHOICES_H
#define TRAIN_SETTINGS_CHOICES_H

#define LOSS_NAMES "l2|l1|huber|smooth_l1"                      /* enum loss_kind, backend.h */
#define HUBER_SCHEDULE_NAMES "constant|exponential|snr"         /* enum huber_schedule, train/objective.h */
#define CARD_NAMES "a4000|a5000|a6000|3090|4090|l40s|a100|h100|h200"    /* train/plan/cards.c */
#define BASE_PRECISION_NAMES "fp16|int8|fp8|nf4"                /* quantise_type(), model/quantise.h */
/* sd-scripts' timestep_sampling */
enum flow_draw { FLOW_SIGMA, FLOW_UNIFORM, FLOW_SIGMOID, FLOW_SHIFT };
#define FLOW_DRAW_NAMES "sigma|uniform|sigmoid|shift"

#endif
