/*
 * Residual blocks and whole VAEs in bands: the bytes of the whole, whatever the bands; and what a full-size VAE needs
 * with them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/model/resnet.h"
#include "../../libcommon/model/vae.h"
#include "../../libcommon/nn/workspace.h"
#include "sanitized.h"
#include <cmocka.h>     /* last: it takes the name fail */

static float *randoms(uint32_t item, size_t n)
{
	float *x = xmalloc(n * sizeof(*x));

	random_normal(&(struct random){ 7, RANDOM_TEST, 0, item }, x, n);
	return x;
}

/* ---- one block ---- */

struct block { const struct backend *be; struct device *d; struct resnet r; float *host[8]; };

static void make_conv(struct block *b, struct conv *c, enum dtype type, int channels, int item)
{
	const size_t n = (size_t)channels * channels * 9;
	float *w = randoms(item, n), *bias = randoms(item + 1, channels);
	void *file = xmalloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		w[i] /= 3 * channels;
	from_float(file, type, w, n);
	*c = (struct conv){ .w = { .dtype = type, .out = channels, .in = channels, .kh = 3, .kw = 3 }, .bias = bias,
			    .stride = 1 };
	assert_int_equal(b->be->prepare(b->d, &c->w, file), 0);
	free(file);
	free(w);
	b->host[item] = bias;
}

static void make_norm(struct block *b, struct norm *n, int channels, int item)
{
	b->host[item] = randoms(item, channels);
	b->host[item + 1] = randoms(item + 1, channels);
	*n = (struct norm){ b->host[item], b->host[item + 1], channels, channels / 8, 1e-6f };
}

static struct block make_block(int channels, enum dtype type)
{
	struct error e;
	struct block b = { .be = &cpu_backend, .d = cpu_backend.open(&e) };

	make_conv(&b, &b.r.conv1, type, channels, 0);
	make_norm(&b, &b.r.norm1, channels, 2);
	make_conv(&b, &b.r.conv2, type, channels, 4);
	make_norm(&b, &b.r.norm2, channels, 6);
	return b;
}

static void free_block(struct block *b)
{
	b->be->unprepare(b->d, &b->r.conv1.w);
	b->be->unprepare(b->d, &b->r.conv2.w);
	for (int i = 0; i < 8; i++)
		if (i != 1 && i != 5)
			free(b->host[i]);
	b->be->close(b->d);
}

struct run { const struct block *b; const float *x; int n, h, w, c, rows; };

static struct tensor *run_block(struct tape *t, void *arg)
{
	const struct run *r = arg;
	const struct resnet *n = &r->b->r;
	const struct residual parts = { &n->norm1, &n->norm2, &n->conv1, &n->conv2 };
	struct tensor *x = tensor_from(t, r->n, r->h, r->w, r->c, r->x);

	return r->rows ? op_residual_bands(t, x, &parts, r->rows) : tape_chain(t, run_resnet, n, x);
}

static float *result_of(struct run *r)
{
	struct workspace w = { .be = r->b->be, .device = r->b->d };
	struct error e;
	struct tensor *y = workspace_run(&w, run_block, r, &e);
	float *out = xmalloc(tensor_count(y) * sizeof(*out));

	tensor_download(w.tape, y, out);
	workspace_free(&w);
	return out;
}

/* 64 and 72 channels go through Winograd's tiles, in groups where there are enough of them; 24 through products. */
static void any_bands_give_the_bytes_of_the_whole(void **state)
{
	static const struct { int n, h, w, c; enum dtype type; } shapes[] = {
		{ 1, 64, 40, 64, DTYPE_F32 }, { 1, 70, 33, 72, DTYPE_F16 }, { 2, 41, 36, 24, DTYPE_F32 },
		{ 2, 36, 64, 64, DTYPE_BF16 },
		{ 1, 9, 100, 64, DTYPE_F16 }, { 1, 132, 121, 64, DTYPE_F16 },
	};
	static const int rows[] = { 4, 8, 12, 20, 64, 1024 };
	const size_t step = SANITIZED ? 3 : 1;          /* bands of 4 and of 20 rows reach every line */

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		struct block b = make_block(shapes[i].c, shapes[i].type);
		const size_t count = (size_t)shapes[i].n * shapes[i].h * shapes[i].w * shapes[i].c;
		float *x = randoms(20, count), *whole;
		struct run r = { &b, x, shapes[i].n, shapes[i].h, shapes[i].w, shapes[i].c, 0 };
		whole = result_of(&r);
		assert_memory_not_equal(whole, x, count * sizeof(float));
		for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k += step) {
			float *banded;
			r.rows = rows[k];
			banded = result_of(&r);
			if (memcmp(banded, whole, count * sizeof(float)))
				fail_msg("%d x %d x %d, bands of %d rows: other bytes", r.h, r.w, r.c, r.rows);
			free(banded);
		}
		free(whole);
		free(x);
		free_block(&b);
	}
}

