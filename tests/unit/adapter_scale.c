/* Where an adapter's scale comes from: tensors, header, the file beside it, the rank; PEFT's rule for patterns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/adapter/peft_config.h"
#include "../../libcommon/io/json.h"
#include "model_layers.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/"
#define Q "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
#define FC1 "text_model.encoder.layers.0.mlp.fc1"

static char folder[] = "/tmp/test-scale-XXXXXX";

static void golden_layers(struct layer_list *layers)
{
	struct model_config m;
	struct error e;

	assert_int_equal(model_config_read(GOLDEN "tiny-a/model", &m, &e), 0);
	test_layers(&m, layers);
}

static void write_config(const char *json)
{
	char *path = path_join(folder, "adapter_config.json");
	struct error e;

	unlink(path);
	if (json)
		assert_int_equal(publish_bytes(path, json, strlen(json), &e), 0);
	free(path);
}

/* ---- two modules of rank 4: one of the UNet, one of the first text encoder ---- */

struct text_case {
	const char *header, *config;            /* JSON; NULL: not there */
	bool tensors;                           /* alpha 3 in a tensor of the UNet's module */
	double alpha[2];                        /* UNet's, text encoder's */
	enum alpha_origin from[2];
	const char *refused;                    /* a part of the message */
};

static void write_adapter(const char *path, const struct text_case *c)
{
	static const float zeros[1024], three = 3;
	const struct metadata header = { "lora_adapter_metadata", c->header };
	struct safetensors_out t[] = {
		{ "unet." Q ".lora_A.weight", DTYPE_F32, 2, { 4, 16 }, zeros, false },
		{ "unet." Q ".lora_B.weight", DTYPE_F32, 2, { 16, 4 }, zeros, false },
		{ "text_encoder." FC1 ".lora_A.weight", DTYPE_F32, 2, { 4, 32 }, zeros, false },
		{ "text_encoder." FC1 ".lora_B.weight", DTYPE_F32, 2, { 128, 4 }, zeros, false },
		{ "unet." Q ".alpha", DTYPE_F32, 0, { 0 }, &three, false },
	};
	struct error e;

	assert_int_equal(safetensors_save(path, t, c->tensors ? 5 : 4, &header, c->header ? 1 : 0, &e), 0);
}

static void check_case(const struct text_case *c, const char *path, const struct layer_list *layers)
{
	static const char *const names[] = { "unet." Q, "text_encoder." FC1 };
	struct error e = { 0 };
	struct adapter_file *f;

	write_adapter(path, c);
	write_config(c->config);
	f = adapter_file_open(path, layers, &e);
	if (c->refused) {
		if (f)
			fail_msg("not refused: %s", c->refused);
		assert_int_equal(e.code, EXIT_INPUT);
		if (!strstr(e.text, c->refused))
			fail_msg("'%s' is not in: %s", c->refused, e.text);
		return;
	}
	if (!f)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < f->count; k++)
			if (!strcmp(f->module[k].name, names[i])) {
				assert_true(fabs(f->module[k].alpha - c->alpha[i]) < 1e-12);
				assert_int_equal(f->module[k].origin, c->from[i]);
			}
	assert_int_equal(f->count, 2);
	adapter_file_close(f);
}

#define HEADER ALPHA_HEADER
#define CONFIG ALPHA_CONFIG
#define RANK ALPHA_RANK

