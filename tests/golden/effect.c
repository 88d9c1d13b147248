/* effect.c - what adapters do to a model: its output on the inputs of an effect*.safetensors, with what hangs on it. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "subject.h"

struct forward { const struct effect *effect; struct subject *s; enum kind kind; const char *want; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct forward *x = arg;
	const struct effect *effect = x->effect;
	const struct safetensors *f = effect->file;
	float *timestep = need_floats(f, "timestep"), *time_ids = need_floats(f, "time_ids");
	struct unet_input in = { .sample = upload_reference(t, f, "sample"), .timestep = timestep };
	struct conditioning sizes = { .rows = effect->n, .of = { [CONDITION_TIME_IDS] = { 1, TIME_IDS, time_ids } } };
	struct tensor *y;

	text_encoders_forward(t, &x->s->p.text, &(struct chunk_batch){ .n = effect->n, .chunks = 1, .ids = { effect->ids[0], effect->ids[1] } },
			      in.condition);
	unet_conditions(t, &x->s->p.config->unet, &sizes, in.condition);
	y = unet_forward(t, x->s->p.unet, &in, NULL, NULL);
	compare_tensor(x->s, x->kind, t, y, f, x->want);
	free(timestep);
	free(time_ids);
	return y;
}

void effect_compare(const struct effect *x, struct subject *s, enum kind kind, const char *want)
{
	struct error e = { 0 };

	if (!workspace_run(&s->p.work, forward, &(struct forward){ x, s, kind, want }, &e))
		failed(s->tally, "%s %s: %s", s->label, want, e.text);
}

int effect_open(struct effect *x, const struct subject *s, const struct safetensors *f, struct error *e)
{
	const char *text = need_metadata(f, "captions");
	const struct tokenizer *tokenizer[2] = { s->p.tokenizer[0], s->p.tokenizer[1] };
	json_t *captions = json_parse(f->path, text, strlen(text), e);
	int length = s->p.config->text[0].length, bad = !captions;

	*x = (struct effect){ .file = f, .n = json_array_size(captions) };
	for (int k = 0; k < 2; k++) {
		x->ids[k] = xcalloc(x->n + 1, length * sizeof(int32_t));
		for (int i = 0; i < x->n && !bad; i++)
			bad = tokenizer_encode_padded(tokenizer[k], json_string_value(json_array_get(captions, i)),
						      length, x->ids[k] + i * length, e) < 0;
	}
	json_decref(captions);
	return bad ? -1 : 0;
}

void effect_close(struct effect *x)
{
	free(x->ids[0]);
	free(x->ids[1]);
}

enum kind output_kind(const char *adapter)
{
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(adapter, &e);
	enum kind k = KIND_UNET;

	for (size_t i = 0; f && i < f->count; i++)
		if (dtype_size(f->tensor[i].dtype) < 4)
			k = KIND_HALF;
	safetensors_close(f);
	return k;
}
