/* The metadata of an adapter's file: a list of keys, modelspec, kohya's hashes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "metadata.h"

/* ---- the list ---- */

static void take(struct metadata_list *l, const char *key, char *value)
{
	GROW(l->item, l->count, l->capacity);
	l->item[l->count++] = (struct metadata){ xstrdup(key), value };
}

void metadata_text(struct metadata_list *l, const char *key, const char *value)
{
	take(l, key, xstrdup(value ? value : "None"));
}

void metadata_int(struct metadata_list *l, const char *key, long value)
{
	take(l, key, xprintf("%ld", value));
}

void metadata_bool(struct metadata_list *l, const char *key, bool value)
{
	metadata_text(l, key, value ? "True" : "False");
}

/* repr(): the shortest digits that read back, an exponent below 1e-4 and from 1e16 on, ".0" on whole numbers. */
void metadata_float(struct metadata_list *l, const char *key, double value)
{
	char text[40];
	int digits = 0, exponent;
	char *e;

	do
		snprintf(text, sizeof(text), "%.*e", digits, value);
	while (strtod(text, NULL) != value && digits++ < 16);
	e = strchr(text, 'e');
	exponent = e ? atoi(e + 1) : 0;
	if (!e)
		snprintf(text, sizeof(text), "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
	else if (exponent >= -4 && exponent < 16)
		snprintf(text, sizeof(text), "%.*f", digits > exponent ? digits - exponent : 1, value);
	metadata_text(l, key, text);
}

void metadata_instead(struct metadata_list *l)
{
	struct metadata *new = &l->item[l->count - 1], *row = l->item;

	while (strcmp(row->key, new->key))
		row++;
	if (row == new)
		return;
	free((char *)row->value);
	row->value = new->value;
	free((char *)new->key);
	l->count--;
}

const char *metadata_find(const struct metadata_list *l, const char *key)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->item[i].key, key) == 0)
			return l->item[i].value;
	return NULL;
}

void metadata_free(struct metadata_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free((char *)l->item[i].key);
		free((char *)l->item[i].value);
	}
	free(l->item);
	*l = (struct metadata_list){ 0 };
}

/* ---- modelspec and hashes ---- */

void metadata_add_modelspec(struct metadata_list *l, const struct family *family)
{
	const struct family *f = family ? family : &family_sdxl;
	const char *name = metadata_find(l, "ss_output_name");
	char *square = xprintf("%dx%d", f->side, f->side);      /* where the data says no resolution */
	const struct metadata spec[] = {
		{ "modelspec.sai_model_spec", "1.0.1" },
		{ "modelspec.architecture", f->architecture },
		{ "modelspec.implementation", f->implementation },
		{ "modelspec.title", name ? name : "adapter" },
		{ "modelspec.resolution", square },
		{ "modelspec.prediction_type", "epsilon" },
	};

	for (size_t i = 0; i < sizeof(spec) / sizeof(spec[0]); i++)
		if (!metadata_find(l, spec[i].key))
			metadata_text(l, spec[i].key, spec[i].value);
	free(square);
}

#define LEGACY_START 0x100000
#define LEGACY_BYTES 0x10000

/* Hashes of a file that goes by: of all behind its header, and of the stretch that the older hash sees. */
struct hashes { size_t at; struct sha256 data, legacy; };

static void hash_piece(void *arg, const void *bytes, size_t n)
{
	struct hashes *h = arg;
	const size_t first = h->at > LEGACY_START ? h->at : LEGACY_START,
		     end = h->at + n < LEGACY_START + LEGACY_BYTES ? h->at + n : LEGACY_START + LEGACY_BYTES;

	if (h->at)
		sha256_add(&h->data, bytes, n);
	if (end > first)
		sha256_add(&h->legacy, (const char *)bytes + (first - h->at), end - first);
	h->at += n;
}

/* Of a file with the ss_* keys alone: its header's length moves the bytes that the second hash sees.  A file that ends
 * before them gives the hash of nothing. */
void metadata_add_hashes(struct metadata_list *l, const struct safetensors_out *tensors, size_t count)
{
	struct metadata *kept = xcalloc(l->count + 1, sizeof(*kept));
	struct hashes h = { 0 };
	size_t n = 0;
	char hex[65];

	for (size_t i = 0; i < l->count; i++)
		if (strncmp(l->item[i].key, "ss_", 3) == 0)
			kept[n++] = l->item[i];
	sha256_begin(&h.data);
	sha256_begin(&h.legacy);
	safetensors_pieces(hash_piece, &h, tensors, count, kept, n);
	sha256_hex(&h.data, hex);
	metadata_text(l, "sshs_model_hash", hex);
	sha256_hex(&h.legacy, hex);
	hex[8] = 0;
	metadata_text(l, "sshs_legacy_hash", hex);
	free(kept);
}

void payload_hash(const struct safetensors *s, char hex[65])
{
	sha256_hex_of(s->data, s->file_bytes - s->data_start, hex);
}