static const struct text_case cases[] = {
	{ NULL, NULL, false, { 4, 4 }, { RANK, RANK }, NULL },
	{ NULL, NULL, true, { 3, 4 }, { ALPHA_TENSOR, RANK }, NULL },
	/* the order of the four, module by module */
	{ "{\"unet.r\":4,\"unet.lora_alpha\":16}", NULL, false, { 16, 4 }, { HEADER, RANK }, NULL },
	{ "{\"unet.r\":4,\"unet.lora_alpha\":16}", NULL, true, { 3, 4 }, { ALPHA_TENSOR, RANK }, NULL },
	{ "{\"unet.lora_alpha\":16,\"text_encoder.lora_alpha\":2,\"text_encoder_2.lora_alpha\":7}", NULL,
	  false, { 16, 2 }, { HEADER, HEADER }, NULL },
	{ "{\"unet.lora_alpha\":16}", "{\"peft_type\":\"LORA\",\"lora_alpha\":6,\"r\":4}", false, { 16, 6 },
	  { HEADER, CONFIG }, NULL },
	{ NULL, "{\"peft_type\":\"LORA\",\"lora_alpha\":6,\"r\":4}", true, { 3, 6 }, { ALPHA_TENSOR, CONFIG }, NULL },
	/* a model that was saved alone; diffusers' other roots are not ours */
	{ "{\"r\":4,\"lora_alpha\":16}", NULL, false, { 16, 16 }, { HEADER, HEADER }, NULL },
	{ "{\"transformer.lora_alpha\":16}", NULL, false, { 4, 4 }, { RANK, RANK }, NULL },
	{ "{}", "{}", false, { 4, 4 }, { RANK, RANK }, NULL },
	/* alpha / sqrt(rank): effective alpha = alpha * sqrt(rank) */
	{ "{\"unet.lora_alpha\":5,\"unet.use_rslora\":true}", NULL, false, { 10, 4 }, { HEADER, RANK }, NULL },
	{ "{\"unet.lora_alpha\":5,\"unet.use_rslora\":false,\"unet.rank_pattern\":null}", NULL, false, { 5, 4 },
	  { HEADER, RANK }, NULL },
	{ NULL, "{\"use_rslora\":true,\"lora_alpha\":1,\"r\":4}", false, { 2, 2 }, { CONFIG, CONFIG }, NULL },
	{ NULL, "{\"use_rslora\":true,\"lora_alpha\":1,\"r\":4}", true, { 3, 2 }, { ALPHA_TENSOR, CONFIG }, NULL },
	/* LoraConfig's default */
	{ NULL, "{\"r\":4}", false, { 8, 8 }, { CONFIG, CONFIG }, NULL },
	/* patterns: the first that fits, rank and alpha apart; the rank is the tensors' own */
	{ "{\"unet.r\":8,\"unet.lora_alpha\":16,\"unet.rank_pattern\":{\"to_q\":4}}", NULL, false, { 16, 4 },
	  { HEADER, RANK }, NULL },
	{ "{\"unet.lora_alpha\":16,\"unet.alpha_pattern\":{\"to_k\":1,\"attn1.to_q\":2,\"to_q\":3}}", NULL,
	  false, { 2, 4 }, { HEADER, RANK }, NULL },
	{ NULL, "{\"r\":4,\"lora_alpha\":16,\"alpha_pattern\":{\"fc1\":2.5},\"use_rslora\":true}", false, { 32, 5 },
	  { CONFIG, CONFIG }, NULL },
	/* what does not hold is named */
	{ "{\"unet.r\":8,\"unet.lora_alpha\":16}", NULL, false, { 0 }, { 0 }, "rank 8, and its tensors have 4" },
	{ NULL, "{\"r\":4,\"lora_alpha\":6,\"rank_pattern\":{\"fc1\":16}}", false, { 0 }, { 0 },
	  "rank 16, and its tensors have 4" },
	{ "{\"unet.lora_alpha\":\"16\"}", NULL, false, { 0 }, { 0 }, "unet.lora_alpha is no number" },
	{ "{\"unet.r\":0,\"unet.lora_alpha\":16}", NULL, false, { 0 }, { 0 }, "unet.r is no rank" },
	{ "{\"unet.use_rslora\":1}", NULL, false, { 0 }, { 0 }, "unet.use_rslora is neither" },
	{ "{\"unet.alpha_pattern\":{\"to_(q\":1}}", NULL, false, { 0 }, { 0 }, "'to_(q' is no regular expression" },
	{ "{\"unet.alpha_pattern\":{\"((a|b|[a-z_.0-9])+)+[!?]\":1}}", NULL, false, { 0 }, { 0 }, "takes more than" },
	{ "{\"unet.alpha_pattern\":{\"to_q\":null}}", NULL, false, { 0 }, { 0 }, "unet.alpha_pattern has a value" },
	{ "{\"unet.alpha_pattern\":[1]}", NULL, false, { 0 }, { 0 }, "unet.alpha_pattern is no table" },
	{ "{\"unet.lora_alpha\":", NULL, false, { 0 }, { 0 }, "not valid JSON" },
	{ "[1]", NULL, false, { 0 }, { 0 }, "lora_adapter_metadata is no JSON object" },
	{ NULL, "{", false, { 0 }, { 0 }, "adapter_config.json:1: not valid JSON" },
	{ NULL, "[7]", false, { 0 }, { 0 }, "is no JSON object" },
	{ NULL, "{\"peft_type\":\"LOHA\",\"r\":4}", false, { 0 }, { 0 }, "peft_type is LOHA" },
	{ NULL, "{\"r\":4,\"use_dora\":true}", false, { 0 }, { 0 }, "has no lora_magnitude_vector" },
	{ NULL, "{\"r\":4,\"use_dora\":\"yes\"}", false, { 0 }, { 0 }, "use_dora is neither" },
	{ NULL, "{\"r\":4,\"use_qalora\":true}", false, { 0 }, { 0 }, "use_qalora is not supported" },
	{ NULL, "{\"r\":4,\"alora_invocation_tokens\":[5]}", false, { 0 }, { 0 },
	  "alora_invocation_tokens is not supported" },
	{ NULL, "{\"r\":4,\"init_lora_weights\":\"pissa_niter_16\"}", false, { 0 }, { 0 },
	  "init_lora_weights is pissa_niter_16" },
	{ NULL, "{\"r\":4,\"lora_alpha\":6,\"use_qalora\":false,\"kasa_config\":null,\"layer_replication\":[],"
		"\"init_lora_weights\":\"gaussian\"}", false,
	  { 6, 6 }, { CONFIG, CONFIG }, NULL },
};

