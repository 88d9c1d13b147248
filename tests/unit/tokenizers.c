/* Which tokenizers a model gets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "source_edit.h"
#include "../../libcommon/model/tokenizers.h"

#define TINY GOLDEN "/tiny-a/model"
#define SINGLE GOLDEN "/single-file/tiny-a.safetensors"
#define CLIP_TOKENS 49408

static int fresh_folder(void **state)
{
	strcpy(folder + strlen(folder) - strlen("XXXXXX"), "XXXXXX");
	return make_folder(state);
}

/* The tiny model's config files, without its tokenizers. */
static void put_configs(void)
{
	static const char *const parts[] = { "unet", "vae", "text_encoder", "text_encoder_2", "scheduler" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char *command = xprintf("mkdir -p %s && cp " TINY "/%s/*.json %s/", in_folder(parts[i]), parts[i],
					in_folder(parts[i]));

		assert_int_equal(system(command), 0);
		free(command);
	}
}

/* A single file, and configs, of a text encoder with as many tokens as CLIP's vocabulary. */
static struct model_files *open_large(void)
{
	static const char *const tables[] = {
		"conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
		"conditioner.embedders.1.model.token_embedding.weight",
	};
	struct edit x = edit_open(SINGLE);
	float *zeros = xcalloc((size_t)CLIP_TOKENS * 64, sizeof(*zeros));

	for (int i = 0; i < 2; i++) {
		struct safetensors_out *t = edit_find(&x, tables[i]);

		assert_true(t->shape[1] <= 64);
		t->shape[0] = CLIP_TOKENS;
		t->data = zeros;
	}
	edit_save(&x, in_folder("large.safetensors"));
	free(zeros);
	put_configs();
	shell("sed -i 's/\"vocab_size\": 642/\"vocab_size\": 49408/' text_encoder*/config.json");
	return open_model(in_folder("large.safetensors"), folder, NULL);
}

static void opens(const struct model_files *m, int tokens)
{
	struct tokenizer *t[2];
	struct error e = { 0 };

	if (tokenizers_open(m, t, &e))
		fail_msg("%s", e.text);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tokenizer_vocab_size(t[i]), tokens);
		assert_int_equal(tokenizer_pad(t[i]), i ? 0 : tokens - 1);
		tokenizer_free(t[i]);
	}
}

static void refuses(const struct model_files *m, const char *part)
{
	struct tokenizer *t[2];
	struct error e = { 0 };

	assert_int_equal(tokenizers_open(m, t, &e), -1);
	assert_null(t[0]);
	assert_null(t[1]);
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, part) || !strstr(e.text, "--model-config"))
		fail_msg("\"%s\" says nothing of \"%s\" or of --model-config", e.text, part);
}

static void a_model_with_tokenizers_has_its_own(void **state)
{
	struct model_files *m = open_model(TINY, NULL, NULL), *single = open_model(SINGLE, TINY, NULL);

	opens(m, 642);
	opens(single, 642);
	model_files_close(m);
	model_files_close(single);
}

static void a_single_file_has_clips(void **state)
{
	struct model_files *m = open_large();

	assert_null(model_files_tokenizer(m, 1));
	opens(m, CLIP_TOKENS);
	model_files_close(m);
}

static void clips_is_not_for_another_vocabulary(void **state)
{
	struct model_files *m;

	put_configs();
	m = open_model(SINGLE, folder, NULL);
	refuses(m, "text encoder 1 has 642 tokens");
	model_files_close(m);
}

static void a_folder_of_another_model_is_told(void **state)
{
	struct model_files *m = open_large();
	char *command = xprintf("cp -r " TINY "/tokenizer_2 %s", folder);

	assert_int_equal(system(command), 0);
	free(command);
	model_files_close(m);
	m = open_model(in_folder("large.safetensors"), folder, NULL);
	refuses(m, "tokenizer_2: 642 tokens, text encoder 2");
	model_files_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_model_with_tokenizers_has_its_own),
		cmocka_unit_test_setup_teardown(a_single_file_has_clips, fresh_folder, remove_folder),
		cmocka_unit_test_setup_teardown(clips_is_not_for_another_vocabulary, fresh_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_folder_of_another_model_is_told, fresh_folder, remove_folder),
	};

	return cmocka_run_group_tests_name("tokenizers", tests, NULL, NULL);
}
