/* kohya's dataset configs: which level a setting comes from, and what is said about a wrong one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/config/dataset_config.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

static char folder[] = "/tmp/dataset_config.XXXXXX";

static const struct dataset_subset defaults = { .num_repeats = 1, .resolution = { 1024, 1024 }, .enable_bucket = true,
						.min_bucket_reso = 256, .max_bucket_reso = 2048,
						.bucket_reso_steps = 64, .caption_extension = ".tags" };

static int read_text(const char *text, struct dataset_config *c, struct error *e)
{
	char *path = path_join(folder, "d.toml");
	int status;

	assert_int_equal(publish_bytes(path, text, strlen(text), e), 0);
	status = dataset_config_read(path, &defaults, c, e);
	free(path);
	return status;
}

#define FALLBACK "resolution = 64\nnum_repeats = 2\nkeep_tokens = 1\nclass_tokens = 'general'\nshuffle_caption = true\n"

static void fallback_order(void **state)
{
	struct dataset_config c;
	struct error e = { 0 };

	assert_int_equal(read_text("[general]\n" FALLBACK "[[datasets]]\nkeep_tokens = 2\nbatch_size = 4\n"
				   "[[datasets.subsets]]\nimage_dir = 'a'\n"
				   "[[datasets.subsets]]\nimage_dir = 'b'\nkeep_tokens = 3\nnum_repeats = 7\n"
				   "is_reg = true\nclass_tokens = ''\n"
				   "[[datasets]]\nresolution = [512, 256]\n[[datasets.subsets]]\nimage_dir = 'c'\n"
				   "shuffle_caption = false\n"
				   "caption_dropout_rate = 0.5\nkeep_tokens_separator = '|||'\n", &c, &e), 0);
	assert_int_equal(c.count, 3);
	assert_string_equal(c.subset[0].image_dir, "a");
	assert_int_equal(c.subset[0].num_repeats, 2);                   /* from general */
	assert_int_equal(c.subset[0].resolution[1], 64);
	assert_int_equal(c.subset[0].batch_size, 4);                    /* from its dataset */
	assert_int_equal(c.subset[0].max_bucket_reso, 2048);            /* from the caller */
	assert_string_equal(c.subset[0].caption_extension, ".tags");
	assert_string_equal(c.subset[0].caption_options, "{\"shuffle_caption\":true,\"keep_tokens\":2}");
	assert_int_equal(c.subset[1].num_repeats, 7);                   /* from itself */
	assert_true(c.subset[1].is_reg && !c.subset[0].is_reg && !c.subset[2].is_reg);
	assert_string_equal(c.subset[1].class_tokens, "general");       /* an empty text says nothing */
	assert_string_equal(c.subset[1].caption_options, "{\"shuffle_caption\":true,\"keep_tokens\":3}");
	assert_int_equal(c.subset[2].resolution[0], 512);
	assert_int_equal(c.subset[2].resolution[1], 256);
	assert_int_equal(c.subset[2].batch_size, 0);                    /* the first dataset's is its own */
	assert_int_equal(c.subset[2].dataset, 1);
	assert_string_equal(c.subset[2].caption_options, "{\"shuffle_caption\":false,\"keep_tokens\":1,"
			    "\"keep_tokens_separator\":\"|||\",\"caption_dropout_rate\":0.5}");
	assert_non_null(strstr(c.subset[2].where, "d.toml:21"));
	dataset_config_free(&c);
}

#define SUBSET "[[datasets.subsets]]\nimage_dir = 'a'\n"