static void each_source_in_its_turn(void **state)
{
	char *path = path_join(folder, "a.safetensors");
	struct layer_list layers = { 0 };

	golden_layers(&layers);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_case(&cases[i], path, &layers);
	unlink(path);
	write_config(NULL);
	free_test_layers(&layers);
	free(path);
}

/* A link elsewhere: what lies beside the file itself counts too. */
static void through_a_link(void **state)
{
	static const struct text_case c = { NULL, "{\"r\":4,\"lora_alpha\":6}", false, { 6, 6 }, { CONFIG, CONFIG },
					    NULL };
	char *path = path_join(folder, "a.safetensors"), *other = path_join(folder, "other"),
		*link = path_join(other, "b.safetensors");
	struct layer_list layers = { 0 };
	struct adapter_file *f;
	struct error e;

	golden_layers(&layers);
	write_adapter(path, &c);
	write_config(c.config);
	assert_int_equal(mkdir(other, 0777), 0);
	assert_int_equal(symlink("../a.safetensors", link), 0);
	f = adapter_file_open(link, &layers, &e);
	assert_non_null(f);
	assert_true(f->module[0].alpha == 6);
	adapter_file_close(f);
	unlink(link);
	rmdir(other);
	unlink(path);
	write_config(NULL);
	free_test_layers(&layers);
	free(path);
	free(other);
	free(link);
}

/* A folder of adapters with PEFT's configuration in it, which is about none of the others; PEFT's own name is another
 * thing, whatever the tensors in it are called. */
static void beside_files_of_others(void **state)
{
	static const float zeros[64];
	static const char *const stems[] = { "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
					     "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
					     "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q" };
	static const struct { const char *file; double alpha; enum alpha_origin from; } files[] = {
		{ "a.safetensors", 4, RANK },
		{ "adapter_model.safetensors", 6, CONFIG },
	};
	struct layer_list layers = { 0 };

	golden_layers(&layers);
	write_config("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6}");
	for (size_t i = 0; i < sizeof(stems) / sizeof(*stems) * 2; i++) {
		char *path = path_join(folder, files[i % 2].file), *down = xprintf("%s.lora_down.weight", stems[i / 2]),
		     *up = xprintf("%s.lora_up.weight", stems[i / 2]);
		const struct safetensors_out t[] = { { down, DTYPE_F32, 2, { 4, 16 }, zeros, false },
						     { up, DTYPE_F32, 2, { 16, 4 }, zeros, false } };
		struct adapter_file *f;
		struct error e = { 0 };

		assert_int_equal(safetensors_save(path, t, 2, NULL, 0, &e), 0);
		f = adapter_file_open(path, &layers, &e);
		if (!f)
			fail_msg("%s: %s", stems[i / 2], e.text);
		assert_true(f->module[0].alpha == files[i % 2].alpha);
		assert_int_equal(f->module[0].origin, files[i % 2].from);
		adapter_file_close(f);
		unlink(path);
		free(path);
		free(down);
		free(up);
	}
	write_config(NULL);
	free_test_layers(&layers);
}

