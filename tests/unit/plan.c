/* The plan against what a run really asks of a device that counts, byte for byte;
 * and what an allocator makes of pieces. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/bytes.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/train/captions.h"
#include "../../libcommon/train/plan/planner.h"
#include "../../libcommon/train/run.h"
#include "sanitized.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define MODEL "tests/golden/tiny-a/model"
enum { ALIGN = 64 };

/* ---- latents of three buckets, some more often than others ---- */

static const int buckets[][2] = { { 64, 64 }, { 80, 48 }, { 48, 80 }, { 64, 64 }, { 64, 64 } };
enum { SAMPLES = sizeof(buckets) / sizeof(*buckets), FACTOR = 4, CHANNELS = 4 };

static char folder[] = "/tmp/test-plan-XXXXXX";

static float *values(size_t n)
{
	float *x = xmalloc(n * sizeof(*x));

	random_normal(&(struct random){ 1, RANDOM_LATENT, 0, 0 }, x, n);
	return x;
}

static struct latent_sample sample(int i, const struct model_config *c)
{
	const int w = buckets[i][0] / FACTOR, h = buckets[i][1] / FACTOR;
	struct latent_sample s = { .c = CHANNELS, .w = w, .h = h, .variants = 1, .captions = 1 };
	const struct conditioning shape = family_text(c, c->text[0].length);

	memset(s.id, 'a' + i, 64);
	s.mean = values((size_t)CHANNELS * w * h);
	s.std = values((size_t)CHANNELS * w * h);
	s.text = conditioning_like(&shape, 1);
	for (int k = 0; k < CONDITIONS; k++)
		if (s.text.of[k].data) {
			free(s.text.of[k].data);
			s.text.of[k].data = values(condition_size(&s.text, k));
		}
	s.caption = xcalloc(1, sizeof(*s.caption));
	s.caption[0] = xstrdup("a robot");
	return s;
}

static void add_sample(struct tar_writer *w, int i, const struct model_config *c)
{
	struct latent_sample s = sample(i, c);
	char *text = xprintf("{\"captions\": [\"a robot\"], \"repeats\": 1, \"weight\": 1, \"regularization\": false, "
			     "\"original\": [64, 64], \"bucket\": [%d, %d], \"crop\": [0, 0]}", buckets[i][0],
			     buckets[i][1]);
	json_t *source = json_loads(text, 0, NULL);
	struct json_out fields = { 0 };
	struct tar_member member[2];
	struct error e;
	int members = latent_sample_members(&s, member);

	tar_sample_begin(&fields, w, i);
	latent_sample_fields(&s, source, &fields);
	assert_int_equal(tar_sample_add(w, i, member, members, &fields, &e), 0);
	buffer_free(&member[0].bytes);
	buffer_free(&member[1].bytes);
	json_free(&fields);
	json_decref(source);
	latent_sample_free(&s);
	free(text);
}

static void write_latents(const char *path)
{
	struct error e;
	struct model_files *m = model_files_open(MODEL, NULL, NULL, &e);
	struct publish *out = publish_begin(path, true, &e);
	struct tar_writer *w = tar_create(out, "latent");

	assert_non_null(m);
	for (int i = 0; i < SAMPLES; i++)
		add_sample(w, i, model_files_config(m));
	assert_int_equal(tar_finish(w, &e), 0);
	assert_int_equal(publish_end(out, &e), 0);
	model_files_close(m);
}

/* ---- a device that counts ---- */

static size_t asked;

