/* The values with which golden training runs begin. */
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "train.h"

struct initial { struct subject *s; const struct safetensors *f, *text, *unet; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct initial *x = arg;
	struct subject *s = x->s;
	const char *sample = safetensors_find(x->unet, "small.sample") ? "small.sample" : "sample";
	float *timestep = need_floats(x->unet, "timestep");
	struct unet_input in = { .sample = upload_reference(t, x->unet, sample), .timestep = timestep };
	struct conditioning given = read_given(s, x->unet, "");
	struct texts texts;
	struct tensor *y;

	read_texts(s, x->text, "", &texts);
	texts.batch.n = need(x->f, "initial.context")->shape[0];
	texts.batch.skip = read_skip(x->f);
	text_encoders_forward(t, &s->p.text, &texts.batch, in.condition);
	unet_conditions(t, &s->p.config->unet, &given, in.condition);
	y = unet_forward(t, s->p.unet, &in, NULL, NULL);
	for (int i = 0; i < CONDITIONS; i++) {
		char *name = xprintf("initial.%s", condition_name(i));
		if (condition_is_text(i) && in.condition[i])
			compare_tensor(s, KIND_TEXT, t, in.condition[i], x->f, name);
		free(name);
	}
	compare_tensor(s, KIND_UNET, t, y, x->f, "initial.unet_output");
	free_texts(&texts);
	free(timestep);
	conditioning_free(&given);
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
	close_reference(NULL, text);
	close_reference(NULL, unet);
}
