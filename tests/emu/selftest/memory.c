/*
 * memory - the CUDA backend where memory ends, which only the stand-in can play: the k-th thing that needs memory
 * cannot be made, for every k until nothing fails any more; and a card of 12 GB, filled without computing anything.
 */
#include <math.h>
#include "../../../libcommon/base/philox.h"
#include "../../../libcommon/nn/dry.h"
#include "../../../libcommon/train/plan/plan.h"
#include "../../cuda/harness.h"
#include "../emu_test.h"

static void tell(struct rig *r, bool ok, const char *what, long number)
{
	r->tests++;
	r->failed += !ok;
	printf("%sok %d - %s (%ld)\n", ok ? "" : "not ", r->tests, what, number);
}

enum { ROWS = 4, IN = 64, OUT = 40, BIG = 40 << 20 };

/* A weight on the card, or in host memory, and a product with it.  NULL and -1 are answers.
 * Returns how many of 4 things were had. */
static int work(const struct backend *be, struct device *d)
{
	static float host[IN * OUT], y_host[ROWS * OUT];
	struct weight w[2] = { { .dtype = DTYPE_F16, .out = OUT, .in = IN, .kh = 1, .kw = 1 },
			       { .dtype = DTYPE_F32, .out = OUT, .in = IN, .kh = 1, .kw = 1, .on_host = true } };
	float *x = be->alloc(d, ROWS * IN * sizeof(*x)), *y = be->alloc(d, ROWS * OUT * sizeof(*y)),
		*big = be->alloc(d, BIG);
	int had = (big != NULL) + (x && y), i;

	for (i = 0; i < 2; i++) {
		if (be->prepare(d, &w[i], host))
			continue;
		had++;
		if (x && y) {
			be->zero(d, f32(x), ROWS * IN);
			be->linear(d, f32(y), f32(x), &w[i], NULL, ROWS, NULL);
			be->add(d, f32(y), f32(y), f32(y), ROWS * OUT);
			be->download(d, y_host, y, sizeof(y_host));
		}
		be->unprepare(d, &w[i]);
	}
	be->release(d, big);
	be->release(d, x);
	be->release(d, y);
	return had;
}

/* guard: each piece is an allocation of its own, so that each can fail */
static void each_failure(struct rig *r, bool guard)
{
	const char *what = guard ? "its own allocation cannot be made" : "an allocation cannot be made";
	struct emu_stats before, after;
	bool failed = true;
	long k;

	if (guard)
		setenv("LORA_CUDA_GUARD", "1", 1);
	for (k = 0; failed; k++) {
		struct error e = { 0 };
		struct device *d;
		int had = 0;

		emu_get_stats(&before);
		emu_fail(k);
		d = cuda_backend.open(&e);
		if (d)
			had = work(&cuda_backend, d);
		cuda_backend.close(d);
		emu_fail(-1);
		emu_get_stats(&after);
		failed = after.made - before.made > k;
		tell(r, (d || strstr(e.text, "device cuda: no memory on the card")) &&
		     cudaGetLastError() == cudaSuccess, what, k);
		tell(r, after.live == before.live, "and nothing is left behind", after.live - before.live);
		tell(r, failed == (had < 4), "things were had", had);
	}
	tell(r, k > 8, "there was something that could fail", k);
	unsetenv("LORA_CUDA_GUARD");
}

static void full_card(struct rig *r)
{
	static void *piece[1024];
	const size_t total = (size_t)12 << 30;
	struct error e;
	struct device *d;
	size_t room, n = 0;

	emu_set_dry(1);
	emu_set_total(total);
	d = cuda_backend.open(&e);
	tell(r, d != NULL, "a card of 12 GB", total >> 20);
	if (!d)
		return;
	room = cuda_backend.room(d);
	tell(r, room < total && room > total - ((size_t)512 << 20), "MiB of it are free", room >> 20);
	while (n < 1024 && (piece[n] = cuda_backend.alloc(d, BIG)))
		n++;
	tell(r, n == (room + KEPT_BACK_BYTES) / BIG && cuda_backend.room(d) == 0, "pieces of 40 MiB fit", n);
	while (n)
		cuda_backend.release(d, piece[--n]);
	tell(r, cuda_backend.room(d) == room, "and are given back", cuda_backend.room(d) >> 20);
	cuda_backend.close(d);
	emu_set_dry(0);
}

/* What is refused, and the words in which. */
static void refusals(struct rig *r)
{
	static const struct { const char *name, *value, *says; } rows[] = {
		{ "EMU_DEVICES", "0", "no NVIDIA card" },
		{ "EMU_CAPABILITY", "75", "the card has compute capability 7.5, 8.0 is needed" },
		{ "EMU_DRIVER", "0", "no NVIDIA card: there is no driver (libcuda.so.1)" },
		{ "EMU_DRIVER", "12020", "the driver is one for CUDA 12.2, the backend was built with 13.0" },
		{ "EMU_IMAGES", "0", "no code for NVIDIA Stand-in (compute capability 8.6): "
				     "built was the stand-in of tests/emu: no kernel image is available" },
	};
	struct error e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setenv(rows[i].name, rows[i].value, 1);
		tell(r, !cuda_backend.open(&e) && strstr(e.text, rows[i].says) && e.code == EXIT_MEMORY &&
		     cudaGetLastError() == cudaSuccess, rows[i].says, i);
		unsetenv(rows[i].name);
	}
}

