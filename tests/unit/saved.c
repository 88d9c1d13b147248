/* Files of single steps: the right ones are listed; a rotation removes only what this run saved for the same reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/adapter/metadata.h"
#include "../../libcommon/train/saved.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define OWN "00000000000000aa"
#define OTHER "00000000000000bb"

static char folder[] = "/tmp/test-saved-XXXXXX";

static void put(const char *file, const char *bytes)
{
	char *path = path_join(folder, file);
	struct error e;

	assert_int_equal(publish_bytes(path, bytes, strlen(bytes), &e), 0);
	free(path);
}

/* A file of a step that holds nothing but who saved it and why. */
static void save(const char *run, long step, unsigned by)
{
	char *path = saved_path(folder, "run", step, ADAPTER_SUFFIX), *text = saved_text(step, by);
	const struct metadata metadata[] = { { RUN_KEY, run }, { SAVED_KEY, text } };
	struct error e;

	assert_int_equal(safetensors_save(path, NULL, 0, metadata, 2, &e), 0);
	free(path);
	free(text);
}

static struct saved_files list_of(const char *suffix)
{
	struct saved_files files = { 0 };
	struct error e;

	assert_int_equal(saved_list(folder, "run", suffix, &files, &e), 0);
	return files;
}

/* The steps whose files are there, oldest first: "3 4 8" */
static void assert_steps(const char *want)
{
	struct saved_files files = list_of(ADAPTER_SUFFIX);
	struct buffer have = { 0 };

	buffer_adds(&have, "");
	for (size_t i = files.count; i--;)
		buffer_addf(&have, "%s%ld", have.len ? " " : "", saved_step(files.path[i], ADAPTER_SUFFIX));
	saved_files_free(&files);
	assert_string_equal(have.data, want);
	buffer_free(&have);
}

static void rotate(struct rotation keep, long now)
{
	saved_rotate(folder, "run", ADAPTER_SUFFIX, OWN, &keep, now, NULL);
}

static int empty_folder(void **state)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	while ((entry = readdir(d))) {
		char *path = path_join(folder, entry->d_name);
		unlink(path);           /* "." and ".." refuse */
		free(path);
	}
	closedir(d);
	return 0;
}

