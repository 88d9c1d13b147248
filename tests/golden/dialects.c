/* dialects.c - one adapter under several names: each must have the same effect on the model that effect.safetensors
 * names. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

struct dialects { struct subject *s; struct effect effect; };

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
			effect_compare(&d->effect, d->s, output_kind(path), "output_with");
		else
			failed(d->s->tally, "%s: %s", path, e.text);
		adapter_free(a);
	}
	free(path);
}

void check_dialects(struct tally *t, const char *folder, const char *device)
{
	struct safetensors *f = open_reference(folder, "effect.safetensors");
	char *model = path_join(folder, need_metadata(f, "model"));
	struct subject s = { .label = "dialects", .folder = folder, .tally = t };
	struct dialects d = { .s = &s };
	struct error e = { 0 };

	if (subject_open(&s, model, NULL, device, &e) < 0 || effect_open(&d.effect, &s, f, &e) < 0) {
		failed(t, "%s: %s", folder, e.text);
	} else {
		effect_compare(&d.effect, &s, KIND_UNET, "output_without");
		each_file(folder, "*.safetensors", check_one, &d);
	}
	effect_close(&d.effect);
	subject_close(&s);
	free(model);
	close_reference(NULL, f);
}
