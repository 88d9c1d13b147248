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
	float *timestep = need_floats(f, "timestep");
	struct unet_input in = { .sample = upload_reference(t, f, "sample"), .timestep = timestep };
	struct conditioning given = read_given(x->s, f, "");
	struct tensor *y;

	text_encoders_forward(t, &x->s->p.text, &effect->texts.batch, in.condition);
	unet_conditions(t, &x->s->p.config->unet, &given, in.condition);
	y = unet_forward(t, x->s->p.unet, &in, NULL, NULL);
	compare_tensor(x->s, x->kind, t, y, f, x->want);
	free(timestep);
	conditioning_free(&given);
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
	json_t *captions = json_parse(f->path, text, strlen(text), e);
	const int n = json_array_size(captions);
	const char **caption = xcalloc(n + 1, sizeof(*caption));
	int result = -1;

	*x = (struct effect){ .file = f };
	for (int i = 0; i < n; i++)
		caption[i] = json_string_value(json_array_get(captions, i));
	if (captions)
		result = encode_texts_padded(s, caption, n, &x->texts, e);
	free(caption);
	json_decref(captions);
	return result;
}

void effect_close(struct effect *x)
{
	free_texts(&x->texts);
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
