/* Opening models of every form, and finding their tensors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "source_edit.h"

#define A GOLDEN "/tiny-a/model"
#define B GOLDEN "/tiny-b/model"
#define SINGLE_A GOLDEN "/single-file/tiny-a.safetensors"
#define SINGLE_B GOLDEN "/single-file/tiny-b.safetensors"

static struct source_tensor tensor(const struct model_files *m, enum component c, const char *name)
{
	struct source_tensor t;
	struct error e = { 0 };

	if (source_find(m, c, name, &t, &e))
		fail_msg("%s", e.text);
	return t;
}

static size_t elements(const struct source_tensor *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

/* A copy with [out,in] as diffusers has it. */
static unsigned char *straight(const struct source_tensor *t)
{
	size_t size = dtype_size(t->dtype), n = elements(t), out = t->shape[0], in = t->dims > 1 ? t->shape[1] : 1;
	unsigned char *copy = xmalloc(n * size);

	if (!t->transposed)
		memcpy(copy, t->bytes, n * size);
	for (size_t i = 0; t->transposed && i < out * in; i++)
		memcpy(copy + i * size, t->bytes + (i % in * out + i / in) * size, size);
	return copy;
}

/* Every tensor of the component: the same shape, and the same bytes once `folder` has `type`. */
static size_t compare(const struct model_files *single, const struct model_files *whole, enum component c,
		      enum dtype type)
{
	for (size_t i = 0; i < source_names(whole, c); i++) {
		const char *name = source_name(whole, c, i);
		struct source_tensor a = tensor(single, c, name), b = tensor(whole, c, name);
		unsigned char *x = straight(&a), *y = straight(&b);
		size_t n = elements(&b), size = dtype_size(type);

		assert_int_equal(a.dims, b.dims);
		assert_memory_equal(a.shape, b.shape, sizeof(a.shape[0]) * a.dims);
		assert_int_equal(a.dtype, type);
		if (type != b.dtype) {
			unsigned char *rounded = xmalloc(n * size);

			assert_int_equal(from_float(rounded, type, (float *)y, n), 0);
			free(y);
			y = rounded;
		}
		if (memcmp(x, y, n * size))
			fail_msg("%s differs", name);
		free(x);
		free(y);
	}
	return source_names(whole, c);
}

static void a_single_file_is_its_folder_bit_for_bit(void **state)
{
	struct model_files *single = open_model(SINGLE_A, A, NULL), *whole = open_model(A, NULL, NULL);
	size_t count = 0;

	for (int c = 0; c < 4; c++) {
		char one[65], other[65];

		count += compare(single, whole, c, DTYPE_F32);
		model_files_hash(single, c, one);
		model_files_hash(whole, c, other);
		assert_string_equal(one, other);
	}
	/* the file's tensors, less position_ids and logit_scale, and two more for each of 2*4 fused ones */
	assert_int_equal(count, source_file(single, 0)->count - 2 + 2 * 2 * 4);
	assert_true(model_files_single(single));
	assert_false(model_files_single(whole));
	assert_string_equal(model_files_tokenizer(single, 2), A "/tokenizer_2");
	assert_string_equal(model_files_tokenizer(whole, 1), A "/tokenizer");
	model_files_close(single);
	model_files_close(whole);
}

/* F16, and data at no multiple of 4. */
static void a_half_precision_file_is_its_folder_rounded(void **state)
{
	struct model_files *single = open_model(SINGLE_B, B, NULL), *whole = open_model(B, NULL, NULL);

	assert_int_not_equal(source_file(single, 0)->data_start % 4, 0);
	for (int c = 0; c < 4; c++)
		assert_true(compare(single, whole, c, DTYPE_F16) > 50);
	model_files_close(single);
	model_files_close(whole);
}

static void the_demo_model_opens(void **state)
{
	struct model_files *m = open_model("demo/tiny-sdxl", NULL, NULL);

	assert_int_equal(tensor(m, COMPONENT_UNET, "conv_in.weight").dtype, DTYPE_F16);
	assert_int_equal(model_size_step(model_files_config(m)), 16);
	model_files_close(m);
}

