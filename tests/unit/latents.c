/* Samples of a latent tar: what is written is read again; what is malformed is refused by name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/hash.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/data/latents.h"
#include "../../libcommon/io/safetensors.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { C = 4, H = 6, W = 8, LENGTH = 7, CONTEXT = 12, POOLED = 5, VARIANTS = 2 };

static char folder[] = "/tmp/test-latents-XXXXXX";

static char *in_folder(const char *name)
{
	return path_join(folder, name);
}

static float *values(uint32_t item, size_t n)
{
	float *x = xmalloc(n * sizeof(*x));

	random_normal(&(struct random){ 1, RANDOM_LATENT, 0, item }, x, n);
	return x;
}

#define CONTEXT_OF(sample) ((sample)->text.of[CONDITION_CONTEXT].data)
#define POOLED_OF(sample) ((sample)->text.of[CONDITION_POOLED].data)
/* of variant v of a sample that was read */
#define CONTEXT_AT(sample, v) ((sample)->variant[v].of[CONDITION_CONTEXT].data)
#define POOLED_AT(sample, v) ((sample)->variant[v].of[CONDITION_POOLED].data)

/* A whole sample: mirrored, two captions encoded. */
static struct latent_sample whole(void)
{
	struct latent_sample s = { .key = "00000000", .c = C, .h = H, .w = W, .variants = VARIANTS,
				   .captions = VARIANTS,
				   .text = { VARIANTS, { [CONDITION_CONTEXT] = { LENGTH, CONTEXT },
							 [CONDITION_POOLED] = { 1, POOLED } } } };

	memset(s.id, 'a', 64);
	s.mean = values(0, C * H * W);
	s.std = values(1, C * H * W);
	s.flip_mean = values(2, C * H * W);
	s.flip_std = values(3, C * H * W);
	CONTEXT_OF(&s) = values(4, VARIANTS * LENGTH * CONTEXT);
	POOLED_OF(&s) = values(5, VARIANTS * POOLED);
	s.caption = xcalloc(VARIANTS, sizeof(*s.caption));
	s.caption[0] = xstrdup("a robot");
	s.caption[1] = xstrdup("robot, a \xc3\xa9");
	s.vae = xstrdup("v");
	s.encoder[0] = xstrdup("t1");
	s.encoder[1] = xstrdup("t2");
	return s;
}

static const char good_json[] = "{\"path\": \"a/b.png\", \"sha256\": \"00\", \"captions\": [\"a robot\", \"robot, "
				"a \xc3\xa9\"], \"repeats\": 3, \"weight\": 0.5, \"regularization\": true, "
				"\"original\": [640, 384], \"resized\": [80, 48], \"bucket\": [64, 48], \"crop\": [8, "
				"-1]}";

