/*
 * clip.h - a CLIP text encoder: from token ids to hidden states and the pooled vector.
 *
 * Must not know tokenizers or which state a model reads.
 */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H

#include "family.h"
#include "layers.h"

struct clip;
/* on_host: matrices stay in host memory (struct weight) */
struct clip *clip_load(const struct model_files *m, enum component which, const struct backend *be, struct device *d,
		       bool on_host, struct error *e) MUST_CHECK;
void clip_free(struct clip *c);                                 /* accepts NULL */
const struct clip_config *clip_config(const struct clip *c);
void clip_layers(struct clip *c, struct layer_list *list);      /* appends its layers */

struct clip_output {
	struct tensor *state;           /* [n,length,1,width]: the hidden state that was asked for */
	/* [n,1,1,projection]: final norm at the first EOS, projected; NULL unless asked for, or without a projection */
	struct tensor *pooled;
	/* [n,length,1,width] after the final norm; NULL where the last layer is not needed */
	struct tensor *last;
	struct tensor **hidden;         /* [layers+1], 0 = embeddings; NULL unless the caller gave room for them */
};
/* ids: host, [n,length].  Runs only the layers that are needed.  how->skip: from 1 to layers + 1. */
void clip_forward(struct tape *t, const struct clip *c, const int32_t *ids, int n, const struct text_reading *how,
		  struct clip_output *out);

#endif