static void the_hash_follows_every_byte(void **state)
{
	struct edit x = edit_open(SINGLE_A);
	struct safetensors_out *t = edit_find(&x, "conditioner.embedders.1.model.text_projection");
	unsigned char *changed = xmalloc(48 * 40 * 4);
	struct model_files *m[2] = { open_model(SINGLE_A, A, NULL), NULL };
	char hex[2][65];

	memcpy(changed, t->data, 48 * 40 * 4);
	changed[48 * 40 * 4 - 1] ^= 1;
	t->data = changed;
	edit_save(&x, in_folder("changed.safetensors"));
	m[1] = open_model(in_folder("changed.safetensors"), A, NULL);
	for (int c = 0; c < 4; c++) {
		model_files_hash(m[0], c, hex[0]);
		model_files_hash(m[1], c, hex[1]);
		assert_int_equal(strcmp(hex[0], hex[1]) != 0, c == COMPONENT_TE2);
	}
	model_files_close(m[0]);
	model_files_close(m[1]);
	free(changed);
}

/* What other writers' files look like. */
static void files_of_others_are_read(void **state)
{
	struct edit x = edit_open(SINGLE_A);
	struct model_files *m, *whole = open_model(A, NULL, NULL);
	struct source_tensor projection = tensor(whole, COMPONENT_TE2, "text_projection.weight");
	const int64_t one[] = { 1 }, shape[] = { 48, 40 };

	edit_drop(&x, "conditioner.embedders.0.transformer.text_model.embeddings.position_ids");
	edit_drop(&x, "conditioner.embedders.1.model.logit_scale");
	edit_drop(&x, "conditioner.embedders.1.model.text_projection");
	edit_add(&x, "conditioner.embedders.1.model.text_projection.weight", DTYPE_F32, 2, shape, projection.bytes);
	edit_find(&x, "first_stage_model.encoder.mid.attn_1.q.weight")->dims = 2;
	edit_add(&x, "model_ema.decay", DTYPE_F32, 1, one, "abcd");
	edit_add(&x, "denoiser.sigmas", DTYPE_F32, 1, one, "abcd");
	edit_add(&x, "conditioner.embedders.1.model.transformer.text_model.embeddings.position_ids", DTYPE_F32, 1, one,
		 "abcd");
	edit_save(&x, in_folder("others.safetensors"));
	m = open_model(in_folder("others.safetensors"), A, NULL);
	assert_false(tensor(m, COMPONENT_TE2, "text_projection.weight").transposed);
	for (int c = 0; c < 4; c++)
		compare(m, whole, c, DTYPE_F32);
	model_files_close(m);
	model_files_close(whole);
}

/* config: without a scheduler, so that the file has its say */
static bool predicts_v(struct edit *x, const char *config, bool *zero_snr)
{
	struct model_files *m;
	bool v;

	edit_save(x, in_folder("v.safetensors"));
	m = open_model(in_folder("v.safetensors"), config, NULL);
	v = model_files_config(m)->schedule.prediction == PREDICTION_V;
	*zero_snr = model_files_config(m)->schedule.zero_terminal_snr;
	model_files_close(m);
	return v;
}

static void a_file_tells_its_prediction(void **state)
{
	const int64_t none[] = { 0 };
	const char *config = in_folder("config");
	char *copy = xprintf("cp -r " A " %s && rm -r %s/scheduler", config, config);
	struct edit x = edit_open(SINGLE_A);
	bool zero_snr;

	assert_int_equal(system(copy), 0);
	assert_false(predicts_v(&x, config, &zero_snr));
	assert_false(zero_snr);
	x = edit_open(SINGLE_A);
	edit_add(&x, "v_pred", DTYPE_F32, 1, none, "");
	edit_add(&x, "ztsnr", DTYPE_F32, 1, none, "");
	assert_true(predicts_v(&x, config, &zero_snr));
	assert_true(zero_snr);
	x = edit_open(SINGLE_A);
	x.metadata[x.metadata_count++] = (struct metadata){ "modelspec.prediction_type", "v" };
	assert_true(predicts_v(&x, config, &zero_snr));
	assert_false(zero_snr);
	x = edit_open(SINGLE_A);
	x.metadata[x.metadata_count++] = (struct metadata){ "modelspec.prediction_type", "epsilon" };
	assert_false(predicts_v(&x, A, &zero_snr));
	free(copy);
}

