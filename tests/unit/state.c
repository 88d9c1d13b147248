/* States: what is saved comes back bit for bit, any damage is seen, another run's is told from it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/train/saved.h"
#include "../../libcommon/train/state.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define IDENTITY "seed=42 network_dim=4 data=abc"
#define SETTINGS "learning_rate = 0.001\nloss_type = \"l1\"\n"

enum { PARAMETERS = 3 };

static const size_t counts[PARAMETERS] = { 1, 7, 30 };

static void host_copy(struct device *d, void *to, const void *from, size_t n) { memcpy(to, from, n); }

/* The device is the host's memory: only moving data is asked of it. */
static const struct backend host = { .upload = host_copy, .download = host_copy };

static char folder[] = "/tmp/test-state-XXXXXX";

static char *in_folder(const char *name)
{
	return path_join(folder, name);
}

static float *filled(size_t n, float first)
{
	float *x = xmalloc(n * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = first + i / 16.0f;
	return x;
}

/* An optimizer of three parameters whose values follow from first. */
static struct optimizer make(float first)
{
	struct optimizer o = { .parameter = xcalloc(PARAMETERS, sizeof(struct parameter)), .count = PARAMETERS,
			       .be = &host, .settings = { .name = "AdamW" } };

	for (int i = 0; i < PARAMETERS; i++) {
		struct parameter *p = &o.parameter[i];
		p->tensor = xcalloc(1, sizeof(*p->tensor));
		p->tensor->data = filled(counts[i], first + i);
		p->name = xprintf("lora_%d.weight", i);
		p->count = counts[i];
		p->slot[0] = (struct slot){ filled(counts[i], first + 10 + i), DTYPE_F32, counts[i] };
		p->slot[1] = (struct slot){ filled(counts[i], first + 20 + i), DTYPE_F32, counts[i] };
		p->steps = (long)first * 100 + i;
	}
	return o;
}

static void discard(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		free(o->parameter[i].tensor->data);
		free(o->parameter[i].tensor);
		free(o->parameter[i].name);
		free(o->parameter[i].slot[0].data);
		free(o->parameter[i].slot[1].data);
	}
	free(o->parameter);
}

static void assert_equal(const struct optimizer *a, const struct optimizer *b)
{
	for (int i = 0; i < PARAMETERS; i++) {
		const struct parameter *p = &a->parameter[i], *q = &b->parameter[i];
		assert_memory_equal(p->tensor->data, q->tensor->data, counts[i] * sizeof(float));
		assert_memory_equal(p->slot[0].data, q->slot[0].data, counts[i] * sizeof(float));
		assert_memory_equal(p->slot[1].data, q->slot[1].data, counts[i] * sizeof(float));
		assert_int_equal(p->steps, q->steps);
	}
}

/* What the curves are; and with `average` a moving average of each parameter. */
static double curves[4];
static float *average[PARAMETERS];
static bool averaged;

static struct state_more more(void)
{
	return (struct state_more){ averaged ? average : NULL, curves, sizeof(curves) / sizeof(*curves) };
}

static const char *settings;     /* that a state must have; NULL: any */

static int save(const char *path, const struct optimizer *o, long step, struct error *e)
{
	const struct state_more m = more();

	return state_save(path, o, &m, &(struct state_facts){ step, SAVED_BY_STEPS, IDENTITY, SETTINGS, "rank = 4\n",
							      "0123456789abcdef" }, e);
}

static int load(const char *path, struct optimizer *o, long *step, const char *identity, struct error *e)
{
	const struct state_more m = more();

	return state_load(path, o, &m, &(struct state_like){ identity, settings }, step, e);
}

static void save_sound(const char *path, float first, long step)
{
	struct optimizer o = make(first);
	struct error e;

	assert_int_equal(save(path, &o, step, &e), 0);
	discard(&o);
}

static void round_trip(void **state)
{
	struct optimizer saved = make(1), loaded = make(5);
	char *path = in_folder("round.safetensors");
	struct error e;
	long step = 0;

	((float *)saved.parameter[2].slot[1].data)[3] = -0.0f;
	((float *)saved.parameter[2].slot[1].data)[4] = 1e-42f;         /* a denormal */
	assert_int_equal(save(path, &saved, 123456789, &e), 0);
	assert_int_equal(load(path, &loaded, &step, IDENTITY, &e), 0);
	assert_int_equal(step, 123456789);
	assert_equal(&saved, &loaded);
	discard(&saved);
	discard(&loaded);
	free(path);
}

