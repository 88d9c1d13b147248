#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/memory.h"
#include "hub_cache.h"

/* What a model is made of: the file to fetch, and what serves as well. */
struct needed { const char *file, *instead[3]; };

static const struct needed model_files[] = {
	{ "model_index.json", { "unet/config.json" } },
	{ "unet/config.json", { NULL } },
	{ "unet/diffusion_pytorch_model.safetensors", { "unet/diffusion_pytorch_model.fp16.safetensors",
		"unet/diffusion_pytorch_model.safetensors.index.json",
		"unet/diffusion_pytorch_model.safetensors.index.fp16.json" } },
	{ "vae/config.json", { NULL } },
	{ "vae/diffusion_pytorch_model.safetensors", { "vae/diffusion_pytorch_model.fp16.safetensors" } },
	{ "text_encoder/config.json", { NULL } },
	{ "text_encoder/model.safetensors", { "text_encoder/model.fp16.safetensors" } },
	{ "text_encoder_2/config.json", { NULL } },
	{ "text_encoder_2/model.safetensors", { "text_encoder_2/model.fp16.safetensors",
		"text_encoder_2/model.safetensors.index.json",
		"text_encoder_2/model.safetensors.index.fp16.json" } },
	{ "tokenizer/vocab.json", { NULL } },
	{ "tokenizer/merges.txt", { NULL } },
	{ "tokenizer_2/vocab.json", { NULL } },
	{ "tokenizer_2/merges.txt", { NULL } },
	{ "scheduler/scheduler_config.json", { NULL } },
	{ NULL, { NULL } },
};

static const struct needed vae_files[] = {
	{ "config.json", { NULL } },
	{ "diffusion_pytorch_model.safetensors", { "diffusion_pytorch_model.fp16.safetensors" } },
	{ NULL, { NULL } },
};

/* Letters, digits, "-_.", but neither ".." nor "--" (the cache writes "--" for the slash). */
static bool id_part(const char *s, size_t n)
{
	char before = '.';

	if (n < 1 || n > 96 || *s == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		bool repeated = s[i] == before && (s[i] == '.' || s[i] == '-');

		if (repeated || (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i])))
			return false;
		before = s[i];
	}
	return true;
}

bool hub_id(const char *text)
{
	const char *slash = strchr(text, '/');

	return slash && id_part(text, slash - text) && id_part(slash + 1, strlen(slash + 1));
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *cache_root(void)
{
	static const struct { const char *variable, *below; } places[] = {
		{ "HF_HUB_CACHE", "" }, { "HUGGINGFACE_HUB_CACHE", "" }, { "HF_HOME", "/hub" }, 
		{ "XDG_CACHE_HOME", "/huggingface/hub" }, { "HOME", "/.cache/huggingface/hub" },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (variable(places[i].variable))
			return xprintf("%s%s", variable(places[i].variable), places[i].below);
	return xstrdup("/.cache/huggingface/hub");
}

/* refs/main holds the commit that the branch pointed to at the last download. */
static bool main_commit(const char *repository, char commit[65])
{
	char *path = xprintf("%s/refs/main", repository);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(commit, 1, 64, f) : 0;

	if (f)
		fclose(f);
	free(path);
	while (n && isspace((unsigned char)commit[n - 1]))
		n--;
	commit[n] = 0;
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)commit[i]))
			return false;
	return n > 0;
}

static bool has_file(const char *folder, const char *name)
{
	char *path = xprintf("%s/%s", folder, name);
	bool there = access(path, R_OK) == 0;   /* follows the link into blobs/, which an interrupted download lacks */

	free(path);
	return there;
}

/* NULL: whole. */
static const char *first_missing(const char *folder, const struct needed *need)
{
	for (; need->file; need++) {
		bool there = has_file(folder, need->file);

		for (int i = 0; i < 3 && need->instead[i] && !there; i++)
			there = has_file(folder, need->instead[i]);
		if (!there)
			return need->file;
	}
	return NULL;
}

static int miss(const char *id, const char *root, const char *missing, const struct needed *need, struct error *e)
{
	struct buffer command = { 0 };

	buffer_addf(&command, "hf download %s", id);
	for (; need->file; need++)
		buffer_addf(&command, " %s", need->file);
	if (missing)
		fail(e, EXIT_INPUT, "%s: the copy in %.150s has no %s; fetch it with: %s", id, root, missing,
		     command.data);
	else
		fail(e, EXIT_INPUT, "%s: no such file or folder, and no such model in %.150s; fetch it with: %s", id,
		     root, command.data);
	buffer_free(&command);
	return -1;
}

static char *resolve(const char *id, const struct needed *need, struct error *e)
{
	int owner = strchr(id, '/') - id;
	char *root = cache_root(), *folder = NULL;
	char *repository = xprintf("%s/models--%.*s--%s", root, owner, id, id + owner + 1);
	const char *missing = NULL;
	char commit[65];

	if (main_commit(repository, commit))
		folder = xprintf("%s/snapshots/%s", repository, commit);
	if (folder)
		missing = first_missing(folder, need);
	if (!folder || missing) {
		miss(id, root, missing, need, e);
		free(folder);
		folder = NULL;
	}
	free(root);
	free(repository);
	return folder;
}

char *hub_model(const char *id, struct error *e)
{
	return resolve(id, model_files, e);
}

char *hub_vae(const char *id, struct error *e)
{
	return resolve(id, vae_files, e);
}