static json_t *json_of(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

/* Into a tar and out of it again. */
static void write_samples(const char *path, const struct latent_sample *s, int count, const char *json)
{
	struct error e;
	struct publish *out = publish_begin(path, true, &e);
	struct tar_writer *w = tar_create(out, "latent");

	for (int i = 0; i < count; i++) {
		struct tar_member member[2];
		struct json_out fields = { 0 };
		json_t *source = json_of(json);
		int members = latent_sample_members(&s[i], member);

		tar_sample_begin(&fields, w, i);
		latent_sample_fields(&s[i], source, &fields);
		assert_int_equal(tar_sample_add(w, i, member, members, &fields, &e), 0);
		buffer_free(&member[0].bytes);
		buffer_free(&member[1].bytes);
		json_free(&fields);
		json_decref(source);
	}
	assert_int_equal(tar_finish(w, &e), 0);
	assert_int_equal(publish_end(out, &e), 0);
}

static int read_set(const char *path, struct latent_set *set, struct error *e)
{
	return latent_set_read(&path, 1, set, e);
}

static void round_trip(void **state)
{
	struct latent_sample s = whole();
	char *path = in_folder("round.tar");
	struct latent_set set;
	const struct latent_sample *r;
	struct error e;

	write_samples(path, &s, 1, good_json);
	assert_int_equal(read_set(path, &set, &e), 0);
	assert_int_equal(set.count, 1);
	r = &set.sample[0];
	assert_memory_equal(r->mean, s.mean, C * H * W * sizeof(float));
	assert_memory_equal(r->std, s.std, C * H * W * sizeof(float));
	assert_memory_equal(r->flip_mean, s.flip_mean, C * H * W * sizeof(float));
	assert_memory_equal(r->flip_std, s.flip_std, C * H * W * sizeof(float));
	assert_memory_equal(CONTEXT_AT(r, 0), CONTEXT_OF(&s), VARIANTS * LENGTH * CONTEXT * sizeof(float));
	assert_memory_equal(POOLED_AT(r, 0), POOLED_OF(&s), VARIANTS * POOLED * sizeof(float));
	assert_true(r->c == C && r->h == H && r->w == W && r->variants == VARIANTS &&
		    r->text.of[CONDITION_CONTEXT].length == LENGTH);
	assert_true(r->repeats == 3 && r->weight == 0.5 && r->regularization);
	assert_true(r->original[0] == 640 && r->original[1] == 384 && r->bucket[0] == 64 && r->bucket[1] == 48 &&
		    r->crop[0] == 8 &&
		    r->crop[1] == -1);
	assert_int_equal(r->captions, 2);
	assert_string_equal(r->caption[1], "robot, a \xc3\xa9");
	assert_string_equal(r->path, "a/b.png");
	assert_string_equal(r->vae, "v");
	assert_string_equal(r->encoder[1], "t2");
	latent_set_free(&set);
	latent_sample_free(&s);
	free(path);
}

/* NCHW in the file, NHWC in memory. */
static void planes_are_turned(void **state)
{
	struct latent_sample s = whole();
	struct tar_member member[2];
	struct safetensors *f;
	struct error e;
	float *mean;

	latent_sample_members(&s, member);
	f = safetensors_parse("x", member[0].bytes.data, member[0].bytes.len, &e);
	assert_non_null(f);
	mean = safetensors_floats(f, "mean", C * H * W, &e);
	for (int c = 0; c < C; c++)
		for (int i = 0; i < H * W; i++)
			assert_true(mean[c * H * W + i] == s.mean[i * C + c]);
	free(mean);
	safetensors_close(f);
	buffer_free(&member[0].bytes);
	buffer_free(&member[1].bytes);
	latent_sample_free(&s);
}

static void without_text_and_mirror(void **state)
{
	struct latent_sample s = whole();
	char *path = in_folder("plain.tar");
	struct latent_set set;
	struct error e;

	s.variants = 0;
	free(s.flip_mean);
	free(s.flip_std);
	s.flip_mean = s.flip_std = NULL;
	write_samples(path, &s, 1, good_json);
	assert_int_equal(read_set(path, &set, &e), 0);
	assert_null(CONTEXT_OF(&set.sample[0]));
	assert_null(set.sample[0].flip_mean);
	assert_null(set.sample[0].encoder[0]);
	assert_int_equal(set.sample[0].variants, 0);
	latent_set_free(&set);
	latent_sample_free(&s);
	free(path);
}

/* ---- texts that the stream has already ---- */

/* As lora-encode writes them: sample 0 has texts 0 and 1, sample 1 text 2 and again 0, sample 2 nothing of its own. */
static void three_samples(struct latent_sample s[3])
{
	static const int row[3][VARIANTS] = { { 0, 1 }, { 2, 0 }, { 1, 2 } }, rows[3] = { 2, 1, 0 };

	for (int i = 0; i < 3; i++) {
		s[i] = whole();
		s[i].row = memcpy(xmalloc(sizeof(row[i])), row[i], sizeof(row[i]));
		s[i].text.rows = rows[i];
		CONTEXT_OF(&s[i])[0] = i;
		POOLED_OF(&s[i])[0] = -i;
		snprintf(s[i].key, sizeof(s[i].key), "%08d", i);
	}
}

static void free_three(struct latent_sample s[3])
{
	for (int i = 0; i < 3; i++)
		latent_sample_free(&s[i]);
}

static void each_text_is_stored_once(void **state)
{
	/* Which sample's first row each variant must be, and whether it is that one's second. */
	static const struct { int of, second; } want[3][VARIANTS] = { { { 0, 0 }, { 0, 1 } }, { { 1, 0 }, { 0, 0 } },
								      { { 0, 1 }, { 1, 0 } } };
	struct latent_sample s[3];
	char *path = in_folder("round.tar");
	struct latent_set set;
	struct error e;

	three_samples(s);
	write_samples(path, s, 3, good_json);
	assert_int_equal(read_set(path, &set, &e), 0);
	for (int i = 0; i < 3; i++) {
		const struct latent_sample *r = &set.sample[i];
		assert_null(r->row);
		assert_int_equal(r->variants, VARIANTS);
		for (int v = 0; v < VARIANTS; v++) {
			const struct latent_sample *from = &s[want[i][v].of];
			assert_memory_equal(CONTEXT_AT(r, v),
					    CONTEXT_OF(from) + want[i][v].second * LENGTH * CONTEXT,
					    LENGTH * CONTEXT * sizeof(float));
			assert_memory_equal(POOLED_AT(r, v), POOLED_OF(from) + want[i][v].second * POOLED,
					    POOLED * sizeof(float));
		}
	}
	latent_set_free(&set);
	free_three(s);
	free(path);
}

static void a_text_that_is_nowhere(void **state)
{
	struct latent_sample s[3];
	char *path = in_folder("bad.tar");
	struct latent_set set;
	struct error e;

	three_samples(s);
	s[2].row[1] = 3;
	write_samples(path, s, 3, good_json);
	assert_int_equal(read_set(path, &set, &e), -1);
	assert_non_null(strstr(e.text, "00000002"));
	s[2].row[1] = -1;
	write_samples(path, s, 3, good_json);
	assert_int_equal(read_set(path, &set, &e), -1);
	assert_non_null(strstr(e.text, "text_rows"));
	free_three(s);
	free(path);
}

/* cat of parts: every part counts its texts anew, and the samples come in the order of their keys. */
static void parts_become_one_set(void **state)
{
	struct latent_sample s[3];
	char *first = in_folder("round.tar"), *second = in_folder("plain.tar");
	const char *const paths[] = { second, first };
	struct latent_set set;
	struct error e;

	three_samples(s);
	write_samples(first, s, 3, good_json);
	CONTEXT_OF(&s[0])[0] = 7;
	write_samples(second, s, 1, good_json);
	assert_int_equal(latent_set_read(paths, 2, &set, &e), 0);
	assert_int_equal(set.count, 4);
	assert_string_equal(set.sample[0].key, "00000000");
	assert_true(CONTEXT_AT(&set.sample[0], 0)[0] == 7);
	assert_string_equal(set.sample[1].key, "00000000");
	assert_true(CONTEXT_AT(&set.sample[1], 0)[0] == 0);
	assert_string_equal(set.sample[2].key, "00000001");
	assert_true(CONTEXT_AT(&set.sample[2], 1)[0] == 0);
	assert_string_equal(set.sample[3].key, "00000002");
	latent_set_free(&set);
	free_three(s);
	free(first);
	free(second);
}

static void halves_are_kept_exactly(void **state)
{
	static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16 };

	for (int i = 0; i < 2; i++) {
		struct latent_sample s = whole();
		char *path = in_folder("round.tar");
		uint16_t half[C * H * W];
		struct latent_set set;
		struct error e;
		s.dtype = types[i];
		from_float(half, s.dtype, s.mean, C * H * W);
		to_float(s.mean, half, s.dtype, C * H * W);
		write_samples(path, &s, 1, good_json);
		assert_int_equal(read_set(path, &set, &e), 0);
		assert_int_equal(set.sample[0].dtype, types[i]);
		assert_memory_equal(set.sample[0].mean, s.mean, C * H * W * sizeof(float));
		latent_set_free(&set);
		latent_sample_free(&s);
		free(path);
	}
}