static const struct { const char *text; const char *say; } mistakes[] = {
	{ "x = 1\n", ":1: unknown key 'x'" },
	{ "learning_rate = 1e-4\n", "no [[datasets]]" },
	{ "[[datasets]]\n", ":1: a dataset without [[datasets.subsets]]" },
	{ "[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 2\n", ":2: a subset without image_dir" },
	{ "[[datasets]]\n[[datasets.subsets]]\nimage_dir = ''\n", ":2: a subset without image_dir" },
	{ "[[datasets]]\n" SUBSET "num_repeat = 2\n", ":4: unknown key 'num_repeat' in [[datasets.subsets]]; "
						      "did you mean 'num_repeats'?" },
	{ "[[datasets]]\n" SUBSET "resolution = 2\n", "'resolution' does not belong into [[datasets.subsets]]; "
						      "move it to [[datasets]]" },
	{ "[[datasets]]\nimage_dir = 'a'\n" SUBSET, ":2: 'image_dir' does not belong into [[datasets]]; "
						    "move it to [[datasets.subsets]]" },
	{ "[general]\nis_reg = true\n[[datasets]]\n" SUBSET, ":2: 'is_reg' does not belong into [general]" },
	{ "[general]\nlearning_rate = 1\n[[datasets]]\n" SUBSET, ":2: unknown key 'learning_rate' in [general]" },
	{ "[[datasets]]\n" SUBSET "num_repeats = 0\n", ":4: num_repeats: '0' does not fit; "
						       "give a whole number from 1 to 1000000" },
	{ "[[datasets]]\n" SUBSET "shuffle_caption = 'maybe'\n",
	  ":4: shuffle_caption: 'maybe' does not fit; give true or false" },
	{ "[[datasets]]\n" SUBSET "caption_dropout_rate = 1.5\n", ":4: caption_dropout_rate: '1.5' does not fit" },
	{ "[[datasets]]\n" SUBSET "color_aug = true\n", ":4: 'color_aug' needs each visit's picture encoded anew" },
	{ "[[datasets]]\n" SUBSET "metadata_file = 'm.json'\n", ":4: 'metadata_file' is not read" },
	{ "[[datasets]]\nimage_directory = 'x'\n", "d.toml:2: this is a dataset file of musubi-tuner" },
	{ "[[directory]]\npath = 'x'\n", "d.toml:1: this is a dataset file of diffusion-pipe" },
	{ "[general]\nflip = true\n[[datasets]]\nresolutoin = 2\n[[datasets.subsets]]\npath = 'a'\nrepeats = 2\n"
	  "qqqqqqqqqqq = 1\nimage_dir = 'a'\n",
	  "d.toml:2: unknown keys 'flip' in [general] (did you mean 'flip_aug'?), 'resolutoin' in [[datasets]] (line "
	  "4; did you mean 'resolution'?), 'path' in [[datasets.subsets]] (line 6; "
	  "did you mean 'image_dir'?), 'repeats' in [[datasets.subsets]] (line 7; "
	  "did you mean 'num_repeats'?), 'qqqqqqqqqqq' in [[datasets.subsets]] (line 8); "
	  "remove the line, or see lora-config(5)" },
	{ "[[datasets]]\n" SUBSET "[datasets.subsets.custom_attributes]\ndiff_output_preservation = true\n",
	  "'diff_output_preservation' is not there" },
	{ "[[datasets]]\n" SUBSET "metadata_fil = 'm.json'\n",
	  ":4: unknown key 'metadata_fil' in [[datasets.subsets]]; remove the line" },
	{ "[[datasets]]\nsubsets = [1]\n", "must be tables" },
	{ "general = 1\n[[datasets]]\n" SUBSET, "'general' must be a table" },
	{ "[[datasets]\n", ":1: " },
};

static void what_is_said(void **state)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
		struct dataset_config c;
		struct error e = { 0 };
		if (!read_text(mistakes[i].text, &c, &e))
			fail_msg("taken: %s", mistakes[i].text);
		if (!strstr(e.text, mistakes[i].say) || e.code != EXIT_USAGE)
			fail_msg("%s: code %d: %s", mistakes[i].text, e.code, e.text);
	}
}

/* What people leave in their files, and asks for nothing. */
static void harmless(void **state)
{
	struct dataset_config c;
	struct error e = { 0 };

	assert_int_equal(read_text("[general]\ncolor_aug = false\nrandom_crop = false\n[[datasets]]\n"
				   "network_multiplier = 1\n" SUBSET
				   "latents_only = false\nconditioning_data_dir = ''\ncaption_separator = ''\n", &c,
				   &e), 0);
	assert_int_equal(c.count, 1);
	assert_null(c.subset[0].caption_options);
	dataset_config_free(&c);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char *path = path_join(folder, "d.toml");

	unlink(path);
	free(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fallback_order), cmocka_unit_test(what_is_said),
					    cmocka_unit_test(harmless) };

	return cmocka_run_group_tests_name("dataset_config", tests, make_folder, remove_folder);
}
