/* The log of a run without a run: what a line says, and what is smoothed in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/io/json.h"
#include "../../libcommon/train/log/report.h"
#include <cmocka.h>     /* last: it takes the name fail */

static struct run_log begin(int pipe_end[2])
{
	struct run_log l = { 0 };

	assert_int_equal(pipe(pipe_end), 0);
	l.events.fd = pipe_end[1];
	l.events.name = "a pipe";
	loss_mean_begin(&l.mean, 4);
	l.progress = progress_begin("a test", "steps", 3);
	return l;
}

/* The lines that were written, as an array; json_decref() it. */
static json_t *lines(struct run_log *l, int pipe_end[2])
{
	static char text[1 << 16];
	json_t *all = json_array();
	ssize_t n;
	char *rest = text, *line;

	close(pipe_end[1]);
	n = read(pipe_end[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = 0;
	close(pipe_end[0]);
	while ((line = strsep(&rest, "\n")) && *line)
		json_array_append_new(all, json_loads(line, 0, NULL));
	l->events.fd = -1;
	run_log_free(l);
	return all;
}

static const char *text(const json_t *all, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(all, i), key));
}

static double number(const json_t *all, size_t i, const char *key)
{
	return json_number_value(json_object_get(json_array_get(all, i), key));
}

static void files_and_the_end(void **state)
{
	int end[2];
	struct run_log l = begin(end);
	json_t *all;

	report_path(&l, 3, "save", "out/a.safetensors");
	report_finding(&l, 4, "sample", "no space");
	report_end(&l, 5, "done", NULL);
	all = lines(&l, end);
	assert_int_equal(json_array_size(all), 3);
	assert_string_equal(text(all, 0, "event"), "save");
	assert_string_equal(text(all, 0, "path"), "out/a.safetensors");
	assert_true(number(all, 0, "step") == 3);
	assert_string_equal(text(all, 1, "say"), "no space");
	assert_string_equal(text(all, 2, "why"), "done");
	assert_null(text(all, 2, "adapter"));
	json_decref(all);
}

/* A step that is not finite leaves the curves alone. */
static void curves_are_smoothed(void **state)
{
	struct train_settings s = { .lr.unet = 1e-3 };
	struct optimizer o = { 0 };
	struct step_facts f = {
		.step = 1, .per_epoch = 9, .loss = 2, .lr = 1, .samples = 1, .seconds = 1, .finite = true,
	};
	int end[2];
	struct run_log l = begin(end);
	json_t *all;

	optimizer_defaults("AdamW", &o.settings);
	f.bin_loss[1] = 2;
	f.bin_samples[1] = 1;
	report_step(&l, &s, &o, &f);
	f.step = 2;
	f.loss = 4;
	f.bin_samples[1] = 0;
	report_step(&l, &s, &o, &f);
	f.step = 3;
	f.finite = false;
	report_step(&l, &s, &o, &f);
	all = lines(&l, end);
	assert_true(number(all, 0, "loss_smooth") == 2);
	assert_true(number(all, 1, "loss_smooth") > 2.03 && number(all, 1, "loss_smooth") < 2.05);
	assert_true(number(all, 2, "loss_smooth") == number(all, 1, "loss_smooth"));
	assert_true(json_is_true(json_object_get(json_array_get(all, 2), "nonfinite")));
	for (size_t i = 0; i < 3; i++) {
		const json_t *bins = json_object_get(json_array_get(all, i), "loss_by_timestep");
		assert_true(json_is_null(json_array_get(bins, 0)));
		assert_true(json_number_value(json_array_get(bins, 1)) == 2);
	}
	assert_true(number(all, 0, "lr") == 1e-3);
	json_decref(all);
}

static void validation_is_a_mean(void **state)
{
	int end[2];
	struct run_log l = begin(end);
	const double loss[] = { 1, 2, 3, 6 };
	json_t *all;

	report_validation(&l, &(struct validation_facts){
		.step = 2, .per_epoch = 2, .loss = loss, .timesteps = 4, .pictures = 5, .of_step = true });
	all = lines(&l, end);
	assert_true(number(all, 0, "loss") == 3);
	assert_true(number(all, 0, "pictures") == 5);
	assert_int_equal(json_array_size(json_object_get(json_array_get(all, 0), "loss_by_timestep")), 4);
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_the_end), cmocka_unit_test(curves_are_smoothed),
		cmocka_unit_test(validation_is_a_mean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