/* ---- damage ---- */

/* All that training sees of a set. */
static void hash_of(const struct latent_set *set, char hex[65])
{
	struct sha256 h;

	sha256_begin(&h);
	sha256_add(&h, set->digest, 64);
	for (size_t i = 0; i < set->count; i++) {
		const struct latent_sample *s = &set->sample[i];
		sha256_add(&h, s->mean, sizeof(float) * s->c * s->h * s->w);
		sha256_add(&h, s->std, sizeof(float) * s->c * s->h * s->w);
		sha256_add(&h, s->flip_mean, sizeof(float) * s->c * s->h * s->w);
		sha256_add(&h, s->flip_std, sizeof(float) * s->c * s->h * s->w);
		for (int v = 0; v < s->variants; v++) {
			sha256_add(&h, CONTEXT_AT(s, v), sizeof(float) * condition_size(&s->text, CONDITION_CONTEXT));
			sha256_add(&h, POOLED_AT(s, v), sizeof(float) * condition_size(&s->text, CONDITION_POOLED));
		}
	}
	sha256_hex(&h, hex);
}

static void three_on_disk(const char *path, struct buffer *bytes)
{
	struct latent_sample s[3];
	struct error e;

	three_samples(s);
	write_samples(path, s, 3, good_json);
	free_three(s);
	assert_int_equal(read_file(path, 1 << 24, bytes, &e), 0);
}