static void curves_and_averages_come_back(void **state)
{
	struct optimizer saved = make(1), loaded = make(5);
	char *path = in_folder("more.safetensors");
	struct error e;
	long step;

	averaged = true;
	for (int i = 0; i < PARAMETERS; i++)
		average[i] = filled(counts[i], 30 + i);
	for (int i = 0; i < 4; i++)
		curves[i] = i / 3.0;
	assert_int_equal(save(path, &saved, 7, &e), 0);
	memset(curves, 0, sizeof(curves));
	for (int i = 0; i < PARAMETERS; i++)
		memset(average[i], 0, counts[i] * sizeof(float));
	assert_int_equal(load(path, &loaded, &step, IDENTITY, &e), 0);
	for (int i = 0; i < 4; i++)
		assert_true(curves[i] == i / 3.0);
	for (int i = 0; i < PARAMETERS; i++) {
		float *was = filled(counts[i], 30 + i);
		assert_memory_equal(average[i], was, counts[i] * sizeof(float));
		free(was);
	}
	/* A run without averages does not take this one for its own. */
	averaged = false;
	assert_int_equal(load(path, &loaded, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	for (int i = 0; i < PARAMETERS; i++)
		free(average[i]);
	memset(curves, 0, sizeof(curves));
	discard(&saved);
	discard(&loaded);
	free(path);
}

static void same_state_same_bytes(void **state)
{
	char *a = in_folder("a.safetensors"), *b = in_folder("b.safetensors");
	struct buffer x = { 0 }, y = { 0 };
	struct error e;

	save_sound(a, 1, 7);
	save_sound(b, 1, 7);
	assert_int_equal(read_file(a, 1 << 20, &x, &e), 0);
	assert_int_equal(read_file(b, 1 << 20, &y, &e), 0);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	buffer_free(&x);
	buffer_free(&y);
	free(a);
	free(b);
}

static void write_bytes(const char *path, const void *data, size_t n)
{
	struct error e;

	assert_int_equal(publish_bytes(path, data, n, &e), 0);
}

/* Every bit of the file, one after the other: EXIT_INPUT each time, never other settings, and nothing loaded. */
static void any_flipped_bit_is_damage(void **state)
{
	char *path = in_folder("sound.safetensors"), *bad = in_folder("bad.safetensors");
	struct optimizer o = make(5), before = make(5);
	struct buffer b = { 0 };
	struct error e;

	save_sound(path, 1, 7);
	assert_int_equal(read_file(path, 1 << 20, &b, &e), 0);
	for (size_t i = 0; i < b.len; i++) {
		long step = -1;
		unsigned char *bytes = (unsigned char *)b.data;

		bytes[i] ^= 1 << i % 8;
		write_bytes(bad, b.data, b.len);
		bytes[i] ^= 1 << i % 8;
		if (load(bad, &o, &step, IDENTITY, &e) == 0)
			fail_msg("a flipped bit in byte %zu was not noticed", i);
		assert_int_equal(e.code, EXIT_INPUT);
		assert_int_equal(step, -1);
	}
	assert_equal(&o, &before);
	buffer_free(&b);
	discard(&o);
	discard(&before);
	free(path);
	free(bad);
}

static void any_cut_is_damage(void **state)
{
	char *path = in_folder("sound.safetensors"), *bad = in_folder("bad.safetensors");
	struct optimizer o = make(5);
	struct buffer b = { 0 };
	struct error e;
	long step;

	save_sound(path, 1, 7);
	assert_int_equal(read_file(path, 1 << 20, &b, &e), 0);
	for (size_t n = 0; n < b.len; n += n < 16 || b.len - n < 16 ? 1 : 13) {
		write_bytes(bad, b.data, n);
		assert_int_equal(load(bad, &o, &step, IDENTITY, &e), -1);
		assert_int_equal(e.code, EXIT_INPUT);
	}
	buffer_free(&b);
	discard(&o);
	free(path);
	free(bad);
}

static void other_settings_are_named(void **state)
{
	static const struct { const char *is, *says[2]; } cases[] = {
		{ "seed=43 network_dim=4 data=abc", { "seed=42", "seed=43" } },
		{ "seed=42 network_dim=16 data=abc", { "network_dim=4", "network_dim=16" } },
		{ "seed=42 network_dim=4 data=abd", { "data=abc", "data=abd" } },
		{ "seed=42 network_dim=4 data=abcd", { "data=abc", "data=abcd" } },
		{ "seed=42 network_dim=4", { "had data=abc", "has no data" } },
		{ "seed=42 network_dim=4 data=abc more=1", { "had no more", "has more=1" } },
		{ "seed=42 more=1 network_dim=4 data=abc", { "had no more", "has more=1" } },
	};
	struct optimizer o = make(5), before = make(5);
	char *path = in_folder("sound.safetensors");
	struct error e;
	long step;

	save_sound(path, 1, 7);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(load(path, &o, &step, cases[i].is, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
		assert_non_null(strstr(e.text, cases[i].says[0]));
		assert_non_null(strstr(e.text, cases[i].says[1]));
	}
	assert_equal(&o, &before);
	discard(&o);
	discard(&before);
	free(path);
}

/* The same network and data, learnt otherwise: only where it is asked for. */
static void another_run_of_the_same_network_is_named(void **state)
{
	struct optimizer o = make(5);
	char *path = in_folder("sound.safetensors");
	struct error e;
	long step, said = 0;
	unsigned by = 0;

	save_sound(path, 1, 7);
	settings = "learning_rate = 0.002\nloss_type = \"l1\"\n";
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "learning_rate = 0.001, this one 0.002"));
	settings = SETTINGS;
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), 0);
	settings = NULL;
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), 0);
	assert_false(saved_by_run(path, "0123456789abcdee", &said, &by));
	assert_true(saved_by_run(path, "0123456789abcdef", &said, &by) && said == 7 && by == SAVED_BY_STEPS);
	discard(&o);
	free(path);
}

