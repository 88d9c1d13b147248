/* A folder of reference values: opening it, comparing tensors with it. */
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

int subject_open(struct subject *s, const char *model, const char *config, const char *device, struct error *e)
{
	if (pipeline_find(&s->p, model, config, NULL, e) < 0 || pipeline_load(&s->p, device, e) < 0)
		return -1;
	s->encoder = vae_load(s->p.files, s->p.be, s->p.device, true, false, e);
	return s->encoder ? 0 : -1;
}

void subject_close(struct subject *s)
{
	vae_free(s->encoder);
	pipeline_close(&s->p);
}

int each_file(const char *folder, const char *pattern, void (*fn)(void *arg, const char *name), void *arg)
{
	char *path = path_join(folder, pattern);
	glob_t found;
	int n = 0;

	if (glob(path, 0, NULL, &found) == 0) {
		for (n = 0; n < (int)found.gl_pathc; n++)
			if (fn)
				fn(arg, strrchr(found.gl_pathv[n], '/') + 1);
		globfree(&found);
	}
	free(path);
	return n;
}

/* Adapters are what training files begin with; tables of names are for tests/unit. */
static const char *const taken[] = {
	"text.safetensors", "vae.safetensors", "unet.safetensors", "losses.safetensors", "sample_*.safetensors",
	"train_*.safetensors", "lora_*.safetensors", "noising.safetensors", "mask.safetensors", "model", "*.tsv",
};

static void sample_file(void *arg, const char *name)    { check_sample(arg, name); }
static void train_file(void *arg, const char *name)     { check_train(arg, name); }

static void other_file(void *arg, const char *name)
{
	const struct subject *s = arg;

	if (!strcmp(name, "schedules.json") && exists(s->folder, "noising.safetensors"))
		return;                 /* of a flow */
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (!fnmatch(taken[i], name, 0))
			return;
	skipped(s->tally, "%s %s: not compared: nothing here takes it", s->label, name);
}

void check_model(struct subject *s)
{
	struct safetensors *text = open_reference(s->folder, "text.safetensors");
	struct safetensors *vae = open_reference(s->folder, "vae.safetensors");
	struct safetensors *unet = open_reference(s->folder, "unet.safetensors");

	if (text)
		check_text(s, text, text);
	if (vae)
		check_vae(s, vae, vae);
	if (unet)
		check_unet(s, unet, unet);
	each_file(s->folder, "sample_*.safetensors", sample_file, s);
	check_losses(s);
	check_flow(s);
	check_hole(s);
	each_file(s->folder, "train_*.safetensors", train_file, s);
	each_file(s->folder, "*", other_file, s);
	close_reference(s, text);
	close_reference(s, vae);
	close_reference(s, unet);
}