/* ---- a VAE ---- */

/* x: pixels, or latents in decode() */
struct picture { const struct vae *v; const float *x; int n, h, w; };

static struct tensor *encode(struct tape *t, void *arg)
{
	const struct picture *p = arg;

	return vae_encode(t, p->v, tensor_from(t, p->n, p->h, p->w, 3, p->x), NULL, NULL);
}

static struct tensor *decode(struct tape *t, void *arg)
{
	const struct picture *p = arg;
	const struct vae_config *c = vae_config(p->v);

	return vae_decode(t, p->v, tensor_from(t, p->n, p->h / c->factor, p->w / c->factor, c->latent_channels, p->x),
			  NULL, NULL);
}

static float *bytes_with(struct workspace *w, forward_fn *way, const struct picture *p, size_t *bytes)
{
	struct error e;
	struct tensor *y = workspace_run(w, way, (void *)p, &e);
	float *out;

	assert_non_null(y);
	*bytes = tensor_count(y) * sizeof(float);
	out = xmalloc(*bytes);
	tensor_download(w->tape, y, out);
	return out;
}

/* The limits make some of the operations run in bands, and the doubling before a shortcut with it or by itself. */
static void a_vae_in_bands_gives_the_same_bytes(void **state)
{
	static const size_t limits[] = { 1, 400000, 1500000, 4000000 };
	forward_fn *const ways[] = { encode, decode };
	struct error e;
	struct device *d = cpu_backend.open(&e);
	struct model_files *m = model_files_open("demo/tiny-sdxl", NULL, NULL, &e);
	struct vae *v = vae_load(m, &cpu_backend, d, true, true, &e);
	float *x = randoms(30, 2 * 96 * 64 * 3);
	const struct picture p = { v, x, 2, 96, 64 };

	for (int k = 0; k < 2; k++) {
		struct workspace w = { .be = &cpu_backend, .device = d };
		size_t bytes;
		float *whole;
		vae_set_bands(v, 0, 0);
		whole = bytes_with(&w, ways[k], &p, &bytes);
		for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i += SANITIZED ? 2 : 1) {
			float *banded;
			vae_set_bands(v, limits[i], 1);
			banded = bytes_with(&w, ways[k], &p, &bytes);
			assert_memory_equal(banded, whole, bytes);
			free(banded);
		}
		free(whole);
		workspace_free(&w);
	}
	free(x);
	vae_free(v);
	model_files_close(m);
	cpu_backend.close(d);
}

/* The sizes of SDXL with weights that are a hole on disk; counted on the backend that does nothing. */
static void a_full_size_vae_needs_less_than_a_gib(void **state)
{
	static const int sizes[][2] = { { 1024, 1024 }, { 832, 1216 }, { 1216, 832 }, { 1536, 640 }, { 640, 1536 },
					{ 512, 2048 } };
	char self[4096] = { 0 }, folder[] = "/tmp/test-bands-XXXXXX", *command, *away;
	struct error e;
	struct device *d = dry_backend.open(&e);
	struct model_files *m;
	struct vae *v;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	assert_non_null(mkdtemp(folder));
	command = xprintf("w=%s/../big/write; cp -r tests/big/config/. %s && "
			  "$w --empty tests/golden/single-file/sdxl_names.tsv %s > /dev/null", dirname(self), folder,
			  folder);
	away = xprintf("rm -r %s", folder);
	assert_int_equal(system(command), 0);
	free(command);
	m = model_files_open(folder, NULL, NULL, &e);
	v = vae_load(m, &dry_backend, d, true, true, &e);
	assert_non_null(v);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct picture p = { v, NULL, 1, sizes[i][1], sizes[i][0] };
		vae_set_bands(v, 0, 0);
		assert_true(workspace_need(encode, &p) > (size_t)1 << 30);
		assert_true(workspace_need(decode, &p) > (size_t)2 << 30);
		vae_set_bands(v, VAE_BAND_LIMIT, VAE_BAND_BYTES);
		assert_true(workspace_need(encode, &p) < (size_t)800 << 20);
		assert_true(workspace_need(decode, &p) < (size_t)1000 << 20);
	}
	vae_free(v);
	model_files_close(m);
	dry_backend.close(d);
	assert_int_equal(system(away), 0);
	free(away);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_bands_give_the_bytes_of_the_whole),
		cmocka_unit_test(a_vae_in_bands_gives_the_same_bytes),
		cmocka_unit_test(a_full_size_vae_needs_less_than_a_gib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
