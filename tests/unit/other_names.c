/* Other programs' names for our keys: searchable, and each leads to a key that works. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/config/known_keys.h"
#include "../../libcommon/config/other_names.h"
#include <cmocka.h>

static bool is_ours(const char *key)
{
	const struct known_key *k = known_key(key);

	return k && k->class == KEY_OURS;
}

static void every_name_ends_in_a_key_of_ours(void **state)
{
	size_t count;
	const struct other_name *o = other_names(&count);

	assert_true(count > 300);
	for (size_t i = 0; i < count; i++) {
		if (i && strcmp(o[i - 1].name, o[i].name) >= 0)
			fail_msg("'%s' stands before '%s'", o[i - 1].name, o[i].name);
		assert_ptr_equal(other_name(o[i].name), &o[i]);
		if (o[i].ours ? !is_ours(o[i].ours) : !o[i].say && !o[i].option)
			fail_msg("'%s' leads to '%s', which is no key of ours", o[i].name,
				 o[i].ours ? o[i].ours : "nothing");
		if (is_ours(o[i].name))
			fail_msg("'%s' is a key of ours itself", o[i].name);
	}
	assert_null(other_name("learning_rate"));
}

/* A word of what is said that ought to be a key: "the key is X", "use X", "write X". */
static void check_words(const char *name, const char *say)
{
	static const char *const before[] = { "the key is ", "write ", "; use " };
	char word[80];

	for (size_t i = 0; say && i < sizeof(before) / sizeof(*before); i++)
		for (const char *p = say; (p = strstr(p, before[i])); ) {
			p += strlen(before[i]);
			size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");
			snprintf(word, sizeof(word), "%.*s", (int)n, p);
			if (strchr(word, '_') && !is_ours(word))
				fail_msg("'%s' leads to '%s', which is no key of ours", name, word);
		}
}

static void what_is_said_names_keys_of_ours(void **state)
{
	size_t count;
	const struct other_name *o = other_names(&count);
	const struct known_key *k;

	for (size_t i = 0; i < count; i++)
		check_words(o[i].name, o[i].say);
	k = known_keys(&count);
	for (size_t i = 0; i < count; i++)
		check_words(k[i].name, k[i].say);
}

static void the_fields_words_are_there(void **state)
{
	static const char *const words[][2] = {
		{ "epochs", "max_train_epochs" }, { "steps", "max_train_steps" }, { "network_rank", "network_dim" },
		{ "rank", "network_dim" }, { "lr", "learning_rate" }, { "alpha", "network_alpha" },
		{ "snr_gamma", "min_snr_gamma" }, { "output", "output_dir" }, { "lora_rank", "network_dim" },
		{ "lora_alpha", "network_alpha" }, { "base_model_name", "pretrained_model_name_or_path" },
		{ "num_train_epochs", "max_train_epochs" }, { "instance_data_dir", "train_data_dir" },
		{ "folder_path", "train_data_dir" }, { "class_data_dir", "reg_data_dir" },
		{ "gradient_clipping", "max_grad_norm" }, { "warmup_steps", "lr_warmup_steps" },
		{ "optimizer", "optimizer_type" }, { "caption_dropout_probability", "caption_dropout_rate" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		assert_string_equal(other_name(words[i][0])->ours, words[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name_ends_in_a_key_of_ours),
		cmocka_unit_test(what_is_said_names_keys_of_ours),
		cmocka_unit_test(the_fields_words_are_there),
	};

	return cmocka_run_group_tests_name("other_names", tests, NULL, NULL);
}