/* ---- PEFT's other kinds: one module of 16 by 16 ---- */

struct kind_case {
	const char *config, *part[4];
	int64_t shape[4][2];
	double alpha;
	const char *refused;
};

#define HADA { "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b" }, { { 16, 4 }, { 4, 16 }, { 16, 4 }, { 4, 16 } }
#define KRON { "lokr_w1", "lokr_w2_a", "lokr_w2_b" }, { { 4, 4 }, { 4, 2 }, { 2, 4 } }
#define WHOLE { "lokr_w1", "lokr_w2" }, { { 4, 4 }, { 4, 4 } }

static const struct kind_case kinds[] = {
	{ "{\"peft_type\":\"LOHA\",\"r\":4,\"alpha\":6}", HADA, 6, NULL },
	{ "{\"peft_type\":\"LOHA\",\"r\":4,\"alpha\":6,\"alpha_pattern\":{\"to_q\":5}}", HADA, 5, NULL },
	{ "{\"peft_type\":\"LOHA\",\"r\":4}", HADA, 8, NULL },
	{ "{\"peft_type\":\"LOHA\",\"r\":8,\"alpha\":6}", HADA, 0, "rank 8, and its tensors have 4" },
	{ "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6}", HADA, 0, "is a module of LOHA" },
	{ "{\"peft_type\":\"LOKR\",\"r\":2,\"alpha\":3}", KRON, 3, NULL },
	{ "{\"peft_type\":\"LOKR\",\"r\":8,\"alpha\":8}", WHOLE, 8, NULL },
	{ "{\"peft_type\":\"LOKR\",\"r\":8,\"alpha\":4}", WHOLE, 0, "whole matrices have 1" },
	{ "{\"peft_type\":\"VERA\",\"r\":8}", KRON, 0, "peft_type is VERA" },
};

static void other_kinds_of_peft(void **state)
{
	static const float zeros[64];
	char *path = path_join(folder, "adapter_model.safetensors");
	struct layer_list layers;

	golden_layers(&layers);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const struct kind_case *c = &kinds[i];
		struct safetensors_out t[4];
		struct adapter_file *f;
		struct error e;
		size_t n = 0;

		for (; n < 4 && c->part[n]; n++)
			t[n] = (struct safetensors_out){ xprintf("base_model.model." Q ".%s", c->part[n]), DTYPE_F32, 2,
							 { c->shape[n][0], c->shape[n][1] }, zeros, false };
		write_config(c->config);
		assert_int_equal(safetensors_save(path, t, n, NULL, 0, &e), 0);
		f = adapter_file_open(path, &layers, &e);
		if (c->refused && (f || !strstr(e.text, c->refused)))
			fail_msg("'%s' is not in: %s", c->refused, f ? "nothing" : e.text);
		if (!c->refused && !f)
			fail_msg("%s", e.text);
		if (f)
			assert_true(f->module[0].alpha == c->alpha);
		adapter_file_close(f);
		while (n)
			free((char *)t[--n].name);
	}
	write_config(NULL);
	unlink(path);
	free(path);
	free_test_layers(&layers);
}

/* ---- PEFT's rule: what Python's re.match(rf"(.*\.)?({key})$", Q) says ---- */

