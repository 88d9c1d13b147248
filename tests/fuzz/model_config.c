/* A model's folder of config files, one of them the input's; the first byte says which.  What is accepted has sizes
 * that memory can be counted for: none is 0 or negative, heads and groups divide what they cut. */
#include <sys/stat.h>
#include "fuzz.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/model/family.h"

#define MODEL "demo/tiny-sdxl/"

static const char *const files[] = {
	"unet/config.json", "vae/config.json", "text_encoder/config.json", "text_encoder_2/config.json",
	"scheduler/scheduler_config.json",
};
enum { FILES = sizeof(files) / sizeof(*files) };

static void put(const char *folder, const char *name, const void *bytes, size_t n)
{
	char *path = path_join(folder, name);
	FILE *f;

	*strrchr(path, '/') = 0;
	mkdir(path, 0777);
	path[strlen(path)] = '/';
	f = fopen(path, "w");
	HOLDS(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
	free(path);
}

static void put_own(const char *folder, const char *name)
{
	struct buffer b = { 0 };
	struct error e;
	char *path = path_join(MODEL, name);

	HOLDS(read_file(path, 1 << 20, &b, &e) == 0);
	put(folder, name, b.data, b.len);
	buffer_free(&b);
	free(path);
}

static void check_clip(const struct clip_config *c)
{
	HOLDS(c->vocabulary > 0 && c->length > 2 && c->width > 0 && c->layers > 0 && c->heads > 0 && c->mlp > 0 &&
	      c->projection >= 0);
	HOLDS(c->width % c->heads == 0);
}

static void check(const struct model_config *c)
{
	const struct unet_config *u = &c->unet;
	const struct vae_config *v = &c->vae;

	HOLDS(u->levels > 0 && u->levels <= MAX_LEVELS && v->levels > 0 && v->levels <= MAX_LEVELS);
	for (int i = 0; i < u->levels; i++) {
		HOLDS(u->channels[i] > 0 && u->depth[i] >= 0 && u->groups > 0 && u->channels[i] % u->groups == 0);
		HOLDS(!u->attention[i] || (u->heads[i] > 0 && u->channels[i] % u->heads[i] == 0));
	}
	for (int i = 0; i < v->levels; i++)
		HOLDS(v->channels[i] > 0 && v->groups > 0 && v->channels[i] % v->groups == 0);
	HOLDS(u->in_channels > 0 && u->out_channels > 0 && u->resnets > 0 && u->context > 0 && u->mid_depth > 0);
	HOLDS(u->channels[u->levels - 1] % u->heads[u->levels - 1] == 0);
	HOLDS(u->time_ids_dim >= 0 && u->pooled >= 0 && (u->time_ids_dim > 0) == (u->pooled > 0));
	HOLDS(v->in_channels > 0 && v->latent_channels > 0 && v->resnets > 0 && v->factor == 1 << (v->levels - 1));
	HOLDS(c->schedule.train_steps > 0 && c->schedule.beta_start > 0 && c->schedule.beta_end < 1);
	for (int i = 0; i < c->family->texts; i++)
		check_clip(&c->text[i]);
	HOLDS(model_size_step(c) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char folder[] = "/dev/shm/fuzz-model-XXXXXX";
	static bool made;
	struct model_config c;
	struct error e = { 0 };
	int which = n ? bytes[0] % FILES : 0;

	if (!made) {
		HOLDS(mkdtemp(folder));
		for (int i = 0; i < FILES; i++)
			put_own(folder, files[i]);
		put_own(folder, "model_index.json");
		made = true;
	}
	if (n == 0)
		return 0;
	put(folder, files[which], bytes + 1, n - 1);
	if (model_config_read(folder, &c, &e) < 0)
		HOLDS(e.code == EXIT_INPUT);
	else
		check(&c);
	put_own(folder, files[which]);
	return 0;
}
