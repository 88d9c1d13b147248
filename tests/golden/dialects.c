#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "subject.h"

/* One adapter under several names: each must have the same effect on the model that effect.safetensors names. */
struct dialects {
	struct subject *s;
	const struct safetensors *effect;
	int n;                          /* captions */
	int32_t *ids[2];                /* of each tokenizer */
};

struct forward { struct dialects *d; enum kind kind; const char *want; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct forward *x = arg;
	struct dialects *d = x->d;
	float *timestep = need_floats(d->effect, "timestep"), *time_ids = need_floats(d->effect, "time_ids");
	struct unet_input in = { .sample = upload_reference(t, d->effect, "sample"), .timestep = timestep, .time_ids = time_ids };
	struct clip_output one = { 0 }, two = { 0 };
	struct tensor *y;

	clip_forward(t, d->s->p.te1, d->ids[0], d->n, false, &one);
	clip_forward(t, d->s->p.te2, d->ids[1], d->n, true, &two);
	in.context = clip_context(t, one.penultimate, two.penultimate);
	in.pooled = two.pooled;
	y = unet_forward(t, d->s->p.unet, &in, NULL, NULL);
	compare_tensor(d->s, x->kind, t, y, d->effect, x->want);
	free(timestep);
	free(time_ids);
	return y;
}

static void run(struct dialects *d, enum kind kind, const char *want)
{
	struct error e = { 0 };

	if (!workspace_run(&d->s->p.work, forward, &(struct forward){ d, kind, want }, &e))
		failed(d->s->tally, "%s: %s", d->s->label, e.text);
}

static enum kind precision(const char *path)
{
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(path, &e);
	enum kind k = KIND_UNET;

	for (size_t i = 0; f && i < f->count; i++)
		if (dtype_size(f->tensor[i].dtype) < 4)
			k = KIND_HALF;
	safetensors_close(f);
	return k;
}

static void check_one(void *arg, const char *name)
{
	struct dialects *d = arg;
	struct pipeline *p = &d->s->p;
	char *path = path_join(d->s->folder, name);
	struct adapter *a;
	struct error e = { 0 };

	d->s->label = name;
	if (strcmp(name, "effect.safetensors")) {
		a = adapter_load(path, &p->layers, 1, false, p->be, p->device, &e);
		if (a)
			run(d, precision(path), "output_with");
		else
			failed(d->s->tally, "%s: %s", path, e.text);
		adapter_free(a);
	}
	free(path);
}

static int read_captions(struct dialects *d, struct error *e)
{
	const char *text = need_metadata(d->effect, "captions");
	const struct tokenizer *tokenizer[2] = { d->s->p.tokenizer1, d->s->p.tokenizer2 };
	json_t *captions = json_parse(d->effect->path, text, strlen(text), e);
	int length = d->s->p.config->te1.length, bad = !captions;

	d->n = json_array_size(captions);
	for (int k = 0; k < 2; k++) {
		d->ids[k] = xcalloc(d->n + 1, length * sizeof(int32_t));
		for (int i = 0; i < d->n && !bad; i++)
			bad = tokenizer_encode_padded(tokenizer[k], json_string_value(json_array_get(captions, i)), length,
						      d->ids[k] + i * length, e) < 0;
	}
	json_decref(captions);
	return bad ? -1 : 0;
}

void check_dialects(struct tally *t, const char *folder, const char *device)
{
	struct safetensors *effect = open_reference(folder, "effect.safetensors");
	char *model = path_join(folder, need_metadata(effect, "model"));
	struct subject s = { .label = "dialects", .folder = folder, .tally = t };
	struct dialects d = { .s = &s, .effect = effect };
	struct error e = { 0 };

	if (subject_open(&s, model, NULL, device, &e) < 0 || read_captions(&d, &e) < 0) {
		failed(t, "%s: %s", folder, e.text);
	} else {
		run(&d, KIND_UNET, "output_without");
		each_file(folder, "*.safetensors", check_one, &d);
	}
	subject_close(&s);
	free(d.ids[0]);
	free(d.ids[1]);
	free(model);
	safetensors_close(effect);
}
