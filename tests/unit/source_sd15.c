/* Stable Diffusion 1.5 on disk: a folder with one text encoder, its copy in the hub's cache,
 * and the released file's names and left-overs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/single_file_names.h"
#include "../../libcommon/io/publish.h"
#include "source_edit.h"

#define MODEL GOLDEN "/families/sd15/model"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static const enum component parts[] = { COMPONENT_UNET, COMPONENT_TE1, COMPONENT_VAE };

static void same_tensors(const struct model_files *a, const struct model_files *b)
{
	for (int k = 0; k < 3; k++) {
		const enum component c = parts[k];

		assert_int_equal(source_names(a, c), source_names(b, c));
		for (size_t i = 0; i < source_names(a, c); i++) {
			struct source_tensor x, y;
			struct error e;

			assert_int_equal(source_find(a, c, source_name(a, c, i), &x, &e), 0);
			assert_int_equal(source_find(b, c, source_name(a, c, i), &y, &e), 0);
			assert_int_equal(x.dtype, y.dtype);
			assert_memory_equal(x.bytes, y.bytes,
					    dtype_size(x.dtype) * x.shape[0] * (x.dims > 1 ? x.shape[1] : 1));
		}
	}
}

/* ---- the released file in small: every tensor under CompVis' name, and the 15 that nobody reads ---- */

static void put_part(struct edit *x, const struct model_files *m, enum component c)
{
	const struct model_config *config = model_files_config(m);

	for (size_t i = 0; i < source_names(m, c); i++) {
		const char *name = source_name(m, c, i);
		struct single_name single;
		struct source_tensor t;
		struct error e;
		int64_t shape[4] = { 1, 1, 1, 1 };

		assert_int_equal(source_find(m, c, name, &t, &e), 0);
		assert_true(single_name_of(config, c, name, &single));
		memcpy(shape, t.shape, t.dims * sizeof(*shape));
		/* the VAE's attention is of 1x1 convolutions there */
		edit_add(x, xprintf("%s%s", config->family->prefix[c], single.name), t.dtype,
			 c == COMPONENT_VAE && t.dims == 2 ? 4 : t.dims, shape, t.bytes);
	}
}

static void put_left_overs(struct edit *x)
{
	static const char *const of_1000[] = {
		"betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
		"sqrt_one_minus_alphas_cumprod",
		"log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
		"posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
	};
	static const int64_t length[] = { 1000 }, ids[] = { 1, 77 };
	static const unsigned char zeros[8 * 1000];

	for (int i = 0; i < 12; i++)
		edit_add(x, xstrdup(of_1000[i]), DTYPE_F32, 1, length, zeros);
	edit_add(x, xstrdup("model_ema.decay"), DTYPE_F32, 0, length, zeros);
	edit_add(x, xstrdup("model_ema.num_updates"), DTYPE_I32, 0, length, zeros);
	edit_add(x, xstrdup("cond_stage_model.transformer.text_model.embeddings.position_ids"), DTYPE_I64, 2, ids,
		 zeros);
}

static void make_single(const struct model_files *m, const char *path, const char *stranger)
{
	static const int64_t shape[] = { 4 };
	struct edit x = { 0 };
	struct safetensors_out *names;
	size_t count;

	for (int k = 0; k < 3; k++)
		put_part(&x, m, parts[k]);
	put_left_overs(&x);
	if (stranger)
		edit_add(&x, xstrdup(stranger), DTYPE_F32, 1, shape, "0123456789abcde");
	count = x.count;
	names = xmalloc(count * sizeof(*names));
	memcpy(names, x.tensor, count * sizeof(*names));
	edit_save(&x, path);
	for (size_t i = 0; i < count; i++)
		free((char *)names[i].name);
	free(names);
}