/* ---- folders ---- */

static void same_component(const struct model_files *a, const struct model_files *b, enum component c)
{
	char one[65], other[65];

	model_files_hash(a, c, one);
	model_files_hash(b, c, other);
	assert_string_equal(one, other);
}

static void split(const char *path, const char *const shards[2], struct buffer *index)
{
	buffer_adds(index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
	for (int k = 0; k < 2; k++) {
		struct edit x = edit_open(path);

		for (size_t i = x.count; i-- > 0;) {
			bool here = i % 2 == (size_t)k;

			if (here)
				buffer_addf(index, "%s\"%s\":\"%s\"", index->data[index->len - 1] == '{' ? "" : ",",
					x.tensor[i].name,
					    strrchr(shards[k], '/') + 1);
		}
		for (size_t i = 0, n = 0, all = x.count; i < all; i++)
			if (i % 2 == (size_t)k) {
				x.tensor[n++] = x.tensor[i];
				x.count = n;
			}
		edit_save(&x, in_folder(shards[k]));
	}
	buffer_adds(index, "}}");
}

static void a_sharded_folder_is_the_whole_one(void **state)
{
	static const char *const shards[2] = {
		"sharded/unet/diffusion_pytorch_model-00001-of-00002.safetensors",
		"sharded/unet/diffusion_pytorch_model-00002-of-00002.safetensors",
	};
	struct buffer index = { 0 };
	char *copy = xprintf("cp -r " A " %s", in_folder("sharded"));
	struct model_files *m, *whole = open_model(A, NULL, NULL);
	struct source_place p;

	assert_int_equal(system(copy), 0);
	shell("rm sharded/unet/diffusion_pytorch_model.safetensors");
	split(A "/unet/diffusion_pytorch_model.safetensors", shards, &index);
	put_bytes(in_folder("sharded/unet/diffusion_pytorch_model.safetensors.index.json"), index.data, index.len);
	m = open_model(in_folder("sharded"), NULL, NULL);
	assert_int_equal(source_files(m), 5);
	compare(m, whole, COMPONENT_UNET, DTYPE_F32);
	same_component(m, whole, COMPONENT_UNET);
	assert_true(source_place(m, COMPONENT_UNET, "conv_in.weight", &p));
	assert_ptr_equal(safetensors_find(source_file(m, p.file), "conv_in.weight"), p.tensor);
	assert_string_equal(source_file_path(m, 1), "unet/diffusion_pytorch_model-00002-of-00002.safetensors");
	model_files_close(m);
	model_files_close(whole);
	buffer_free(&index);
	free(copy);
}

/* The fp16 variant, and text encoders with and without the prefix (tiny-b's first has none). */
static void variants_are_found(void **state)
{
	char *copy = xprintf("cp -r " B " %s", in_folder("variant"));
	struct model_files *m, *whole = open_model(B, NULL, NULL);

	assert_int_equal(system(copy), 0);
	shell("mv variant/unet/diffusion_pytorch_model.safetensors "
	      "variant/unet/diffusion_pytorch_model.fp16.safetensors");
	shell("mv variant/text_encoder/model.safetensors variant/text_encoder/model.fp16.safetensors");
	m = open_model(in_folder("variant"), NULL, NULL);
	for (int c = 0; c < 4; c++)
		same_component(m, whole, c);
	assert_non_null(tensor(m, COMPONENT_TE1, "text_model.final_layer_norm.weight").bytes);
	assert_false(source_has(m, COMPONENT_TE1, "text_projection.weight"));
	assert_true(source_has(m, COMPONENT_TE2, "text_projection.weight"));
	model_files_close(m);
	model_files_close(whole);
	free(copy);
}

static void rename_old_attention(struct edit *x)
{
	static const char *const names[][2] = {
		{ "encoder.mid_block.attentions.0.to_q.weight", "encoder.mid_block.attentions.0.query.weight" },
		{ "encoder.mid_block.attentions.0.to_out.0.bias", "encoder.mid_block.attentions.0.proj_attn.bias" },
	};

	for (int i = 0; i < 2; i++)
		edit_find(x, names[i][0])->name = names[i][1];
}

static void another_vae_takes_its_place(void **state)
{
	struct model_files *whole = open_model(A, NULL, NULL), *m;
	struct model_files *b = open_model(B, NULL, NULL);
	struct edit x = edit_open(SINGLE_A);

	m = open_model(A, NULL, B);                     /* a model's folder, its vae/ below */
	same_component(m, b, COMPONENT_VAE);
	same_component(m, whole, COMPONENT_UNET);
	assert_int_equal(model_files_config(m)->vae.factor, 8);
	model_files_close(m);
	m = open_model(SINGLE_A, A, B "/vae");          /* the VAE's own folder */
	same_component(m, b, COMPONENT_VAE);
	model_files_close(m);
	m = open_model(A, NULL, SINGLE_A);              /* a whole checkpoint */
	same_component(m, whole, COMPONENT_VAE);
	model_files_close(m);
	m = open_model(A, NULL, A "/vae/diffusion_pytorch_model.safetensors");
	same_component(m, whole, COMPONENT_VAE);
	model_files_close(m);
	for (size_t i = x.count; i-- > 0;) {            /* the released VAE's names: no prefix */
		if (strncmp(x.tensor[i].name, "first_stage_model.", 18))
			x.tensor[i] = x.tensor[--x.count];
		else
			x.tensor[i].name += 18;
	}
	edit_save(&x, in_folder("vae.safetensors"));
	m = open_model(A, NULL, in_folder("vae.safetensors"));
	same_component(m, whole, COMPONENT_VAE);
	model_files_close(m);
	x = edit_open(A "/vae/diffusion_pytorch_model.safetensors");
	rename_old_attention(&x);
	edit_save(&x, in_folder("old.safetensors"));
	m = open_model(A, NULL, in_folder("old.safetensors"));
	same_component(m, whole, COMPONENT_VAE);
	model_files_close(m);
	model_files_close(whole);
	model_files_close(b);
}

/* With --vae a checkpoint needs none of its own. */
static void a_file_without_vae_takes_another(void **state)
{
	struct edit x = edit_open(SINGLE_A);
	struct model_files *m;

	for (size_t i = x.count; i-- > 0;)
		if (strncmp(x.tensor[i].name, "first_stage_model.", 18) == 0)
			x.tensor[i] = x.tensor[--x.count];
	edit_save(&x, in_folder("no-vae.safetensors"));
	m = open_model(in_folder("no-vae.safetensors"), A, A "/vae");
	assert_true(source_has(m, COMPONENT_VAE, "encoder.conv_in.weight"));
	model_files_close(m);
}

/* ---- parts that nobody needs ---- */

static void drop_prefix(struct edit *x, const char *prefix)
{
	for (size_t i = x->count; i-- > 0;)
		if (strncmp(x->tensor[i].name, prefix, strlen(prefix)) == 0)
			x->tensor[i] = x->tensor[--x->count];
}

static const struct {
	enum component part;
	const char *prefix, *folder, *holds_no, *folder_lacks;
} removable[] = {
	{ COMPONENT_TE1, "conditioner.embedders.0.", "text_encoder", "holds no first text encoder",
	  "no text_encoder/config.json" },
	{ COMPONENT_TE2, "conditioner.embedders.1.", "text_encoder_2", "holds no second text encoder",
	  "no text_encoder_2/config.json" },
	{ COMPONENT_VAE, "first_stage_model.", "vae", "holds no VAE; name one with --vae",
	  "name another VAE with --vae" },
};

static void check_without(const char *path, const char *config, enum component part, const char *message,
			  struct model_files *whole)
{
	struct error e = { 0 };
	struct source_tensor t;
	struct model_files *m = model_files_open_parts(path, config, NULL, PARTS_ALL & ~PART(part), &e);

	if (!m)
		fail_msg("%s", e.text);
	for (int c = 0; c < COMPONENTS; c++) {
		assert_int_equal(model_files_has(m, c), c != (int)part);
		if (c != (int)part)
			same_component(m, whole, c);
	}
	assert_int_equal(source_names(m, part), 0);
	assert_int_equal(source_find(m, part, "x", &t, &e), -1);
	model_files_close(m);
	assert_null(model_files_open_parts(path, config, NULL, PARTS_ALL, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, message))
		fail_msg("'%s' not in: %s", message, e.text);
}

static void what_nobody_needs_may_be_missing(void **state)
{
	struct model_files *whole = open_model(A, NULL, NULL);

	for (size_t i = 0; i < sizeof(removable) / sizeof(*removable); i++) {
		struct edit x = edit_open(SINGLE_A);
		char *command = xprintf("rm -rf m && cp -r $OLDPWD/" A " m && chmod -R u+w m && rm -r m/%s",
					removable[i].folder);
		struct error e = { 0 };

		drop_prefix(&x, removable[i].prefix);
		edit_save(&x, in_folder("part.safetensors"));
		check_without(in_folder("part.safetensors"), A, removable[i].part, removable[i].holds_no, whole);
		shell(command);
		check_without(in_folder("m"), NULL, removable[i].part, removable[i].folder_lacks, whole);
		free(command);
		/* A part of a part is damage, whoever needs it. */
		x = edit_open(SINGLE_A);
		for (size_t k = 0; k < x.count; k++)
			if (strncmp(x.tensor[k].name, removable[i].prefix, strlen(removable[i].prefix)) == 0 &&
			    !strstr(x.tensor[k].name, "position_ids") && !strstr(x.tensor[k].name, "logit_scale")) {
				edit_drop(&x, x.tensor[k].name);
				break;
			}
		edit_save(&x, in_folder("part.safetensors"));
		assert_null(model_files_open_parts(in_folder("part.safetensors"), A, NULL, PART(COMPONENT_UNET), &e));
		assert_non_null(strstr(e.text, "no tensor '"));
	}
	model_files_close(whole);
}

/* Weights without a config, and a config without weights. */
static void a_folder_with_half_a_part(void **state)
{
	struct error e = { 0 };
	struct source_tensor t;
	struct model_files *m;

	shell("rm -rf m && cp -r $OLDPWD/" A " m && chmod -R u+w m && rm m/vae/*.safetensors && "
	      "touch m/vae/diffusion_pytorch_model.bin");
	m = model_files_open_parts(in_folder("m"), NULL, NULL, PART(COMPONENT_UNET), &e);
	assert_non_null(m);
	assert_false(model_files_has(m, COMPONENT_VAE));
	assert_int_equal(source_find(m, COMPONENT_VAE, "x", &t, &e), -1);
	assert_non_null(strstr(e.text, "pickled weights"));
	assert_int_equal(model_files_config(m)->vae.factor, 4);
	model_files_latents(m, 16);                     /* the config knows better */
	assert_int_equal(model_files_config(m)->vae.factor, 4);
	model_files_close(m);
	shell("rm -r m/vae");
	m = model_files_open_parts(in_folder("m"), NULL, NULL, PART(COMPONENT_UNET), &e);
	assert_non_null(m);
	assert_int_equal(model_files_config(m)->vae.factor, 8);
	model_files_latents(m, 4);
	assert_int_equal(model_files_config(m)->vae.factor, 4);
	model_files_close(m);
	m = model_files_open(in_folder("m"), NULL, A "/vae", &e);
	assert_non_null(m);                             /* --vae needs no vae/ beside the UNet */
	model_files_close(m);
}

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void hub_ids_are_looked_up_in_the_cache(void **state)
{
	char *command = xprintf("mkdir -p hub/models--some-org--some-model/refs "
				"hub/models--some-org--some-model/snapshots && "
		"printf '" COMMIT "\\n' > hub/models--some-org--some-model/refs/main && "
		"cp -r $OLDPWD/" A " hub/models--some-org--some-model/snapshots/" COMMIT);
	struct model_files *m, *whole = open_model(A, NULL, NULL);
	struct error e = { 0 };

	shell(command);
	setenv("HF_HOME", folder, 1);
	m = open_model("some-org/some-model", NULL, NULL);
	same_component(m, whole, COMPONENT_UNET);
	assert_non_null(strstr(model_files_path(m), "/hub/models--some-org--some-model/snapshots/" COMMIT));
	model_files_close(m);
	shell("rm hub/models--some-org--some-model/snapshots/" COMMIT "/vae/diffusion_pytorch_model.safetensors");
	assert_null(model_files_open("some-org/some-model", NULL, NULL, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "has no vae/diffusion_pytorch_model.safetensors; fetch it with: hf download "
			       "some-org/some-model "));
	unsetenv("HF_HOME");
	model_files_close(whole);
	free(command);
}

/* ---- a cache in a folder: snapshot_download(cache_dir="./models") ---- */

#define XL "stable-diffusion-xl-base-1.0"
#define XL_COPY "models/models--stabilityai--" XL
#define FIX_COPY "models/models--madebyollin--sdxl-vae-fp16-fix"

static void make_models(void)
{
	shell("rm -rf models && mkdir -p " XL_COPY "/refs " XL_COPY "/snapshots " XL_COPY "/blobs "
	      FIX_COPY "/snapshots/" COMMIT " && "
	      "printf " COMMIT " > " XL_COPY "/refs/main && cp -r $OLDPWD/" A " " XL_COPY "/snapshots/" COMMIT " && "
	      "cp $OLDPWD/" A "/vae/* " FIX_COPY "/snapshots/" COMMIT " && chmod -R u+w models && mkdir models/.locks");
}

static void found(const char *name, const char *vae, struct model_files *whole)
{
	const char *path = in_folder(name), *vae_path = vae ? in_folder(vae) : NULL;
	struct model_files *m = open_model(path, NULL, vae_path);

	same_component(m, whole, COMPONENT_UNET);
	same_component(m, whole, COMPONENT_VAE);
	assert_non_null(strstr(model_files_path(m), "snapshots/" COMMIT));
	model_files_close(m);
}

static void not_found(const char *name, const char *vae, const char *word, const char *word2)
{
	struct error e = { 0 };

	assert_null(model_files_open(in_folder(name), NULL, vae ? in_folder(vae) : NULL, &e));
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, word) || (word2 && !strstr(e.text, word2)))
		fail_msg("'%s' and '%s' are not in: %s", word, word2 ? word2 : "", e.text);
}

