/* The table of configuration keys: searchable, complete in what it says, and described by lora-config(5). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/config/known_keys.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

#define MANUAL "man/lora-config.5"

static void every_key_is_found(void **state)
{
	size_t count;
	const struct known_key *k = known_keys(&count);

	assert_true(count > 200);
	for (size_t i = 0; i < count; i++) {
		if (i && strcmp(k[i - 1].name, k[i].name) >= 0)
			fail_msg("'%s' stands before '%s'", k[i - 1].name, k[i].name);
		assert_ptr_equal(known_key(k[i].name), &k[i]);
	}
	assert_null(known_key("learning_rat"));
	assert_null(known_key(""));
}

static void every_key_says_why(void **state)
{
	size_t count;
	const struct known_key *k = known_keys(&count);

	for (size_t i = 0; i < count; i++) {
		bool must_say = k[i].class == KEY_IGNORED || k[i].class == KEY_RESIDUE || k[i].class == KEY_REFUSED;
		if (must_say && (!k[i].say || !*k[i].say))
			fail_msg("'%s' has nothing to say", k[i].name);
		if (k[i].alias && (k[i].class != KEY_OURS || !known_key(k[i].alias) || known_key(k[i].alias)->class != KEY_OURS))
			fail_msg("'%s' stands for '%s', which is no key of ours", k[i].name, k[i].alias);
	}
}

static bool names(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; (p = strstr(p, key)); p += n)
		if (p >= text + 3 && !memcmp(p - 3, "Ic ", 3) && strchr(" \n", p[n]))
			return true;
	return false;
}

static void the_manual_names_every_key(void **state)
{
	struct buffer text = { 0 };
	struct error e = { 0 };
	size_t count;
	const struct known_key *k = known_keys(&count);

	if (read_file(MANUAL, 1 << 20, &text, &e))
		fail_msg("%s (run from the top of the tree)", e.text);
	for (size_t i = 0; i < count; i++)
		if (!names(text.data, k[i].name))
			fail_msg("%s does not name '%s'", MANUAL, k[i].name);
	buffer_free(&text);
}

/* What the tutorial's file and most files in the wild hold must not be refused outright. */
static void common_keys_have_their_class(void **state)
{
	static const struct { const char *key; enum key_class class; } cases[] = {
		{ "pretrained_model_name_or_path", KEY_OURS }, { "vae", KEY_OURS }, { "resolution", KEY_OURS },
		{ "batch_size", KEY_OURS }, { "train_batch_size", KEY_OURS }, { "max_train_steps", KEY_OURS },
		{ "learning_rate", KEY_OURS }, { "lr_scheduler", KEY_OURS }, { "lr_warmup_steps", KEY_OURS },
		{ "output_dir", KEY_OURS }, { "output_name", KEY_OURS }, { "save_precision", KEY_OURS },
		{ "mixed_precision", KEY_OURS }, { "gradient_checkpointing", KEY_OURS },
		{ "gradient_accumulation_steps", KEY_OURS }, { "network_module", KEY_OURS }, { "network_dim", KEY_OURS },
		{ "network_alpha", KEY_OURS }, { "network_train_unet_only", KEY_OURS },
		{ "network_train_text_encoder_only", KEY_OURS }, { "optimizer_type", KEY_OURS }, { "max_grad_norm", KEY_OURS },
		{ "sample_every_n_steps", KEY_OURS }, { "xformers", KEY_IGNORED },
		{ "sdpa", KEY_IGNORED }, { "cache_latents", KEY_IGNORED }, { "max_data_loader_n_workers", KEY_IGNORED },
		{ "epoch", KEY_RESIDUE }, { "min_lr", KEY_RESIDUE }, { "sdxl", KEY_RESIDUE }, { "v2", KEY_REFUSED },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct known_key *k = known_key(cases[i].key);
		if (!k || k->class != cases[i].class)
			fail_msg("'%s' is missing or of another class", cases[i].key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_found),
		cmocka_unit_test(every_key_says_why),
		cmocka_unit_test(the_manual_names_every_key),
		cmocka_unit_test(common_keys_have_their_class),
	};

	return cmocka_run_group_tests_name("known_keys", tests, NULL, NULL);
}
