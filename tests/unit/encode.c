/* lora-encode's work in one process: memory over a long stream;
 * no byte of an input leaves a content address as it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/data/encode_internal.h"
#include "sanitized.h"
#include <cmocka.h>     /* last: it takes the name fail */

static char folder[] = "/tmp/test-encode-XXXXXX";

/* ---- an image tar ---- */

static void picture(struct buffer *to, int side, uint32_t number)
{
	struct image i = { .width = side, .height = side, .rgb = xmalloc(side * side * 3) };

	for (int k = 0; k < side * side * 3; k++)
		i.rgb[k] = (k * 7 + number * 31) % 256;
	buffer_clear(to);
	png_encode(to, &i, NULL, 0);
	free(i.rgb);
}

static void write_images(const char *path, int side, uint32_t samples)
{
	struct error e;
	struct publish *out = publish_begin(path, true, &e);
	struct tar_writer *w = tar_create(out, "image");
	struct tar_member member = { .suffix = "png" };

	for (uint32_t i = 0; i < samples; i++) {
		struct json_out fields = { 0 };
		char *caption = xprintf("caption %u", i % 10);
		picture(&member.bytes, side, i);
		tar_sample_begin(&fields, w, i);
		json_begin_array(&fields, "captions");
		json_text(&fields, NULL, caption);
		json_end_array(&fields);
		json_raw(&fields, "repeats", "1");
		json_raw(&fields, "weight", "1");
		json_raw(&fields, "original", "[16,16]");
		json_raw(&fields, "crop", "[0,0]");
		json_raw(&fields, "bucket", "[16,16]");
		assert_int_equal(tar_sample_add(w, i, &member, 1, &fields, &e), 0);
		json_free(&fields);
		free(caption);
	}
	buffer_free(&member.bytes);
	assert_int_equal(tar_finish(w, &e), 0);
	assert_int_equal(publish_end(out, &e), 0);
}

/* In a process of its own, which says nothing; its peak in KiB, or -1 when it refuses. */
static long encode_apart(const char *images, const char *output, const char *reuse)
{
	struct encode_settings s = { .model = "demo/tiny-sdxl", .device = "cpu", .output = output, .precision = "fp32",
				     .batch = 2, .max_token_length = 75, .caption_variants = 1, .seed = "1",
				     .reuse = reuse };
	struct rusage usage;
	struct error e;
	int status;
	pid_t child = fork();

	if (!child) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		_exit(encode_run(&s, &images, 1, &e) ? 1 : 0);
	}
	assert_int_equal(wait4(child, &status, 0, &usage), child);
	return status ? -1 : usage.ru_maxrss;
}

#if !SANITIZED
/* Peaks of one run and the next are up to 760 KiB apart, by which thread takes memory from where; what is kept of each
 * sample, be it 110 bytes, would be more than SLACK. */
static void memory_is_flat(void **state)
{
	enum { SLACK = 1024 };          /* KiB */
	char *path = path_join(folder, "images.tar");
	long few, many;

	write_images(path, 16, 100);
	few = encode_apart(path, "/dev/null", NULL);
	write_images(path, 16, 10000);
	many = encode_apart(path, "/dev/null", NULL);
	unlink(path);
	free(path);
	assert_true(few > 0 && many > 0);
	if (many > few + SLACK)
		fail_msg("%ld KiB after 100 samples, %ld after 10,000", few, many);
}
#endif

static void a_picture_must_have_its_buckets_size(void **state)
{
	char *path = path_join(folder, "images.tar");

	write_images(path, 16, 1);
	assert_true(encode_apart(path, "/dev/null", NULL) > 0);
	write_images(path, 32, 1);
	assert_int_equal(encode_apart(path, "/dev/null", NULL), -1);
	unlink(path);
	free(path);
}

/* ---- an old stream that is damaged ---- */

struct files { char *images, *old, *fresh, *again; struct buffer whole; };

/* Where not even the first sample can be found, OLD.tar may be any file, and is refused. */
static int must_come_out_whole(const struct files *f, const void *bytes, size_t n, const char *what, size_t at)
{
	struct buffer got = { 0 };
	struct error e;

	assert_int_equal(publish_bytes(f->old, bytes, n, &e), 0);
	unlink(f->again);
	if (encode_apart(f->images, f->again, f->old) < 0) {
		assert_int_equal(access(f->again, F_OK), -1);
		return 1;
	}
	assert_int_equal(read_file(f->again, 1 << 26, &got, &e), 0);
	if (got.len != f->whole.len || memcmp(got.data, f->whole.data, got.len))
		fail_msg("%s at %zu: other bytes", what, at);
	buffer_free(&got);
	return 0;
}