static void count(size_t bytes)
{
	asked += (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static struct { void *p; size_t bytes; } live[8192];
static size_t lives;

static void *counting_alloc(struct device *d, size_t bytes)
{
	count(bytes);
	assert_true(lives < sizeof(live) / sizeof(*live));
	live[lives].bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	return live[lives++].p = cpu_backend.alloc(d, bytes);
}

/* What is taken for a moment while an adapter is made is not counted: the arena comes later, and is larger. */
static void counting_release(struct device *d, void *p)
{
	for (size_t i = 0; i < lives; i++)
		if (live[i].p == p) {
			asked -= live[i].bytes;
			live[i] = live[--lives];
			break;
		}
	cpu_backend.release(d, p);
}

static int counting_prepare(struct device *d, struct weight *w, const void *host)
{
	if (!w->placed)                 /* its memory was counted as alloc()'s */
		count((size_t)w->out * w->in * w->kh * w->kw * (w->dtype == DTYPE_F32 ? 4 : 2));
	return cpu_backend.prepare(d, w, host);
}

/* Addresses that products write to, one after another, as one number */
static uint64_t trace;

static void traced_linear(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias,
			  int rows, const struct narrow *more)
{
	trace = trace * 1099511628211u + (uintptr_t)y.at + (uintptr_t)x.at * 31;
	cpu_backend.linear(d, y, x, w, bias, rows, more);
}

static void traced_linear_dx(struct device *d, struct values dx, struct values dy, const struct weight *w, int rows,
			     int add, const struct narrow *more)
{
	trace = trace * 1099511628211u + (uintptr_t)dx.at + (uintptr_t)dy.at * 31;
	cpu_backend.linear_dx(d, dx, dy, w, rows, add, more);
}

/* ---- a run up to its steps ---- */

static struct train_settings settings;

static void begin(struct run *r, char *line, const char *latents)
{
	static struct tool tools[32];           /* options.c keeps the last one's table */
	static size_t used;
	struct tool *tool = &tools[used++];
	char *argv[40] = { "lora-train", "-q", "-m", MODEL }, *word;
	struct error e = { 0 };
	int argc = 4;

	for (word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	assert_true(used <= sizeof(tools) / sizeof(*tools));
	*tool = (struct tool){ "lora-train", "", "", train_options(&settings), .takes_config = true };
	options_parse(tool, argc, argv);
	run_begin(r, &settings, tool);
	if (run_settings(r, &e) < 0 || run_prepare(r, &latents, 1, &e) < 0)
		fail_msg("%s", e.text);
}

static size_t since(size_t *mark)
{
	const size_t added = asked - *mark;

	*mark = asked;
	return added;
}

static size_t sum(const struct plan *p, enum plan_class first, enum plan_class last)
{
	size_t bytes = 0;

	for (enum plan_class c = first; c <= last; c++)
		bytes += p->bytes[c];
	return bytes;
}

/* The same addresses every time, so that it can be captured and replayed;
 * and nothing is taken from the device on the way. */
static void check_step_twice(struct run *r, struct batch *b)
{
	const size_t before = asked;
	float loss[16];
	uint64_t first;

	trace = 0;
	tensor_download(r->net.tape, step_run(r->net.tape, &r->net.step, b, 1), loss);
	optimizer_forget(&r->course.optimizer);
	first = trace;
	/* Addresses are the compiler's and the heap's; a sanitizer sees in the first step what there is to see. */
	if (!SANITIZED) {
		trace = 0;
		tensor_download(r->net.tape, step_run(r->net.tape, &r->net.step, b, 1), loss);
		assert_true(first && first == trace);
	}
	assert_int_equal(asked, before);
}

/* A real step of every shape on an arena of exactly the bytes that the plan says;
 * with a line less it would end the program. */
static void check_steps(struct run *r, const struct plan *p)
{
	const struct batch_source from = { r->s, &r->data, &r->net, &r->course.objective };
	struct order_place place = { 0, 0, 1 };
	struct batch b = { 0 };
	struct error e;
	bool done[64] = { false };
	size_t i, seen = 0;

	assert_true(p->batches <= sizeof(done) / sizeof(*done));
	for (; place.first < order_batches(r->data.order); place.first++) {
		const struct order_batch o = order_batch(r->data.order, 0, place.first);
		const int *bucket = r->data.set.sample[o.sample[0]].bucket, n = o.n;
		for (i = 0; i < p->batches; i++)
			if (p->batch[i].n == n && p->batch[i].width == bucket[0] && p->batch[i].height == bucket[1])
				break;
		assert_true(i < p->batches);
		if (done[i])
			continue;
		done[i] = true;
		r->net.activation_bytes = p->batch[i].bytes;
		assert_int_equal(networks_take_arena(&r->net, &e), 0);
		batch_make(&from, &r->course, &(struct batch_place){ 0 }, &o, &b);
		check_step_twice(r, &b);
		assert_int_equal(tape_peak(r->net.tape), p->batch[i].bytes);
		networks_give_arena(&r->net);
		seen++;
	}
	assert_true(seen == p->batches && p->batches >= 3);
	optimizer_forget(&r->course.optimizer);
	batch_free(&b);
}

static void must(int result, const struct error *e)
{
	if (result < 0)
		fail_msg("%s", e->text);
}

/* Classes one after another, as a run asks for them. */
static void check_lasting(struct run *r, const struct plan *p)
{
	size_t mark = asked;
	struct error e;

	must(captions_open(&r->data, r->net.files, trains_text(r->s), r->course.seed, r->course.total, &e), &e);
	must(networks_load_text(&r->net, r->data.set.sample[0].variants, &e), &e);
	assert_int_equal(since(&mark), p->bytes[PLAN_TEXT]);
	must(networks_load_unet(&r->net, &e), &e);
	assert_int_equal(since(&mark), p->bytes[PLAN_UNET]);
	must(networks_make_adapter(&r->net, &r->course, &e), &e);
	must(optimizer_keep(&r->course.optimizer, &e), &e);         /* as saving does */
	assert_int_equal(since(&mark), sum(p, PLAN_BASE, PLAN_AVERAGE));
	optimizer_resume_training(&r->course.optimizer);
}

static void check(const char *words)
{
	struct backend counting = cpu_backend;
	char *line = xstrdup(words), *latents = path_join(folder, "latents.tar");
	struct workload work;
	struct error e;
	struct plan p;
	struct run r;

	begin(&r, line, latents);
	work = run_workload(&r);
	must(plan_make(&work, 0, NULL, &p, &e), &e);
	counting.alloc = counting_alloc;
	counting.release = counting_release;
	counting.linear = traced_linear;
	counting.linear_dx = traced_linear_dx;
	counting.prepare = counting_prepare;
	must(networks_open_device(&r.net, &e), &e);
	r.net.be = &counting;
	r.net.way = p.way;
	check_lasting(&r, &p);
	check_steps(&r, &p);
	assert_int_equal(p.peak, sum(&p, 0, PLAN_CLASSES - 1));
	assert_true(p.bytes[PLAN_ADAPTER] && p.bytes[PLAN_OPTIMIZER] && p.bytes[PLAN_UNET]);
	plan_free(&p);
	run_free(&r);
	free(latents);
	free(line);
}

static void unet_alone(void **state)
{
	check("--network-train-unet-only --train-batch-size 2");
	check("--network-train-unet-only --train-batch-size 2 --gradient-checkpointing");
	check("--network-train-unet-only --gradient-checkpointing --gradient-accumulation-steps 2 "
	      "--optimizer-type AdamW8bit");
	check("--network-train-unet-only --dora --conv-dim 2 --ema-decay 0.9");
	check("--network-train-unet-only --dora --dora-axis output --conv-dim 2");
	check("--network-train-unet-only --dora --network-module networks.loha --gradient-checkpointing");
	check("--network-train-unet-only --dora --dora-axis output --network-module networks.lokr");
}

/* Of kinds whose dW is made whole in scratch, too. */
static void other_kinds(void **state)
{
	check("--network-train-unet-only --network-module networks.loha --conv-dim 2 --train-batch-size 2");
	check("--network-train-unet-only --network-module lycoris.kohya --network-args algo=loha "
	      "--network-args use_tucker=True --gradient-checkpointing");
	check("--network-module networks.lokr --network-args factor=4 --gradient-checkpointing --ema-decay 0.9");
	check("--network-train-unet-only --network-module lycoris.kohya --network-args algo=lokr "
	      "--network-args decompose_both=True --network-args use_tucker=True --network-args factor=2");
	check("--network-train-unet-only --network-args use_tucker=True --conv-dim 2");
}

static void everything(void **state)
{
	check("--train-batch-size 2 --conv-dim 2 --optimizer-type Prodigy");
	check("--gradient-checkpointing --conv-dim 2 --ema-decay 0.9 --optimizer-type Adafactor --network-dropout 0.1");
	check("--network-train-text-encoder-only --gradient-checkpointing --optimizer-type AdamWScheduleFree "
	      "--loss-type huber");
}

/* An adapter that is frozen has no gradients and no state. */
static void base_adapters(void **state)
{
	check("--network-train-unet-only --base-weights tests/golden/tiny-a/lora_unet.safetensors");
}

/* What is cheap is computed again before whole blocks are; and the fewest of these that fit a limit: one less does not.
 */
static void as_much_as_fits(void **state)
{
	char line[] = "--network-train-unet-only --gradient-checkpointing auto";
	char *latents = path_join(folder, "latents.tar");
	struct plan most, least, p;
	struct workload work;
	struct error e;
	struct run r;
	int k;

	begin(&r, line, latents);
	work = run_workload(&r);
	must(plan_count(&work, &(struct plan_way){ 0 }, NULL, &most, &e), &e);
	must(plan_count(&work, &(struct plan_way){ SIZE_MAX }, NULL, &least, &e), &e);
	for (k = 0; k <= 10; k++) {
		const size_t limit = least.peak + (most.peak - least.peak) * k / 10;
		must(plan_make(&work, limit, NULL, &p, &e), &e);
		assert_true(plan_fits(&p));
		assert_true(k < 10 || !p.way.checkpoints);
		assert_int_equal(p.way.cheap_again, k < 10);
		if (p.way.checkpoints) {
			struct plan_way one_less = { p.way.checkpoints - 1, .cheap_again = true };
			plan_free(&p);
			must(plan_count(&work, &one_less, NULL, &p, &e), &e);
			p.limit = limit;
			assert_false(plan_fits(&p));
		}
		plan_free(&p);
	}
	must(plan_make(&work, least.peak / 2, NULL, &p, &e), &e);
	assert_false(plan_fits(&p));
	assert_int_equal(p.peak, least.peak);   /* all of them */
	plan_free(&p);
	plan_free(&most);
	plan_free(&least);
	run_free(&r);
	free(latents);
}

/* ---- without a run ---- */

static void amounts_of_memory(void **state)
{
	static const struct { const char *text; size_t bytes; } good[] = {
		{ "12GiB", 12ul << 30 }, { "12 GiB", 12ul << 30 }, { "12G", 12ul << 30 }, { "11.5gib", 23ul << 29 },
		{ "12GB", 12000000000 }, { "512MiB", 512 << 20 }, { "1e9", 1000000000 }, { "4194304", 4194304 },
	};
	static const char *const bad[] = { "", "GiB", "12Gx", "-1GiB", "0", "nan", "inf", "1e99", "12 13", "12",
					   "11500" };
	struct error e;
	size_t i, bytes;

	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		must(bytes_parse(good[i].text, &bytes, &e), &e);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(bytes_parse(bad[i], &bytes, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
	}
	assert_null(plan_device("abacus", &e));
	assert_int_equal(e.code, EXIT_USAGE);
}

/* Pieces of 100 share slabs of 1000, the oldest with room first; from 400 on they are whole pages of 300; below 200
 * they open slabs of 200. */
static void slabs_and_pages(void **state)
{
	struct device *d = dry_device_new(&(struct dry_rules){ .align = 100, .own = 400, .page = 300, .slab = 1000,
							       .small = 200, .hosts = true });
	struct weight w = { .dtype = DTYPE_F16, .out = 10, .in = 15, .kh = 1, .kw = 1, .on_host = true };

	dry_backend.alloc(d, 300);
	dry_backend.alloc(d, 300);
	dry_backend.alloc(d, 301);      /* 400: its own, two pages */
	assert_int_equal(dry_device_bytes(d).asked, 1000);
	assert_int_equal(dry_device_bytes(d).taken, 1000 + 600);
	dry_backend.alloc(d, 300);
	dry_backend.alloc(d, 200);      /* a second slab */
	dry_backend.alloc(d, 100);      /* what the first has left */
	assert_int_equal(dry_device_bytes(d).taken, 2000 + 600);
	dry_backend.prepare(d, &w, NULL);       /* room to visit, for two of 512 bytes; two pages of 300 and two more */
	dry_backend.prepare(d, &w, NULL);
	assert_int_equal(dry_device_bytes(d).host, 600);
	assert_int_equal(dry_device_bytes(d).asked, 1600 + 1024);
	assert_int_equal(dry_device_bytes(d).taken, 2000 + 600 + 1200);
	dry_backend.alloc(d, 300);
	dry_backend.alloc(d, 300);
	dry_backend.alloc(d, 200);      /* the second slab is full */
	dry_backend.alloc(d, 100);      /* a small one, which has room for one more */
	dry_backend.alloc(d, 100);
	assert_int_equal(dry_device_bytes(d).taken, 2000 + 600 + 1200 + 200);
	dry_backend.alloc(d, 100);
	assert_int_equal(dry_device_bytes(d).taken, 2000 + 600 + 1200 + 400);
	dry_backend.close(d);
}

static int make_latents(void **state)
{
	char *path;

	if (!mkdtemp(folder))
		return -1;
	path = path_join(folder, "latents.tar");
	write_latents(path);
	free(path);
	return 0;
}

static int remove_latents(void **state)
{
	char *path = path_join(folder, "latents.tar");

	unlink(path);
	free(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unet_alone), cmocka_unit_test(other_kinds), cmocka_unit_test(everything),
		cmocka_unit_test(base_adapters), cmocka_unit_test(as_much_as_fits), cmocka_unit_test(amounts_of_memory),
		cmocka_unit_test(slabs_and_pages),
	};

	return cmocka_run_group_tests(tests, make_latents, remove_latents);
}
