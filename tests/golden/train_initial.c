#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "train.h"

struct initial { struct subject *s; const struct safetensors *f, *text, *unet; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct initial *x = arg;
	struct subject *s = x->s;
	int n = need(x->f, "initial.context")->shape[0];
	int32_t *ids1 = need_ids(x->text, "input_ids_1"), *ids2 = need_ids(x->text, "input_ids_2");
	float *timestep = need_floats(x->unet, "timestep"), *time_ids = need_floats(x->unet, "time_ids");
	struct unet_input in = { .sample = upload_reference(t, x->unet, "small.sample"), .timestep = timestep };
	struct conditioning sizes = { .rows = n, .of = { [CONDITION_TIME_IDS] = { 1, TIME_IDS, time_ids } } };
	struct tensor *y;

	text_encoders_forward(t, &s->p.text, &(struct chunk_batch){ .n = n, .chunks = 1, .ids = { ids1, ids2 } }, in.condition);
	unet_conditions(t, &s->p.config->unet, &sizes, in.condition);
	y = unet_forward(t, s->p.unet, &in, NULL, NULL);
	compare_tensor(s, KIND_TEXT, t, in.condition[CONDITION_CONTEXT], x->f, "initial.context");
	compare_tensor(s, KIND_TEXT, t, in.condition[CONDITION_POOLED], x->f, "initial.pooled");
	compare_tensor(s, KIND_UNET, t, y, x->f, "initial.unet_output");
	free(ids1);
	free(ids2);
	free(timestep);
	free(time_ids);
	return y;
}

void check_initial(struct subject *s, const char *label, const struct safetensors *f)
{
	struct safetensors *text, *unet;
	struct subject named = *s;
	struct error e = { 0 };

	if (!safetensors_find(f, "initial.context"))
		return;
	named.label = label;
	text = open_reference(s->inputs ? s->inputs : s->folder, "text.safetensors");
	unet = open_reference(s->inputs ? s->inputs : s->folder, "unet.safetensors");
	if (!text || !unet)
		skipped(s->tally, "%s initial: no text.safetensors or unet.safetensors with its inputs", label);
	else if (!workspace_run(&named.p.work, forward, &(struct initial){ &named, f, text, unet }, &e))
		failed(s->tally, "%s initial: %s", label, e.text);
	s->p.work = named.p.work;
	safetensors_close(text);
	safetensors_close(unet);
}