static void every_cut_is_refused(void **state)
{
	char *path = in_folder("bad.tar");
	struct buffer bytes = { 0 };
	struct latent_set set;
	struct error e;

	three_on_disk(path, &bytes);
	for (size_t cut = bytes.len / 512 * 512; cut; cut -= 512) {
		if (cut == bytes.len)
			continue;
		assert_int_equal(truncate(path, cut), 0);
		assert_int_equal(read_set(path, &set, &e), -1);
		assert_int_equal(e.code, EXIT_INPUT);
	}
	buffer_free(&bytes);
	free(path);
}

/* A flip in the padding may pass, and then nothing is different. */
static void no_flip_goes_unnoticed(void **state)
{
	char *path = in_folder("bad.tar"), whole_hash[65], hex[65];
	struct buffer bytes = { 0 };
	struct latent_set set;
	uint64_t random = 1;
	int fd, noticed = 0;
	struct error e;

	three_on_disk(path, &bytes);
	assert_int_equal(read_set(path, &set, &e), 0);
	hash_of(&set, whole_hash);
	latent_set_free(&set);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 10000; i++) {
		size_t bit = (random >> 33) % (8 * bytes.len);
		char flipped = bytes.data[bit / 8] ^ 1 << bit % 8;
		random = random * 6364136223846793005u + 1442695040888963407u;
		assert_int_equal(pwrite(fd, &flipped, 1, bit / 8), 1);
		if (read_set(path, &set, &e) == 0) {
			hash_of(&set, hex);
			assert_string_equal(hex, whole_hash);
			latent_set_free(&set);
		} else {
			noticed++;
		}
		assert_int_equal(pwrite(fd, bytes.data + bit / 8, 1, bit / 8), 1);
	}
	close(fd);
	assert_true(noticed > 5000);
	buffer_free(&bytes);
	free(path);
}

/* ---- refusals ---- */

static void assert_refused(const struct latent_sample *s, int count, const char *json, const char *says)
{
	char *path = in_folder("bad.tar");
	struct latent_set set;
	struct error e = { 0 };

	write_samples(path, s, count, json);
	if (read_set(path, &set, &e) == 0)
		fail_msg("accepted: %s", json);
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not say '%s'", e.text, says);
	free(path);
}