/* Whatever a bit or the end of OLD.tar is: what comes out is what comes out without it. */
static void damage_in_the_old_stream_costs_only_time(void **state)
{
	struct files f = { path_join(folder, "images.tar"), path_join(folder, "old.tar"),
			   path_join(folder, "fresh.tar"), path_join(folder, "again.tar"), { 0 } };
	uint64_t random = 1;
	int refused = 0;
	struct error e;

	write_images(f.images, 16, 12);
	assert_true(encode_apart(f.images, f.fresh, NULL) > 0);
	assert_int_equal(read_file(f.fresh, 1 << 26, &f.whole, &e), 0);
	assert_int_equal(must_come_out_whole(&f, f.whole.data, f.whole.len, "nothing", 0), 0);
	for (int i = 0; i < (SANITIZED ? 20 : 100); i++) {
		/* Half of them in the first sample. */
		const size_t at = (random >> 20) % (i % 2 ? f.whole.len : 24576);
		struct buffer bad = { 0 };
		buffer_add(&bad, f.whole.data, f.whole.len);
		bad.data[at] ^= 1 << i % 8;
		refused += must_come_out_whole(&f, bad.data, bad.len, "a flip", at);
		buffer_free(&bad);
		random = random * 6364136223846793005u + 1442695040888963407u;
	}
	for (size_t cut = f.whole.len - 512; cut > 50000; cut -= 40000)
		refused += must_come_out_whole(&f, f.whole.data, cut, "a cut", cut);
	assert_true(refused < 10);
	unlink(f.images); unlink(f.old); unlink(f.fresh); unlink(f.again);
	free(f.images); free(f.old); free(f.fresh); free(f.again);
	buffer_free(&f.whole);
}

/* ---- content addresses ---- */

static struct model_config config;

static struct encoder encoder(void)
{
	struct encoder n = { .config = &config, .precision = DTYPE_F32, .chunks = 1 };

	model_config_sdxl(&config);
	memset(n.vae_hash, 'a', 64);
	memset(n.text_hash[0], 'b', 64);
	memset(n.text_hash[1], 'c', 64);
	return n;
}

/* Every address so far; a change must give one that was never there. */
struct seen { char (*id)[65]; size_t count, capacity; };

static void must_be_new(struct seen *s, const char id[65], const char *what)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->id[i], id))
			fail_msg("%s: the address is that of change %zu", what, i);
	GROW(s->id, s->count, s->capacity);
	memcpy(s->id[s->count++], id, 65);
}

static void latent_changes(struct seen *s, struct encoder *n, struct tar_sample *in, char *at, size_t bytes,
			   const char *what)
{
	char id[65];

	for (size_t i = 0; i < bytes; i++) {
		at[i] ^= 1;
		encode_latent_id(n, in, id);
		must_be_new(s, id, what);
		at[i] ^= 1;
	}
}

static void every_byte_of_a_picture_counts(void **state)
{
	struct encoder n = encoder();
	struct tar_sample in = { .members = 2, .member = { { .suffix = "png" }, { .suffix = "flip.png" } } };
	int *numbers[] = { &config.vae.latent_channels, &config.vae.resnets, &config.vae.groups };
	struct seen s = { 0 };
	char id[65];

	for (int i = 0; i < 2; i++)
		picture(&in.member[i].bytes, 8, i);
	encode_latent_id(&n, &in, id);
	must_be_new(&s, id, "nothing");
	for (int i = 0; i < 2; i++) {
		latent_changes(&s, &n, &in, in.member[i].bytes.data, in.member[i].bytes.len, "a picture");
		latent_changes(&s, &n, &in, in.member[i].suffix, strlen(in.member[i].suffix), "a suffix");
	}
	latent_changes(&s, &n, &in, n.vae_hash, 64, "the VAE's weights");
	for (int i = 0; i < 3; i++)
		latent_changes(&s, &n, &in, (char *)numbers[i], 1, "the VAE's config");
	config.vae.norm_eps *= 2;
	encode_latent_id(&n, &in, id);
	must_be_new(&s, id, "epsilon");
	n.precision = DTYPE_BF16;
	encode_latent_id(&n, &in, id);
	must_be_new(&s, id, "precision");
	free(s.id);
	for (int i = 0; i < 2; i++)
		buffer_free(&in.member[i].bytes);
}

struct words { char caption[40]; int32_t ids1[3 * 77], ids2[3 * 77]; float weights1[3 * 77], weights2[3 * 77]; };

static void address(const struct encoder *n, struct words *w, char id[65])
{
	encode_text_id(n, w->caption, &(struct chunk_batch){ .n = 1, .ids = { w->ids1, w->ids2 },
							     .weights = { w->weights1, w->weights2 } }, id);
}

static void text_changes(struct seen *s, struct encoder *n, struct words *w, void *bytes, size_t count, size_t step,
			 const char *what)
{
	char id[65];

	for (size_t i = 0; i < count; i += step) {
		((char *)bytes)[i] ^= 1;
		address(n, w, id);
		must_be_new(s, id, what);
		((char *)bytes)[i] ^= 1;
	}
}