static void a_cache_in_a_folder(void **state)
{
	static const char *const names[] = { "models", "models/", XL_COPY, XL_COPY "/", XL_COPY "/snapshots/" COMMIT,
					     "models/" XL, "models/" XL "/", "models/stabilityai/" XL };
	static const char *const vaes[] = { FIX_COPY, "models/sdxl-vae-fp16-fix",
					    "models/madebyollin/sdxl-vae-fp16-fix",
					    "models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors",
					    "models/madebyollin/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors",
					    "models/" XL, "models/" XL "/vae" };
	struct model_files *whole = open_model(A, NULL, NULL);

	make_models();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		found(names[i], NULL, whole);
	for (size_t i = 0; i < sizeof(vaes) / sizeof(*vaes); i++)
		found("models", vaes[i], whole);
	shell("rm " XL_COPY "/refs/main");              /* one snapshot needs no branch */
	found("models/" XL, NULL, whole);
	shell("mkdir " XL_COPY "/snapshots/other");
	not_found("models/" XL, NULL, "fetch it with: hf download stabilityai/" XL, NULL);
	model_files_close(whole);
}

static void a_cache_that_lacks_something(void **state)
{
	const char *where = in_folder("models");

	make_models();
	not_found("models/other-model", NULL, "no such file or folder", NULL);
	not_found("models/" XL, "models/sdxl-vae-fp16-fix/none.safetensors",
		  "madebyollin/sdxl-vae-fp16-fix none.safetensors --cache-dir", where);
	/* the tutorial's ignore_patterns=["*.safetensors"] */
	shell("find " XL_COPY " -name '*.safetensors' -delete");
	not_found("models", NULL, "has no unet/diffusion_pytorch_model.fp16.safetensors; "
		  "fetch it with: hf download stabilityai/" XL " model_index.json "
		  "unet/config.json unet/diffusion_pytorch_model.fp16.safetensors "
		  "vae/config.json vae/diffusion_pytorch_model.fp16.safetensors "
		  "text_encoder/config.json text_encoder/model.fp16.safetensors "
		  "text_encoder_2/config.json text_encoder_2/model.fp16.safetensors "
		  "tokenizer/vocab.json tokenizer/merges.txt tokenizer_2/vocab.json tokenizer_2/merges.txt "
		  "scheduler/scheduler_config.json --cache-dir", where);
	make_models();
	shell("mv models 'my models' && rm 'my models'/models--stab*/snapshots/*/unet/*.safetensors");
	not_found("my models", NULL, "--cache-dir '", "my models'");
	shell("rm -rf 'my models'");
}