/* "KEY": value of good_json put in place of the old one; NULL leaves it out */
static char *with(const char *key, const char *value)
{
	json_t *j = json_of(good_json);
	char *text;

	if (value)
		json_object_set_new(j, key, json_loads(value, JSON_DECODE_ANY, NULL));
	else
		json_object_del(j, key);
	text = json_dumps(j, 0);
	json_decref(j);
	return text;
}

static void malformed_fields(void **state)
{
	static const struct { const char *key, *value, *says; } cases[] = {
		{ "repeats", NULL, "repeats" }, { "repeats", "0", "repeats" }, { "repeats", "-1", "repeats" },
		{ "repeats", "1.5", "repeats" }, { "repeats", "1000001", "repeats" }, { "repeats", "\"3\"", "repeats" },
		{ "weight", NULL, "weight" }, { "weight", "-0.5", "weight" }, { "weight", "\"1\"", "weight" },
		{ "captions", NULL, "captions" }, { "captions", "[]", "captions" }, { "captions", "[1]", "captions" },
		{ "captions", "\"one\"", "captions" }, { "captions", "[\"a\", null]", "captions" },
		{ "original", NULL, "original" }, { "original", "[1]", "original" },
		{ "original", "[1.5, 2]", "original" }, { "crop", "[99999999, 0]", "crop" },
		{ "bucket", "[\"64\", 48]", "bucket" }, { "bucket", "64", "bucket" },
	};
	struct latent_sample s = whole();

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *json = with(cases[i].key, cases[i].value);
		assert_refused(&s, 1, json, cases[i].says);
		free(json);
	}
	latent_sample_free(&s);
}

static void not_finite(void **state)
{
	struct latent_sample s = whole();
	struct { float *at; const char *name; } places[] = {
		{ &s.mean[0], "mean" }, { &s.std[C * H * W - 1], "std" }, { &s.flip_mean[5], "mean.flip" },
		{ &s.flip_std[5], "std.flip" }, { &CONTEXT_OF(&s)[VARIANTS * LENGTH * CONTEXT - 1], "context" },
		{ &POOLED_OF(&s)[0], "pooled" },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		float kept = *places[i].at;
		*places[i].at = i % 2 ? NAN : -INFINITY;
		assert_refused(&s, 1, good_json, places[i].name);
		*places[i].at = kept;
	}
	latent_sample_free(&s);
}

static void samples_of_two_models(void **state)
{
	struct latent_sample s[2] = { whole(), whole() };

	strcpy(s[1].key, "00000001");
	s[1].variants = 0;
	assert_refused(s, 2, good_json, "00000001");
	s[1].variants = VARIANTS;
	s[1].text.of[CONDITION_CONTEXT].length = LENGTH - 1;
	assert_refused(s, 2, good_json, "00000001");
	s[1].text.of[CONDITION_CONTEXT].length = LENGTH;
	s[1].text.of[CONDITION_POOLED].width = POOLED - 1;
	assert_refused(s, 2, good_json, "00000001");
	latent_sample_free(&s[0]);
	latent_sample_free(&s[1]);
}

/* Payloads that are no such thing: through latent_sample_read, which the tar's own checks do not shield. */
static void assert_payload_refused(const struct safetensors_out *t, size_t n, const char *suffix, const char *says)
{
	struct latent_sample whole_sample = whole(), s;
	struct tar_sample tar = { .key = "00000007", .members = 2 };
	struct buffer bad = { 0 };
	struct error e = { 0 };
	int which = !strcmp(suffix, "text.safetensors");
	char id[100];

	latent_sample_members(&whole_sample, tar.member);
	if (n)
		safetensors_serialize(&bad, t, n, NULL, 0);
	else
		buffer_adds(&bad, "no tensors");
	buffer_free(&tar.member[which].bytes);
	tar.member[which].bytes = bad;
	tar.json = json_of(good_json);
	snprintf(id, sizeof(id), "%064d", 7);
	json_object_set_new(tar.json, "id", json_string(id));
	assert_int_equal(latent_sample_read("set.tar", &tar, &s, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, says) || !strstr(e.text, "00000007"))
		fail_msg("'%s' does not say '%s'", e.text, says);
	tar_sample_free(&tar);
	latent_sample_free(&whole_sample);
}