static void every_byte_of_a_caption_counts(void **state)
{
	struct encoder n = encoder();
	struct words w = { .caption = "one caption, with a tag" };
	struct seen s = { 0 };
	struct clip_config *c[] = { &config.text[0], &config.text[1] };

	for (n.chunks = 1; n.chunks <= 3; n.chunks++)
		for (n.precision = DTYPE_F16; n.precision <= DTYPE_BF16; n.precision++) {
			const size_t ids = n.chunks * 77 * sizeof(int32_t);
			char id[65];
			address(&n, &w, id);
			must_be_new(&s, id, "chunks, precision");
			text_changes(&s, &n, &w, w.caption, strlen(w.caption), 1, "the caption");
			text_changes(&s, &n, &w, w.ids1, ids, 4, "the first tokenizer");
			text_changes(&s, &n, &w, w.ids2, ids, 4, "the second tokenizer");
			text_changes(&s, &n, &w, w.weights1, ids, 4, "the first tokens' weights");
			text_changes(&s, &n, &w, w.weights2, ids, 4, "the second tokens' weights");
			text_changes(&s, &n, &w, n.text_hash[0], 64, 1, "the first encoder's weights");
			text_changes(&s, &n, &w, n.text_hash[1], 64, 1, "the second encoder's weights");
			for (int i = 0; i < 2; i++) {
				text_changes(&s, &n, &w, &c[i]->layers, 1, 1, "layers");
				text_changes(&s, &n, &w, &c[i]->heads, 1, 1, "heads");
				text_changes(&s, &n, &w, &c[i]->activation, 1, 1, "activation");
				text_changes(&s, &n, &w, &c[i]->eos, 1, 1, "the end token");
			}
		}
	free(s.id);
}

/* A sample's address has all of its parts, and in their order. */
static void every_part_of_a_sample_counts(void **state)
{
	static char texts[3][65];
	struct latent_sample l = { .captions = 3, .text_id = texts };
	struct seen s = { 0 };

	memset(l.latent_id, '1', 64);
	for (int i = 0; i < 3; i++)
		memset(texts[i], 'a' + i, 64);
	for (int i = 0; i < 4 * 64; i++) {
		char *at = i < 64 ? &l.latent_id[i] : &texts[i / 64 - 1][i % 64];
		*at ^= 1;
		encode_sample_id(&l);
		must_be_new(&s, l.id, "a part");
		*at ^= 1;
	}
	for (l.captions = 3; l.captions >= 0; l.captions--) {
		encode_sample_id(&l);
		must_be_new(&s, l.id, "texts");
	}
	l.captions = 2;
	memset(texts[0], 'b', 64);
	memset(texts[1], 'a', 64);
	encode_sample_id(&l);
	must_be_new(&s, l.id, "their order");
	free(s.id);
}

/* ---- weights on disk ---- */

static void hash_of(const char *model, enum component c, char hex[65])
{
	struct error e;
	struct model_files *m = model_files_open(model, NULL, NULL, &e);

	assert_non_null(m);
	model_files_hash(m, c, hex);
	model_files_close(m);
}

static void flip_and_hash(struct seen *s, const char *model, const char *file, enum component c)
{
	char *path = path_join(model, file), hex[65], byte;
	FILE *f = fopen(path, "r+b");
	uint64_t header, size, random = 1;

	assert_int_equal(fread(&header, 8, 1, f), 1);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	for (int i = 0; i < 40; i++) {
		const uint64_t first = 8 + header, at = i == 0 ? first : i == 1 ? size - 1 :
			first + (random >> 20) % (size - first);
		fseek(f, at, SEEK_SET);
		byte = fgetc(f);
		fseek(f, at, SEEK_SET);
		fputc(byte ^ 1, f);
		fflush(f);
		hash_of(model, c, hex);
		must_be_new(s, hex, file);
		fseek(f, at, SEEK_SET);
		fputc(byte, f);
		random = random * 6364136223846793005u + 1442695040888963407u;
	}
	fclose(f);
	hash_of(model, c, hex);
	must_be_new(s, hex, file);
	free(path);
}

static void every_byte_of_the_weights_counts(void **state)
{
	static const struct { const char *file; enum component c; } files[] = {
		{ "vae/diffusion_pytorch_model.safetensors", COMPONENT_VAE },
		{ "text_encoder/model.safetensors", COMPONENT_TE1 },
		{ "text_encoder_2/model.safetensors", COMPONENT_TE2 },
	};
	char *model = path_join(folder, "model"), *copy = xprintf("cp -rL demo/tiny-sdxl %s && chmod -R u+w %s", model,
								  model);
	char *away = xprintf("rm -r %s", model);
	struct seen s = { 0 };

	assert_int_equal(system(copy), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		flip_and_hash(&s, model, files[i].file, files[i].c);
	assert_int_equal(system(away), 0);
	free(s.id);
	free(model);
	free(copy);
	free(away);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if !SANITIZED
		cmocka_unit_test(memory_is_flat),
#endif
		cmocka_unit_test(a_picture_must_have_its_buckets_size),
		cmocka_unit_test(damage_in_the_old_stream_costs_only_time),
		cmocka_unit_test(every_byte_of_a_picture_counts),
		cmocka_unit_test(every_byte_of_a_caption_counts), cmocka_unit_test(every_part_of_a_sample_counts),
		cmocka_unit_test(every_byte_of_the_weights_counts),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