/* What is said on standard error while a model is opened; malloced. */
static char *said_of(const char *path, struct model_files **m)
{
	struct buffer text = { 0 };
	struct error e;
	const int stderr_now = dup(2), file = open(in_folder("said"), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(file >= 0 && stderr_now >= 0);
	dup2(file, 2);
	*m = model_files_open(path, MODEL, NULL, &e);
	dup2(stderr_now, 2);
	close(stderr_now);
	close(file);
	if (!*m)
		fail_msg("%s", e.text);
	assert_int_equal(read_file(in_folder("said"), 1 << 16, &text, &e), 0);
	return buffer_steal(&text);
}

static void the_released_files_names(void **state)
{
	struct model_files *folder_ = open_model(MODEL, NULL, NULL), *single;
	char *said;

	make_single(folder_, in_folder("sd15.safetensors"), NULL);
	said = said_of(in_folder("sd15.safetensors"), &single);
	assert_string_equal(said, "");                  /* what is in every copy is no news */
	assert_ptr_equal(model_files_config(single)->family, &family_sd15);
	same_tensors(single, folder_);
	assert_false(model_files_has(single, COMPONENT_TE2));
	free(said);
	model_files_close(single);
	make_single(folder_, in_folder("sd15.safetensors"), "something.else");
	said = said_of(in_folder("sd15.safetensors"), &single);
	assert_non_null(strstr(said, "'something.else' is not used"));
	free(said);
	model_files_close(single);
	model_files_close(folder_);
}

/* Without config files a file must have the released one's sizes, and it is not SDXL that it is measured by. */
static void other_sizes_need_a_config(void **state)
{
	struct model_files *m = open_model(MODEL, NULL, NULL);
	struct error e;

	make_single(m, in_folder("sd15.safetensors"), NULL);
	assert_null(model_files_open(in_folder("sd15.safetensors"), NULL, NULL, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "only Stable Diffusion 1.5 needs no config files: --model-config DIR"));
	model_files_close(m);
}

static void a_folder_without_its_text_encoder(void **state)
{
	struct model_files *m;
	struct error e;

	shell("rm -rf m && cp -r $OLDPWD/" MODEL " m && chmod -R u+w m && rm -r m/text_encoder");
	assert_null(model_files_open(in_folder("m"), NULL, NULL, &e));
	assert_non_null(strstr(e.text, "no text_encoder/config.json: not a whole diffusers folder; "
				       "name the folder that holds unet/, vae/ and text_encoder/"));
	m = model_files_open_parts(in_folder("m"), NULL, NULL, PART(COMPONENT_UNET) | PART(COMPONENT_VAE), &e);
	assert_non_null(m);
	assert_false(model_files_has(m, COMPONENT_TE1));
	model_files_close(m);
}

/* Its repository has neither a second text encoder nor a second tokenizer. */
static void its_copy_in_the_hubs_cache_is_whole(void **state)
{
	struct model_files *m, *whole = open_model(MODEL, NULL, NULL);
	struct error e;

	shell("mkdir -p hub/models--some-org--sd15/refs hub/models--some-org--sd15/snapshots && "
	      "printf '" COMMIT "\n' > hub/models--some-org--sd15/refs/main && "
	      "cp -r $OLDPWD/" MODEL " hub/models--some-org--sd15/snapshots/" COMMIT);
	setenv("HF_HOME", folder, 1);
	m = open_model("some-org/sd15", NULL, NULL);
	same_tensors(m, whole);
	model_files_close(m);
	model_files_close(whole);
	assert_null(model_files_open("stable-diffusion-v1-5/stable-diffusion-v1-5", NULL, NULL, &e));
	assert_non_null(strstr(e.text, "fetch it with: hf download stable-diffusion-v1-5/stable-diffusion-v1-5 "
				       "model_index.json unet/config.json "
				       "unet/diffusion_pytorch_model.fp16.safetensors vae/config.json "
				       "vae/diffusion_pytorch_model.fp16.safetensors text_encoder/config.json "
				       "text_encoder/model.fp16.safetensors tokenizer/vocab.json tokenizer/merges.txt "
				       "scheduler/scheduler_config.json"));
	unsetenv("HF_HOME");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_released_files_names),
		cmocka_unit_test(other_sizes_need_a_config),
		cmocka_unit_test(a_folder_without_its_text_encoder),
		cmocka_unit_test(its_copy_in_the_hubs_cache_is_whole),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