/* A product of each kind, each way. */
static void products(const struct backend *be, struct device *d, float *x, float *y)
{
	static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16, DTYPE_F32 };

	for (int t = 0; t < 3; t++) {
		struct weight w = { .data = x, .dtype = types[t], .out = 8, .in = 8, .kh = 1, .kw = 1 };

		be->linear(d, f32(y), f32(x), &w, NULL, 8, NULL);
		be->linear_dx(d, f32(y), f32(x), &w, 8, 0, NULL);
		if (w.dtype != DTYPE_F32) {
			be->linear(d, (struct values){ y, w.dtype, 0 }, f32(x), &w, NULL, 8, NULL);
			be->linear_dx(d, (struct values){ y, w.dtype, 0 }, f32(x), &w, 8, 0, NULL);
		}
	}
	be->gemm(d, 0, 0, 8, 8, 8, 1, f32(x), 8, f32(x), 8, 0, f32(y), 8);
	be->gemm(d, 0, 1, 8, 8, 8, 1, f32(x), 8, f32(x), 8, 0, f32(y), 8);
	be->gemm(d, 1, 0, 8, 8, 8, 1, f32(x), 8, f32(x), 8, 0, f32(y), 8);
}

/* room() is what is left when cuBLAS has all that it takes, and 256 MiB less. */
static void room_after_products(struct rig *r)
{
	const size_t kept = (size_t)256 << 20, each = (size_t)40 << 20;
	struct emu_stats before, after;
	struct error e;
	struct device *d;
	float *x, *y;
	size_t room, free = 0, total = 0;

	emu_set_dry(1);
	emu_set_blas(each);
	d = cuda_backend.open(&e);
	if (!d)
		die(EXIT_OTHER, "%s", e.text);
	x = cuda_backend.alloc(d, 4096);
	y = cuda_backend.alloc(d, 4096);
	room = cuda_backend.room(d);
	emu_get_stats(&before);
	products(&cuda_backend, d, x, y);
	emu_get_stats(&after);
	tell(r, after.used == before.used, "cuBLAS takes no more after the room was said", after.used - before.used);
	cudaMemGetInfo(&free, &total);
	tell(r, free - room == kept, "MiB are kept back", (free - room) >> 20);
	cuda_backend.close(d);
	emu_get_stats(&after);
	tell(r, after.used == 0, "and all is given back", after.used);
	emu_set_blas(0);
	emu_set_dry(0);
}

/* More than an int holds. */
static void sizes(struct rig *r)
{
	const struct norm_shape s = { .n = 64, .hw = 1 << 20, .c = 1 << 20, .groups = 1 << 20, .eps = 1 };
	const size_t floats = group_norm_scratch(&s);

	tell(r, floats >> 34 == 1, "MiB of scratch for a group norm that nobody has", floats >> 18);
}

/* Pieces of all sizes, the largest in the middle, take what lora-train --plan says.  What the backend takes for itself
 * comes first on both sides. */
static void as_planned(struct rig *r)
{
	static const size_t own[] = { 72 << 20, 256 };
	const struct random random = { 3, RANDOM_TEST, 0, 0 };
	struct emu_stats before, after;
	struct error e;
	const struct plan_device *plan = plan_device("cuda", &e);
	struct device *dry = dry_device_new(&plan->rules), *d;
	int i, differ = 0;

	emu_get_stats(&before);
	d = cuda_backend.open(&e);
	for (i = 0; i < 2; i++)
		dry_backend.alloc(dry, own[i]);
	for (i = 0; d && i < 300; i++) {
		const float large = i / 100 == 1 ? 18 : 12;
		const size_t bytes = 256 * (size_t)exp2f(large * random_uniform(&random, i));

		cuda_backend.alloc(d, bytes);
		dry_backend.alloc(dry, bytes);
		emu_get_stats(&after);
		differ += after.used - before.used != dry_device_bytes(dry).taken;
	}
	tell(r, d && !differ, "pieces that take something else than the plan says", differ);
	cuda_backend.close(d);
	dry_backend.close(dry);
}

int main(void)
{
	struct rig r = { 0 };

	each_failure(&r, false);
	each_failure(&r, true);
	full_card(&r);
	room_after_products(&r);
	refusals(&r);
	sizes(&r);
	as_planned(&r);
	printf("1..%d\n", r.tests);
	return r.failed ? EXIT_OTHER : EXIT_DONE;
}
