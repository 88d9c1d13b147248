/* A single-file checkpoint against the diffusers folder that it was made from. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

struct single { struct tally *tally; const char *folder, *device; };

/* STEM.expect.safetensors holds a few values of the model at hand; inputs come from the sibling folder's files. */
static void check_expected(struct subject *s, const struct safetensors *expect)
{
	static const struct { const char *file; void (*check)(struct subject *, const struct safetensors *,
							      const struct safetensors *); } part[] = {
		{ "text.safetensors", check_text }, { "vae.safetensors", check_vae },
		{ "unet.safetensors", check_unet },
	};

	for (size_t i = 0; i < sizeof(part) / sizeof(*part); i++) {
		struct safetensors *in = open_reference(s->folder, part[i].file);
		if (in)
			part[i].check(s, in, expect);
		else
			skipped(s->tally, "%s: no %s/%s for its inputs", s->label, s->folder, part[i].file);
		close_reference(NULL, in);
	}
}

static void check_file(const struct single *x, const char *stem, const char *model, const char *sibling)
{
	char *label = xprintf("%s.safetensors", stem), *config = path_join(sibling, "model"),
		*name = xprintf("%s.expect.safetensors", stem);
	struct safetensors *expect = open_reference(x->folder, name);
	struct subject s = { .label = label, .folder = sibling, .tally = x->tally };
	struct error e = { 0 };

	if (subject_open(&s, model, config, x->device, &e) < 0)
		failed(x->tally, "%s: %s", label, e.text);
	else if (expect)
		check_expected(&s, expect);
	else
		check_model(&s);
	close_reference(&s, expect);
	subject_close(&s);
	free(label);
	free(config);
	free(name);
}

static void check_one(void *arg, const char *name)
{
	const struct single *x = arg;
	char *stem, *model, *sibling;

	if (strstr(name, ".expect."))
		return;
	stem = xstrndup(name, strlen(name) - strlen(".safetensors"));
	model = path_join(x->folder, name);
	sibling = xprintf("%s/../%s", x->folder, stem);
	if (exists(sibling, "model"))
		check_file(x, stem, model, sibling);
	else
		skipped(x->tally, "%s: no folder %s/model that tells its sizes", model, sibling);
	free(stem);
	free(model);
	free(sibling);
}

void check_single_files(struct tally *t, const char *folder, const char *device)
{
	struct single x = { t, folder, device };

	if (!each_file(folder, "*.safetensors", check_one, &x))
		failed(t, "%s: neither a model folder, nor captions.jsonl, nor single files", folder);
}
