/* An adapter on each of the 1,052 modules that kohya's scripts can make of SDXL, in the types that such files have,
 * comes back from every reader's names with the same tensors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/adapter/target.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/merge/merge.h"
#include "../../libcommon/model/source.h"
#include "sanitized.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* STRIDE: with a sanitizer every third module is code enough, of each type, rank and alpha. */
enum { MODULES = 1052, STRIDE = SANITIZED ? 3 : 1, NONE = -1 };

/* A file's types.  mixed: every other module's alpha is of another one, and ranks and alphas are not all the same. */
struct flavour { enum dtype factors; int alpha, other; bool mixed; };
static const struct flavour flavours[] = {
	{ DTYPE_F16, DTYPE_F16, DTYPE_F16, false },
	{ DTYPE_F32, DTYPE_I64, DTYPE_I64, true },
	{ DTYPE_BF16, DTYPE_F32, DTYPE_BF16, true },
	{ DTYPE_F32, NONE, DTYPE_F32, true },
	{ DTYPE_F16, NONE, NONE, true },
};

struct row { char name[128]; char kind; int in, out, kernel; };

static void read_rows(struct row *row)
{
	FILE *f = fopen("tests/golden/sdxl_lora_keys.tsv", "r");
	char line[256];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (*line != '#') {
			struct row *r = &row[n++];

			assert_true(n <= MODULES);
			assert_int_equal(sscanf(line, "%127s %c %d %d %d", r->name, &r->kind, &r->in, &r->out,
						&r->kernel), 5);
		}
	assert_int_equal(n, MODULES);
	fclose(f);
}

/* A tensor of random bits that are numbers: the top bit of each exponent is 0. */
static void put(struct safetensors_out *t, const char *stem, const char *suffix, enum dtype type, int dims,
		const int64_t *shape, uint32_t item)
{
	const struct random draw = { 3, RANDOM_TEST, item, 0 };
	size_t n = dtype_size(type);
	unsigned char *bytes;

	*t = (struct safetensors_out){ .name = xprintf("%s.%s", stem, suffix), .dtype = type, .dims = dims };
	for (int i = 0; i < dims; i++)
		n *= t->shape[i] = shape[i];
	t->data = bytes = xmalloc(n + 16);
	for (size_t i = 0; i < n; i += 16)
		philox(&draw, (uint32_t)(i / 16), (uint32_t *)(bytes + i));
	for (size_t i = dtype_size(type) - 1; i < n; i += dtype_size(type))
		bytes[i] &= 0xbf;
}

static void put_alpha(struct safetensors_out *t, const char *stem, double alpha, enum dtype type)
{
	const int64_t whole = (int64_t)alpha;
	const float number = (float)alpha;

	*t = (struct safetensors_out){ .name = xprintf("%s.alpha", stem), .dtype = type, .data = xcalloc(1, 8) };
	if (type == DTYPE_I64)
		memcpy((void *)t->data, &whole, 8);
	else
		assert_int_equal(from_float((void *)t->data, type, &number, 1), 0);
}

static size_t make_module(struct safetensors_out *t, const struct row *r, const struct flavour *f, int i)
{
	const int rank = 1 + (f->mixed && i % 7 == 0), alpha = 1 + (f->mixed && i % 5 == 0),
		  type = i % 2 ? f->other : f->alpha;
	const int64_t down[] = { rank, r->in, r->kernel, r->kernel }, up[] = { r->out, rank, 1, 1 };
	const int dims = r->kind == 'C' ? 4 : 2;

	put(&t[0], r->name, "lora_down.weight", f->factors, dims, down, 2 * i);
	put(&t[1], r->name, "lora_up.weight", f->factors, dims, up, 2 * i + 1);
	if (type == NONE)
		return 2;
	put_alpha(&t[2], r->name, alpha, type);
	return 3;
}

static void write_kohyas(const char *path, const struct row *row, const struct flavour *f)
{
	struct safetensors_out *t = xcalloc(3 * MODULES, sizeof(*t));
	const struct metadata says = { "ss_network_module", "networks.lora" };
	struct error e;
	size_t n = 0;

	for (int i = 0; i < MODULES; i += STRIDE)
		n += make_module(&t[n], &row[i], f, i);
	assert_int_equal(safetensors_save(path, t, n, &says, 1, &e), 0);
	for (size_t i = 0; i < n; i++) {
		free((char *)t[i].name);
		free((void *)t[i].data);
	}
	free(t);
}

static void convert(const char *from, const char *to, const char *out)
{
	const struct merge_options o = { .adapter = &from, .adapters = 1, .to = to, .out = out };
	struct error e = { 0 };

	if (merge_convert(&o, &e))
		fail_msg("%s to %s: %s", from, to, e.text);
}

static void check_same(const char *left, const char *right)
{
	struct error e = { 0 };
	struct safetensors *a = safetensors_open(left, &e), *b = safetensors_open(right, &e);

	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct safetensor *x = &a->tensor[i], *y = safetensors_find(b, x->name);

		if (!y)
			fail_msg("%s has no %s", right, x->name);
		assert_int_equal(x->dtype, y->dtype);
		assert_int_equal(x->dims, y->dims);
		assert_memory_equal(x->shape, y->shape, sizeof(x->shape));
		assert_memory_equal(safetensors_bytes(a, x), safetensors_bytes(b, y), x->bytes);
	}
	safetensors_close(a);
	safetensors_close(b);
}

static void there_and_back(void **state)
{
	static struct row row[MODULES];
	char folder[] = "/tmp/test-convert-XXXXXX";
	char *kohya, *other, *back;

	assert_non_null(mkdtemp(folder));
	kohya = path_join(folder, "kohya");
	other = path_join(folder, "other");
	back = path_join(folder, "back");
	read_rows(row);
	/* Sanitized, one flavour takes as long as all of them otherwise. */
	for (size_t i = SANITIZED; i < (SANITIZED ? 2 : sizeof(flavours) / sizeof(*flavours)); i++) {
		write_kohyas(kohya, row, &flavours[i]);
		for (const struct adapter_target *t = adapter_targets; t->name; t++) {
			char *clean = xprintf("rm -rf %s %s", other, back);

			convert(kohya, t->name, other);
			convert(other, "kohya", back);
			check_same(kohya, back);
			assert_int_equal(system(clean), 0);
			free(clean);
		}
	}
	assert_int_equal(unlink(kohya), 0);
	assert_int_equal(rmdir(folder), 0);
	free(kohya);
	free(other);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(there_and_back) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
