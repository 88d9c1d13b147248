/* The text about a picture's making in A1111's format, and the hashes in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "../base/retry.h"
#include "../adapter/adapter_scale.h"
#include "parameters.h"

enum { PIECE = 1 << 20, MODEL_DIGITS = 10, LORA_DIGITS = 12 };

/* ---- names ---- */

/* The last part of a path without ".safetensors", which is how A1111 calls a file. */
static char *file_name(const char *path)
{
	static const char ending[] = ".safetensors";
	size_t n = strlen(path), k = sizeof(ending) - 1, start;

	while (n > 1 && path[n - 1] == '/')
		n--;
	for (start = n; start && path[start - 1] != '/'; start--)
		;
	if (n - start > k && !strncmp(path + n - k, ending, k))
		n -= k;
	return xstrndup(path + start, n - start);
}

/* ---- the text ---- */

/* A value with a comma, a colon or a line's end is a JSON string, or A1111 takes it for several. */
static void add_value(struct buffer *b, const char *key, const char *value)
{
	buffer_addf(b, ", %s: ", key);
	if (!strpbrk(value, ",:\n")) {
		buffer_adds(b, value);
		return;
	}
	buffer_adds(b, "\"");
	for (; *value; value++) {
		if (*value == '\n')
			buffer_adds(b, "\\n");
		else if ((unsigned char)*value < 0x20)
			buffer_addf(b, "\\u%04x", *value);
		else
			buffer_addf(b, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	}
	buffer_adds(b, "\"");
}

static void add_lora_hashes(struct buffer *b, const struct parameters *p)
{
	struct buffer list = { 0 };
	size_t i;

	for (i = 0; i < p->loras; i++)
		if (*p->lora[i].hash)
			buffer_addf(&list, "%s%s: %s", list.len ? ", " : "", p->lora[i].name, p->lora[i].hash);
	if (list.len)
		add_value(b, "Lora hashes", list.data);
	buffer_free(&list);
}

char *parameters_text(const struct parameters *p)
{
	struct buffer b = { 0 };
	char *model = file_name(p->model);
	size_t i;

	buffer_adds(&b, p->prompt);
	for (i = 0; i < p->loras; i++)
		buffer_addf(&b, " <lora:%s:%g>", p->lora[i].name, p->lora[i].weight);
	if (*p->negative)
		buffer_addf(&b, "\nNegative prompt: %s", p->negative);
	buffer_addf(&b, "\nSteps: %ld, Sampler: %s, CFG scale: %g, Seed: %llu, Size: %ldx%ld", p->steps, p->sampler,
		    p->cfg, (unsigned long long)p->seed, p->width, p->height);
	if (*p->model_hash)
		add_value(&b, "Model hash", p->model_hash);
	add_value(&b, "Model", model);
	if (p->clip_skip)
		buffer_addf(&b, ", Clip skip: %ld", p->clip_skip);
	add_value(&b, "RNG", p->rng);
	add_lora_hashes(&b, p);
	free(model);
	return buffer_steal(&b);
}

/* ---- hashes ---- */

static int hash_file(int fd, struct sha256 *s)
{
	char *piece = xmalloc(PIECE);
	ssize_t n;

	while ((n = RETRY(read(fd, piece, PIECE))) > 0)
		sha256_add(s, piece, n);
	free(piece);
	return n < 0 ? -1 : 0;
}

int parameters_hash_model(const char *path, char hash[11], struct error *e)
{
	struct sha256 s;
	char hex[65];
	int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC)), result;

	if (fd < 0)
		return fail(e, EXIT_IO, "%s: %s", path, strerror(errno));
	sha256_begin(&s);
	result = hash_file(fd, &s);
	if (result < 0)
		fail(e, EXIT_IO, "%s: %s", path, strerror(errno));
	close(fd);
	sha256_hex(&s, hex);
	memcpy(hash, hex, MODEL_DIGITS);
	hash[MODEL_DIGITS] = 0;
	return result;
}

int parameters_read_lora(struct parameters_lora *l, const char *path, double weight, struct error *e)
{
	char *file, hex[65];
	struct safetensors *f = adapter_named(path, &file, e) < 0 ? NULL : safetensors_open(file, e);
	const char *said;

	free(file);
	if (!f)
		return -1;
	said = safetensors_metadata(f, "sshs_model_hash");
	if (!said || strlen(said) != 64 || strspn(said, "0123456789abcdef") != 64) {
		sha256_hex_of(f->data, f->file_bytes - f->data_start, hex);
		said = hex;
	}
	*l = (struct parameters_lora){ .name = file_name(path), .weight = weight };
	memcpy(l->hash, said, LORA_DIGITS);
	safetensors_close(f);
	return 0;
}
