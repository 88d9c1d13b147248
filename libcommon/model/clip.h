/*
 * clip.h - a CLIP text encoder (either of SDXL's two): ids to hidden states and the pooled vector.
 */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H

#include "layers.h"

struct clip;
struct clip *clip_load(const struct model_files *m, enum component which, const struct backend *be, struct device *d, struct error *e)
	MUST_CHECK;
void clip_free(struct clip *c);                                 /* accepts NULL */
const struct clip_config *clip_config(const struct clip *c);
void clip_layers(struct clip *c, struct layer_list *list);      /* appends its layers */

struct clip_output {
	struct tensor *penultimate;     /* [n,length,1,width]: input of the last layer, no final norm: what the UNet reads */
	struct tensor *pooled;          /* [n,1,1,projection]: final norm at the first EOS, projected; NULL without a projection */
	struct tensor *last;            /* [n,length,1,width] after the final norm; NULL unless asked for */
	struct tensor **hidden;         /* [layers+1], 0 = embeddings; NULL unless the caller gave room for them */
};
/* ids host [n,length].  want_pooled: runs the last layer and the projection (skipped otherwise). */
void clip_forward(struct tape *t, const struct clip *c, const int32_t *ids, int n, bool want_pooled, struct clip_output *out);

/* Both encoders' states side by side as the UNet wants them: [n,length,1,width1+width2]. */
struct tensor *clip_context(struct tape *t, struct tensor *penultimate1, struct tensor *penultimate2);

#endif
