/*
 * adapter.h - settings of the adapter: network_args, learning rates, blocks, base weights.
 */
#ifndef TRAIN_SETTINGS_ADAPTER_H
#define TRAIN_SETTINGS_ADAPTER_H

#include "../../adapter/adapter.h"
#include "settings.h"

/* network_args into the fields that plain keys set too; learning rates of the parts into s->lr. */
/* Kinds of adapters that are known and not there. */
extern const struct option_refusal network_modules[];

int adapter_settings_finish(struct train_settings *s, struct error *e) MUST_CHECK;
/* The blocks' plan; *given says whether there is one.  family NULL: not known yet */
int adapter_settings_blocks(const struct train_settings *s, const struct family *family, struct block_plan *p,
			    bool *given, struct error *e) MUST_CHECK;
/* Weight of base_weights[i] */
double adapter_base_weight(const struct train_settings *s, size_t i);
enum dora_axis adapter_settings_dora(const struct train_settings *s);
/* The learning rate to show: the UNet's, or where it is not trained the text encoders'. */
double adapter_settings_rate(const struct train_settings *s);
double adapter_settings_lowest_rate(const struct train_settings *s);    /* of what is trained */
/* The value of ss_network_args as a JSON object, malloced; NULL: nothing beyond conv_dim and conv_alpha. */
char *adapter_settings_json(const struct train_settings *s);

#endif