static void patterns_as_pythons(void **state)
{
	static const struct { const char *key; bool fits; } rows[] = {
		{ "to_q", true }, { "o_q", false }, { "attn1.to_q", true }, { "attn1.*", true }, { "attn2", false },
		{ "down_blocks.1", false }, { "down_blocks.1.*", true }, { ".*to_q", true }, { "^down.*", true },
		{ "^to_q", false }, { "to_(q|k)", true }, { "to_q|nothing", true }, { "nothing|attn1.to_q", true },
		{ "to_q$", true }, { "TO_Q", false }, { "transformer_blocks.0", false }, { "x.to_q", false },
		{ "down_blocks\\\\.1\\\\..*", true }, { "", false }, { "to_.", true }, { "1.attentions.*(?=q)q", true },
		{ "[a-z_]+", true }, { "attn1Xto_q", false }, { "(?P<b>\\\\d).attn1.*", true }, { "\\\\w+", true },
		{ "attn[12].to_q|(.*)zz", true },
	};
	const struct peft_module m = { "x", Q, "LORA", 4 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *text = xprintf("{\"alpha_pattern\":{\"%s\":1}}", rows[i].key);
		struct error e = { 0 };
		json_t *object = json_parse("test", text, strlen(text), &e);
		struct peft_config *c = NULL;
		double alpha = 0;

		assert_non_null(object);
		assert_int_equal(peft_config_read(object, "", "test", &c, &e), 0);
		assert_int_equal(peft_config_alpha(c, &m, &alpha, &e), 0);
		if (alpha != (rows[i].fits ? 1 : 8))
			fail_msg("'%s' gives %g", rows[i].key, alpha);
		peft_config_free(c);
		json_decref(object);
		free(text);
	}
}

static void paths_of_names(void **state)
{
	static const char *const rows[][2] = {
		{ "unet." Q, Q },
		{ "text_encoder_2." FC1, FC1 },
		{ "base_model.model." Q, Q },
		{ "base_model.model.unet." Q, "unet." Q },
		{ Q, Q },
		{ "lora_unet_input_blocks_4_1_proj_in", NULL },
		{ "lycoris_down_blocks_1_attentions_0_proj_in", NULL },
		{ "diffusion_model.input_blocks.4.1.proj_in", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *path = adapter_key_path(rows[i][0]);

		if (rows[i][1])
			assert_string_equal(path, rows[i][1]);
		else
			assert_null(path);
		free(path);
	}
}

/* ---- PEFT's own file: the update is what its writer computed in double ---- */

static void compare_update(const struct adapter_file *f, const struct file_module *m, const struct safetensor *want,
			   const struct safetensors *effect)
{
	const size_t n = safetensor_elements(want), columns = n / want->shape[0];
	struct error e;
	float *down = adapter_file_floats(f, m->part[LORA_DOWN], true, &e),
		*up = adapter_file_floats(f, m->part[LORA_UP], true, &e),
	      *delta = safetensors_floats(effect, want->name, n, &e);
	double worst = 0, most = 0;

	for (size_t i = 0; i < n; i++) {
		double sum = 0;

		for (int k = 0; k < m->form.rank; k++)
			sum += (double)up[i / columns * m->form.rank + k] * down[k * columns + i % columns];
		worst = fmax(worst, fabs(m->alpha / m->form.rank * sum - delta[i]));
		most = fmax(most, fabs(delta[i]));
	}
	assert_true(worst <= 1e-6 * most);      /* delta is rounded to float once: 6e-8 */
	free(down);
	free(up);
	free(delta);
}

static void rslora_of_peft(void **state)
{
	struct error e;
	struct layer_list layers = { 0 };
	struct safetensors *effect = safetensors_open(GOLDEN "adapters/effect_rslora_peft.safetensors", &e);
	struct adapter_file *f;
	size_t compared = 0;

	golden_layers(&layers);
	f = adapter_file_open(GOLDEN "adapters/rslora_peft", &layers, &e);
	assert_non_null(f);
	assert_non_null(effect);
	for (size_t i = 0; i < f->count; i++) {
		char *name = xprintf("delta.%s", f->module[i].name);
		const struct safetensor *want = safetensors_find(effect, name);

		if (want)
			compare_update(f, &f->module[i], want, effect);
		compared += want != NULL;
		free(name);
	}
	assert_int_equal(compared, 3);
	adapter_file_close(f);
	safetensors_close(effect);
	free_test_layers(&layers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_source_in_its_turn),
		cmocka_unit_test(through_a_link),
		cmocka_unit_test(beside_files_of_others),
		cmocka_unit_test(other_kinds_of_peft),
		cmocka_unit_test(patterns_as_pythons),
		cmocka_unit_test(paths_of_names),
		cmocka_unit_test(rslora_of_peft),
	};
	int failed;

	quiet(1);
	assert_non_null(mkdtemp(folder));
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