static void list(void **state)
{
	static const char *const others[] = {
		"run-step0000000x-state.safetensors", "run-step000000001-state.safetensors",
		"run-step00000009.safetensors",
		"run2-step00000007-state.safetensors", "run.safetensors", "my-run-step00000008-state.safetensors",
		".run-step00000009-state.safetensors.1.tmp",
	};
	char *path = saved_path(folder, "run", 123, STATE_SUFFIX),
		*file = path_join(folder, "run-step00000009.safetensors");
	struct saved_files files = { 0 };
	struct error e = { 0 };

	assert_string_equal(path + strlen(folder), "/run-step00000123-state.safetensors");
	assert_int_equal(saved_step(path, STATE_SUFFIX), 123);
	free(path);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		put(others[i], "x");
	put("run-step00000002-state.safetensors", "x");
	put("run-step00000010-state.safetensors", "x");
	put("run-step00000009-state.safetensors", "x");
	files = list_of(STATE_SUFFIX);
	assert_int_equal(files.count, 3);
	assert_non_null(strstr(files.path[0], "00000010"));
	assert_non_null(strstr(files.path[1], "00000009"));
	assert_non_null(strstr(files.path[2], "00000002"));
	saved_files_free(&files);
	assert_int_equal(saved_list("/nonexistent/folder", "run", STATE_SUFFIX, &files, &e), 0);
	assert_int_equal(files.count, 0);
	/* What cannot be read is not empty. */
	assert_int_equal(saved_list(file, "run", STATE_SUFFIX, &files, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	free(file);
}

static void text_of_each_reason_comes_back(void **state)
{
	char *path = saved_path(folder, "run", 8, ADAPTER_SUFFIX),
		*text = saved_text(8, SAVED_BY_STEPS | SAVED_BY_EPOCHS);

	assert_string_equal(text, "step=8 by=steps,epochs");
	free(text);
	for (unsigned by = 0; by < 2 * SAVED_AT_END; by++) {
		unsigned read = ~0u;
		long step = 0;
		save(OWN, 8, by);
		assert_true(saved_by_run(path, OWN, &step, &read) && step == 8 && read == by);
		assert_false(saved_by_run(path, OTHER, &step, &read));
	}
	free(path);
}

/* Steps 3, 6, 9, 12 and ends of epochs 4, 8, 12: neither removes the other's;
 * 12 is both, and goes when both have let go. */
static void each_rhythm_removes_its_own(void **state)
{
	for (int i = 0; i < 3; i++) {
		for (long step = 3; step <= 12; step++)
			if (step % 3 == 0 || step % 4 == 0)
				save(OWN, step, (step % 3 ? 0 : SAVED_BY_STEPS) | (step % 4 ? 0 : SAVED_BY_EPOCHS));
		if (i == 0) {
			rotate((struct rotation){ .epochs = 1 }, 13);
			assert_steps("3 6 9 12");
		} else if (i == 1) {
			rotate((struct rotation){ .steps = 4 }, 13);
			assert_steps("4 8 9 12");
			rotate((struct rotation){ .steps = 4 }, 20);
			assert_steps("4 8 12");
		} else {
			rotate((struct rotation){ .steps = 1, .epochs = 1 }, 12);
			assert_steps("12");
			save(OWN, 16, SAVED_BY_EPOCHS);
			rotate((struct rotation){ .steps = 4, .epochs = 1 }, 16);
			assert_steps("12 16");
			rotate((struct rotation){ .steps = 3, .epochs = 1 }, 16);
			assert_steps("16");
		}
		empty_folder(NULL);
	}
}

/* Another run's, one without an owner, one that is no such file, and one of a later step: whatever the rule. */
static void what_is_not_ours_stays(void **state)
{
	save(OTHER, 1, SAVED_BY_STEPS);
	put("run-step00000002.safetensors", "no adapter at all");
	save("", 3, SAVED_BY_STEPS);
	save(OWN, 4, SAVED_BY_STEPS);
	save(OWN, 5, SAVED_BY_STEPS);
	save(OWN, 9, SAVED_BY_STEPS);
	save(OTHER, 10, SAVED_BY_STEPS);
	rotate((struct rotation){ .all = 1, .steps = 1, .epochs = 1, .others = 1 }, 5);
	assert_steps("1 2 3 5 9 10");
}

static void what_was_asked_for_is_kept_by_no_rhythm(void **state)
{
	save(OWN, 1, SAVED_ON_REQUEST);
	save(OWN, 2, SAVED_BY_STEPS | SAVED_ON_REQUEST);
	save(OWN, 3, SAVED_BY_CLOCK);
	save(OWN, 4, SAVED_BY_STEPS);
	rotate((struct rotation){ .steps = 1 }, 9);
	assert_steps("1 2 3");
	rotate((struct rotation){ .steps = 1, .others = 2 }, 9);
	assert_steps("2 3");
	rotate((struct rotation){ .all = 1 }, 9);
	assert_steps("3");
}

static unsigned every_2_and_3(const void *run, long step)
{
	return (step % 2 ? 0 : SAVED_BY_STEPS) | (step % 3 ? 0 : SAVED_BY_EPOCHS);
}

/* What is foreseen is what a run leaves that rotates after each save. */
static void as_many_are_kept_as_was_foreseen(void **state)
{
	static const struct rotation rules[] = { { 0 }, { .all = 3 }, { .steps = 5 }, { .epochs = 2 },
						 { .steps = 3, .epochs = 1 }, { .others = 1 } };

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		for (long to = 0; to <= 14; to++) {
			long saved = 0, foreseen, kept, step;
			struct saved_files files;
			for (step = 2; step <= to; step++)
				if (every_2_and_3(NULL, step)) {
					save(OWN, step, every_2_and_3(NULL, step));
					rotate(rules[i], step);
					saved++;
				}
			kept = saved_kept(&rules[i], every_2_and_3, NULL, 2, to, &foreseen);
			assert_int_equal(foreseen, saved);
			files = list_of(ADAPTER_SUFFIX);
			assert_int_equal(kept, files.count);
			saved_files_free(&files);
			empty_folder(NULL);
		}
}

/* A damaged one is neither removed nor a reason to remove another. */
static void damaged_ones_do_not_count(void **state)
{
	struct step_set damaged = { 0 };

	for (long step = 2; step <= 4; step++)
		save(OWN, step, SAVED_BY_STEPS);
	step_set_add(&damaged, 2);
	step_set_add(&damaged, 3);
	step_set_add(&damaged, 4);
	step_set_drop(&damaged, 2);
	saved_rotate(folder, "run", ADAPTER_SUFFIX, OWN, &(struct rotation){ .all = 1 }, 4, &damaged);
	assert_steps("2 3 4");
	step_set_drop(&damaged, 4);
	saved_rotate(folder, "run", ADAPTER_SUFFIX, OWN, &(struct rotation){ .all = 1 }, 4, &damaged);
	assert_steps("3 4");
	free(damaged.step);
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
		cmocka_unit_test_teardown(list, empty_folder),
		cmocka_unit_test_teardown(text_of_each_reason_comes_back, empty_folder),
		cmocka_unit_test_teardown(each_rhythm_removes_its_own, empty_folder),
		cmocka_unit_test_teardown(what_is_not_ours_stays, empty_folder),
		cmocka_unit_test_teardown(what_was_asked_for_is_kept_by_no_rhythm, empty_folder),
		cmocka_unit_test_teardown(as_many_are_kept_as_was_foreseen, empty_folder),
		cmocka_unit_test_teardown(damaged_ones_do_not_count, empty_folder),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
