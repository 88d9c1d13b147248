/* A latent tar's JSON around sound payloads, whose sides the first bytes say: what is accepted has numbers to train
 * with, a row for each variant, and is written again with the same words. */
#include <math.h>
#include "fuzz.h"
#include "../../libcommon/data/latents.h"
#include "../../libcommon/io/safetensors.h"

enum { SIDES = 6 };

static const float values[4 * 8 * 8] = { 0.5f };        /* as many as the largest tensor below has */

static void add(struct tar_sample *s, const char *suffix, const struct safetensors_out *t, size_t count)
{
	struct tar_member *m = &s->member[s->members++];

	snprintf(m->suffix, sizeof(m->suffix), "%s", suffix);
	safetensors_serialize(&m->bytes, t, count, NULL, 0);
}

/* Sides 0..7, so that the product is at most 4 * 7 * 7. */
static void payloads(struct tar_sample *s, const uint8_t *side)
{
	const int c = side[0] % 4, h = side[1] % 8, w = side[2] % 8, rows = side[3] % 4, length = side[4] % 8,
		width = side[5] % 8;
	const struct safetensors_out latent[] = {
		{ "mean", DTYPE_F32, 3, { c, h, w }, values }, { "std", DTYPE_F32, 3, { c, h, w }, values },
		{ "mask", DTYPE_F32, 2, { h, w }, values },
	};
	const struct safetensors_out text[] = {
		{ "context", DTYPE_F32, 3, { rows, length, width }, values },
		{ "pooled", DTYPE_F32, 2, { rows, width }, values },
	};

	add(s, "latent.safetensors", latent, side[0] & 64 ? 2 : 3);
	if (!(side[3] & 64))
		add(s, "text.safetensors", text, 2);
}

static void check(const struct latent_sample *s)
{
	HOLDS(s->c > 0 && s->h > 0 && s->w > 0 && s->mean && s->std && s->repeats >= 1 && isfinite(s->weight) &&
	      s->weight >= 0);
	HOLDS(!s->masked || s->mask);
	HOLDS(s->variants >= 0 && s->variants <= s->captions);
	for (int i = 0; s->row && i < s->variants; i++)
		HOLDS(s->row[i] >= 0);
	HOLDS(s->empty >= -1 && (s->empty < 0 || s->empty < s->variants || s->variants == 0));
}

static void read_one(const json_t *json, const uint8_t *side)
{
	struct tar_sample tar = { .key = "00000000", .json = json_deep_copy(json) };
	struct latent_sample s = { 0 };
	struct latent_texts texts = { 0 };
	struct error e = { 0 };

	payloads(&tar, side);
	if (latent_sample_read("input", &tar, &s, &e) < 0) {
		HOLDS(e.code == EXIT_INPUT);
	} else {
		check(&s);
		if (latent_texts_fill(&texts, "input", 0, &s, &e) < 0)
			HOLDS(e.code == EXIT_INPUT);
		else
			HOLDS((!s.row || !s.variants) && latent_sample_caption(&s));
	}
	latent_sample_free(&s);
	latent_texts_free(&texts);
	tar_sample_free(&tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct error e;
	json_t *json = n > SIDES ? json_parse("input", (const char *)bytes + SIDES, n - SIDES, &e) : NULL;

	if (json_is_object(json))
		read_one(json, bytes);
	json_decref(json);
	return 0;
}