static void malformed_payloads(void **state)
{
	static float x[C * H * W];
	const struct safetensors_out mean = { "mean", DTYPE_F32, 3, { C, H, W }, x, false };
	const struct safetensors_out short_std = { "std", DTYPE_F32, 3, { C, H, W - 1 }, x, false };
	const struct safetensors_out flat = { "mean", DTYPE_F32, 2, { C, H * W }, x, false };
	const struct safetensors_out none = { "mean", DTYPE_F32, 3, { 0, H, W }, x, false };
	const struct safetensors_out integers = { "std", DTYPE_I32, 3, { C, H, W }, x, false };
	const struct safetensors_out context = { "context", DTYPE_F32, 3, { 2, 3, 4 }, x, false };
	const struct safetensors_out pooled = { "pooled", DTYPE_F32, 2, { 3, 4 }, x, false };
	const struct safetensors_out pairs[][2] = { { mean, short_std }, { mean, integers }, { context, pooled } };

	assert_payload_refused(&mean, 1, "latent.safetensors", "std");
	assert_payload_refused(&flat, 1, "latent.safetensors", "mean");
	assert_payload_refused(&none, 1, "latent.safetensors", "mean");
	assert_payload_refused(pairs[0], 2, "latent.safetensors", "std");
	assert_payload_refused(NULL, 0, "latent.safetensors", "latent.safetensors");
	assert_payload_refused(&context, 1, "text.safetensors", "pooled");
	assert_payload_refused(pairs[2], 2, "text.safetensors", "pooled");
	assert_payload_refused(NULL, 0, "text.safetensors", "text.safetensors");
}

static void the_digest_sees_what_training_sees(void **state)
{
	struct latent_sample s = whole();
	char *path = in_folder("digest.tar"), first[65];
	static const struct { const char *key, *value; } changes[] = {
		{ "repeats", "4" }, { "weight", "0.25" }, { "crop", "[9, -1]" }, { "original", "[641, 384]" },
	};
	struct latent_set set;
	struct error e;

	write_samples(path, &s, 1, good_json);
	assert_int_equal(read_set(path, &set, &e), 0);
	memcpy(first, set.digest, 65);
	latent_set_free(&set);
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		char *json = with(changes[i].key, changes[i].value);
		write_samples(path, &s, 1, json);
		assert_int_equal(read_set(path, &set, &e), 0);
		assert_string_not_equal(set.digest, first);
		latent_set_free(&set);
		free(json);
	}
	latent_sample_free(&s);
	free(path);
}

static void an_empty_stream_is_refused(void **state)
{
	assert_refused(NULL, 0, good_json, "no samples");
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "round.tar", "plain.tar", "bad.tar", "digest.tar" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *path = in_folder(names[i]);
		unlink(path);
		free(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(planes_are_turned),
		cmocka_unit_test(without_text_and_mirror), cmocka_unit_test(malformed_fields),
		cmocka_unit_test(not_finite), cmocka_unit_test(samples_of_two_models),
		cmocka_unit_test(malformed_payloads), cmocka_unit_test(the_digest_sees_what_training_sees),
		cmocka_unit_test(an_empty_stream_is_refused), cmocka_unit_test(each_text_is_stored_once),
		cmocka_unit_test(a_text_that_is_nowhere), cmocka_unit_test(parts_become_one_set),
		cmocka_unit_test(halves_are_kept_exactly), cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(no_flip_goes_unnoticed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