static void another_network_is_refused(void **state)
{
	struct optimizer o = make(5);
	char *path = in_folder("sound.safetensors");
	struct error e;
	long step;

	save_sound(path, 1, 7);
	o.parameter[1].count--;
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "lora_1.weight"));
	o.parameter[1].count++;
	o.count--;
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	o.count++;
	discard(&o);
	free(path);
}

static void other_files_are_refused(void **state)
{
	static const float x[2] = { 1, 2 };
	const struct safetensors_out t = { "param.lora_0.weight", DTYPE_F32, 1, { 2 }, x, false };
	struct optimizer o = make(5);
	char *path = in_folder("other.safetensors");
	struct error e;
	long step;

	assert_int_equal(safetensors_save(path, &t, 1, NULL, 0, &e), 0);
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "no state of a training run"));
	free(path);
	path = in_folder("nowhere.safetensors");
	assert_int_equal(load(path, &o, &step, IDENTITY, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	discard(&o);
	free(path);
}

/* What left the finite numbers is not published, and the old state stays. */
static void not_finite_is_not_saved(void **state)
{
	char *path = in_folder("finite.safetensors");
	struct optimizer o = make(1), loaded = make(5), sound = make(1);
	float *places[] = { &o.parameter[0].tensor->data[0], (float *)o.parameter[1].slot[0].data + 6,
			    (float *)o.parameter[2].slot[1].data + 29 };
	struct error e;
	long step;

	save_sound(path, 1, 7);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		float kept = *places[i];
		*places[i] = i % 2 ? NAN : INFINITY;
		assert_int_equal(save(path, &o, 8, &e), -1);
		assert_int_equal(e.code, EXIT_DIVERGED);
		*places[i] = kept;
	}
	assert_int_equal(load(path, &loaded, &step, IDENTITY, &e), 0);
	assert_int_equal(step, 7);
	assert_equal(&loaded, &sound);
	discard(&o);
	discard(&loaded);
	discard(&sound);
	free(path);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	while ((entry = readdir(d))) {
		char *path = in_folder(entry->d_name);
		unlink(path);           /* "." and ".." refuse */
		free(path);
	}
	closedir(d);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(curves_and_averages_come_back),
		cmocka_unit_test(same_state_same_bytes), cmocka_unit_test(any_flipped_bit_is_damage),
		cmocka_unit_test(any_cut_is_damage), cmocka_unit_test(other_settings_are_named),
		cmocka_unit_test(another_run_of_the_same_network_is_named),
		cmocka_unit_test(another_network_is_refused), cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(not_finite_is_not_saved),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
