/* What a repository of the hub must hold, and the command that fetches it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/memory.h"
#include "family.h"
#include "hub_files.h"

/* A file, what serves as well, and the part that it belongs to.  half: the repository of SDXL has it in half precision
 * too, as NAME.fp16.safetensors: half as much to fetch, and the numbers that training and painting use anyway. */
struct needed { unsigned part; bool half; const char *file, *instead[3]; };

#define UNET PART(COMPONENT_UNET)
#define TE1 PART(COMPONENT_TE1)
#define TE2 PART(COMPONENT_TE2)
#define VAE PART(COMPONENT_VAE)

static const struct needed model_files[] = {
	{ PARTS_ALL, false, "model_index.json", { "unet/config.json" } },
	{ PARTS_ALL, false, "unet/config.json", { NULL } },
	{ UNET, true, "unet/diffusion_pytorch_model", { "unet/diffusion_pytorch_model.safetensors.index.json",
		"unet/diffusion_pytorch_model.safetensors.index.fp16.json",
		"unet/diffusion_pytorch_model.fp16.safetensors.index.json" } },
	{ VAE, false, "vae/config.json", { NULL } },
	{ VAE, true, "vae/diffusion_pytorch_model", { NULL } },
	{ TE1, false, "text_encoder/config.json", { NULL } },
	{ TE1, true, "text_encoder/model", { NULL } },
	{ TE2, false, "text_encoder_2/config.json", { NULL } },
	{ TE2, true, "text_encoder_2/model", { "text_encoder_2/model.safetensors.index.json",
		"text_encoder_2/model.safetensors.index.fp16.json",
		"text_encoder_2/model.fp16.safetensors.index.json" } },
	{ TE1, false, "tokenizer/vocab.json", { NULL } },
	{ TE1, false, "tokenizer/merges.txt", { NULL } },
	{ TE2, false, "tokenizer_2/vocab.json", { NULL } },
	{ TE2, false, "tokenizer_2/merges.txt", { NULL } },
	{ PARTS_ALL, false, "scheduler/scheduler_config.json", { NULL } },
	{ 0, false, NULL, { NULL } },
};

static const struct needed vae_files[] = {
	{ VAE, false, "config.json", { NULL } },
	{ VAE, true, "diffusion_pytorch_model", { NULL } },
	{ 0, false, NULL, { NULL } },
};

static const struct needed *files_of(enum hub_kind kind)
{
	return kind == HUB_VAE ? vae_files : model_files;
}

bool hub_has(const char *folder, const char *name)
{
	char *path = xprintf("%s/%s", folder, name);
	bool there = access(path, R_OK) == 0;   /* follows the link into blobs/, which an interrupted download lacks */

	free(path);
	return there;
}

static char *weights(const struct needed *n, bool half)
{
	return xprintf("%s%s", n->file, !n->half ? "" : half ? ".fp16.safetensors" : ".safetensors");
}

static bool has_form(const char *folder, const struct needed *n, bool half)
{
	char *name = weights(n, half);
	bool there = hub_has(folder, name);

	free(name);
	return there;
}

static bool has_any(const char *folder, const struct needed *n)
{
	bool there = has_form(folder, n, false) || (n->half && has_form(folder, n, true));

	for (int i = 0; i < 3 && n->instead[i] && !there; i++)
		there = hub_has(folder, n->instead[i]);
	return there;
}

/* Of a set of parts those that a model of its family has.  folder NULL: the id tells. */
static unsigned parts_of(const char *id, const char *folder, enum hub_kind kind, unsigned needed)
{
	const struct family *f = kind == HUB_VAE ? NULL : folder ? model_config_family(folder) : family_of_hub(id);

	return f ? needed & f->parts : needed;
}

static const struct needed *missing_row(const char *folder, enum hub_kind kind, unsigned needed)
{
	for (const struct needed *n = files_of(kind); n->file; n++)
		if ((n->part & needed) && !has_any(folder, n))
			return n;
	return NULL;
}

bool hub_is_whole(const char *folder, enum hub_kind kind, unsigned needed)
{
	return !missing_row(folder, kind, parts_of(NULL, folder, kind, needed));
}

/* The released models' own repositories have both;
 * of others that were fetched once and lack the weights, it is the full ones that they have. */
static bool fetch_half(const char *id, const char *folder, enum hub_kind kind)
{
	if (kind == HUB_VAE)
		return false;
	if (family_of_hub(id))
		return true;
	for (const struct needed *n = model_files; folder && n->file; n++)
		if (n->half && has_form(folder, n, true))
			return true;
	return !folder;
}

static void add_word(struct buffer *out, const char *word)
{
	const bool plain =
		!word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_-+:@%")];

	buffer_adds(out, plain ? " " : " '");
	for (const char *p = word; *p; p++)
		if (*p == '\'')
			buffer_adds(out, "'\\''");
		else
			buffer_add(out, p, 1);
	buffer_adds(out, plain ? "" : "'");
}

int hub_tell_missing(const char *id, const char *folder, const char *root, const char *cache, enum hub_kind kind,
		     unsigned needed, struct error *e)
{
	const unsigned parts = parts_of(id, folder, kind, needed);
	const bool half = fetch_half(id, folder, kind);
	const struct needed *first = folder ? missing_row(folder, kind, parts) : NULL;
	char *missing = first ? weights(first, half) : NULL;
	struct buffer command = { 0 };

	buffer_addf(&command, "hf download %s", id);
	for (const struct needed *n = files_of(kind); n->file; n++) {
		char *name = weights(n, half);

		if (n->part & parts)
			buffer_addf(&command, " %s", name);
		free(name);
	}
	if (cache) {
		buffer_adds(&command, " --cache-dir");
		add_word(&command, cache);
	}
	if (missing)
		fail(e, EXIT_INPUT, "%s: the copy in %.150s has no %s; fetch it with: %s", id, root, missing,
		     command.data);
	else
		fail(e, EXIT_INPUT, "%s: no such file or folder, and no such model in %.150s; fetch it with: %s", id,
		     root, command.data);
	buffer_free(&command);
	free(missing);
	return -1;
}