static void several_models_in_a_folder(void **state)
{
	struct edit x = edit_open(SINGLE_A);
	struct model_files *m, *whole = open_model(A, NULL, NULL);

	make_models();
	shell("mkdir -p models/models--someone--" XL "/snapshots");
	not_found("models/" XL, NULL, "2 models are in it (models--someone--" XL ", models--stabilityai--"
		  XL "); name one", NULL);
	found("models/stabilityai/" XL, NULL, whole);
	shell("cp -r $OLDPWD/" A " models/mine");
	not_found("models", NULL, "2 models are in it (mine, models--stabilityai--" XL "); name one", NULL);
	shell("rm -rf models/models--*");
	m = open_model(in_folder("models"), NULL, NULL);
	assert_non_null(strstr(model_files_path(m), "/models/mine"));
	model_files_close(m);
	shell("rm -rf models/mine");
	edit_save(&x, in_folder("models/a.safetensors"));
	m = open_model(in_folder("models"), A, NULL);
	assert_true(model_files_single(m));
	model_files_close(m);
	model_files_close(whole);
}

/* ---- where a name is in the file ---- */

static void places_in_a_single_file(void **state)
{
	struct model_files *m = open_model(SINGLE_A, A, NULL);
	struct source_place p;
	int64_t row = 0;

	for (const char *letter = "qkv"; *letter; letter++) {
		char *name = xprintf("text_model.encoder.layers.3.self_attn.%c_proj.weight", *letter);

		assert_true(source_place(m, COMPONENT_TE2, name, &p));
		assert_string_equal(p.tensor->name,
				    "conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_weight");
		assert_int_equal(p.row, row);
		assert_int_equal(p.rows, 40);
		assert_ptr_equal(tensor(m, COMPONENT_TE2, name).bytes,
				 (const char *)safetensors_bytes(source_file(m, p.file), p.tensor) + row * 40 * 4);
		row += 40;
		free(name);
	}
	assert_true(source_place(m, COMPONENT_TE2, "text_projection.weight", &p));
	assert_true(p.transposed);
	assert_int_equal(p.rows, 40);
	assert_true(source_place(m, COMPONENT_VAE, "decoder.up_blocks.0.resnets.1.conv1.weight", &p));
	assert_string_equal(p.tensor->name, "first_stage_model.decoder.up.2.block.1.conv1.weight");
	assert_int_equal(p.row, 0);
	assert_int_equal(p.rows, p.tensor->shape[0]);
	assert_false(source_place(m, COMPONENT_UNET, "no.such.name", &p));
	assert_int_equal(source_files(m), 1);
	assert_string_equal(source_file_path(m, 0), "tiny-a.safetensors");
	model_files_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_file_is_its_folder_bit_for_bit),
		cmocka_unit_test(a_half_precision_file_is_its_folder_rounded),
		cmocka_unit_test(the_demo_model_opens),
		cmocka_unit_test(the_hash_follows_every_byte),
		cmocka_unit_test(files_of_others_are_read),
		cmocka_unit_test(a_file_tells_its_prediction),
		cmocka_unit_test(a_sharded_folder_is_the_whole_one),
		cmocka_unit_test(variants_are_found),
		cmocka_unit_test(another_vae_takes_its_place),
		cmocka_unit_test(a_file_without_vae_takes_another),
		cmocka_unit_test(what_nobody_needs_may_be_missing),
		cmocka_unit_test(a_folder_with_half_a_part),
		cmocka_unit_test(hub_ids_are_looked_up_in_the_cache),
		cmocka_unit_test(a_cache_in_a_folder),
		cmocka_unit_test(a_cache_that_lacks_something),
		cmocka_unit_test(several_models_in_a_folder),
		cmocka_unit_test(places_in_a_single_file),
	};

	quiet(1);
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
