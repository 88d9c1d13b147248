/* Names of layers in every dialect; all names that kohya can write for SDXL (1,052) and Stable Diffusion 1.5 (350),
 * with their sizes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "../../libcommon/base/map.h"
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/adapter/lora.h"
#include "model_layers.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define SD15_NAMES "tests/golden/families/sd15/sd15_lora_keys.tsv"

/* a1111: the module that A1111 puts it on, where the table says it */
struct row { char name[120], kind, set[32], a1111[120]; int in, out, kernel; };

static struct row *read_rows(const char *table, size_t *count)
{
	FILE *f = fopen(table, "r");
	struct row *rows = xcalloc(2000, sizeof(*rows));
	char line[400];

	assert_non_null(f);
	*count = 0;
	while (fgets(line, sizeof(line), f)) {
		struct row *r = &rows[*count];

		if (*line == '#' || !strncmp(line, "name\t", 5))
			continue;
		assert_true(sscanf(line, "%119s %c %d %d %d %31s %119s", r->name, &r->kind, &r->in, &r->out, &r->kernel,
				   r->set, r->a1111) >= 6);
		++*count;
	}
	fclose(f);
	return rows;
}

static void check_row(const struct row *r, const struct layer *l)
{
	const struct weight *w = layer_weight(l);

	assert_int_equal(w->in, r->in);
	assert_int_equal(w->out, r->out);
	assert_int_equal(w->kh, r->kernel);
	assert_int_equal(w->kw, r->kernel);
	assert_int_equal(l->group, strncmp(r->set, "conv", 4) ? LAYER_TRANSFORMER : LAYER_CONV_SET);
	assert_int_equal(l->convolution, r->kind == 'C');
}

/* Every row is some layer's name, and the layers without a row are those that kohya never trains. */
static void check_kohyas(const char *table, const struct family *family, size_t there, size_t others)
{
	const struct model_config *m = family->usual;
	struct layer_list layers;
	size_t count, found = 0, norms = 0;
	struct row *rows = read_rows(table, &count);
	struct map *names = map_new(count);

	test_layers(m, &layers);
	assert_int_equal(count, there);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(map_put(names, rows[i].name, strlen(rows[i].name), i), -1);
	for (size_t i = 0; i < layers.count; i++) {
		char *stem = kohya_stem(&layers.layer[i], &m->unet);
		long row = map_get(names, stem, strlen(stem));

		if (layers.layer[i].group == LAYER_NORM)
			norms++;
		else if (row >= 0)
			check_row(&rows[row], &layers.layer[i]);
		else
			assert_int_equal(layers.layer[i].group, LAYER_OTHER);
		found += row >= 0;
		free(stem);
	}
	assert_int_equal(found, there);
	assert_int_equal(layers.count, there + others + norms);
	map_free(names);
	free(rows);
	free_test_layers(&layers);
}

static void kohya_names_of_sdxl(void **state)
{
	/* conv_in, conv_out, four embeddings, text_projection */
	check_kohyas("tests/golden/sdxl_lora_keys.tsv", &family_sdxl, 1052, 7);
}

static void kohya_names_of_sd15(void **state)
{
	/* conv_in, conv_out, two embeddings */
	check_kohyas(SD15_NAMES, &family_sd15, 350, 4);
}

/* Which layer a module of that name is. */
static long layer_called(const struct key_index *k, const char *module)
{
	char *tensor = xprintf("%s.lora_down.weight", module);
	struct key_part part;
	const char *dialect;
	const long layer = key_index_find(k, tensor, &part, &dialect);

	free(tensor);
	return layer;
}

/* A1111 turns kohya's names into those of the single file; files with these, and with lora_te1_, are the same
 * adapters. */
static void sd15_is_read_under_either_name(void **state)
{
	static const char compvis[] = "diffusion_model_", text[] = "lora_te_";
	struct layer_list layers;
	size_t count;
	struct row *rows = read_rows(SD15_NAMES, &count);
	struct key_index *index;

	test_layers(family_sd15.usual, &layers);
	index = key_index_new(&layers, &family_sd15.usual->unet);
	for (size_t i = 0; i < count; i++) {
		const bool te = !strncmp(rows[i].name, text, sizeof(text) - 1);
		const long layer = layer_called(index, rows[i].name);
		char *other = te ? xprintf("lora_te1_%s", rows[i].name + sizeof(text) - 1) :
				   xprintf("lora_unet_%s", rows[i].a1111 + sizeof(compvis) - 1);

		assert_true(layer >= 0);
		check_row(&rows[i], &layers.layer[layer]);
		if (layer_called(index, other) != layer)
			fail_msg("%s is not %s", other, rows[i].name);
		free(other);
	}
	key_index_free(index);
	free(rows);
	free_test_layers(&layers);
}

static void check_round_trip(const struct model_config *m)
{
	struct layer_list layers;

	test_layers(m, &layers);
	for (size_t i = 0; i < layers.count; i++) {
		char *sgm, *back;

		if (layers.layer[i].component != COMPONENT_UNET)
			continue;
		sgm = sgm_from_diffusers(layers.layer[i].name, &m->unet);
		assert_non_null(sgm);
		back = diffusers_from_sgm(sgm, &m->unet);
		assert_string_equal(back, layers.layer[i].name);
		free(sgm);
		free(back);
	}
	free_test_layers(&layers);
}

/* Four levels with one resnet each: not SDXL's numbers. */
static void other_sizes(struct model_config *m)
{
	model_config_sdxl(m);
	m->unet.levels = 4;
	m->unet.resnets = 1;
	for (int i = 0; i < 4; i++) {
		m->unet.channels[i] = 32 << i;
		m->unet.attention[i] = i < 3;
		m->unet.depth[i] = i < 3;
	}
}

static void both_ways(void **state)
{
	struct model_config m;

	model_config_sdxl(&m);
	check_round_trip(&m);
	other_sizes(&m);
	check_round_trip(&m);
}

static void names_at_other_sizes(void **state)
{
	static const char *const pairs[][2] = {
		{ "down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2" },
		{ "down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op" },
		{ "down_blocks.2.attentions.0.proj_in", "input_blocks.5.1.proj_in" },
		{ "up_blocks.0.upsamplers.0.conv", "output_blocks.1.1.conv" },  /* a level without attention */
		{ "up_blocks.1.upsamplers.0.conv", "output_blocks.3.2.conv" },
		{ "up_blocks.3.resnets.1.conv_shortcut", "output_blocks.7.0.skip_connection" },
		{ "mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1" },
	};
	struct model_config m;

	other_sizes(&m);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *sgm = sgm_from_diffusers(pairs[i][0], &m.unet);

		assert_string_equal(sgm, pairs[i][1]);
		free(sgm);
	}
	assert_null(sgm_from_diffusers("down_blocks.0.nothing", &m.unet));
	assert_null(diffusers_from_sgm("input_blocks.x.0", &m.unet));
}

static void config_from_layers(void **state)
{
	struct model_config m;

	for (int k = 0; k < 2; k++) {
		struct layer_list layers;
		struct unet_config c;

		(k ? other_sizes : model_config_sdxl)(&m);
		test_layers(&m, &layers);
		layers_config(&layers, &c);
		assert_int_equal(c.levels, m.unet.levels);
		assert_int_equal(c.resnets, m.unet.resnets);
		for (int i = 0; i < c.levels; i++)
			assert_int_equal(c.attention[i], m.unet.attention[i]);
		free_test_layers(&layers);
	}
}

#define LAYER "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
#define LAYER_BLOCK "down_blocks.1.attentions.0.transformer_blocks.0.attn1."
#define SGM_LAYER "input_blocks.4.1.transformer_blocks.0.attn1.to_out.0"
#define TEXT "text_model.encoder.layers.3.self_attn.q_proj"

static const struct {
	const char *tensor, *layer;
	enum component component;
	int part;
	const char *dialect;            /* as the name alone tells it; NULL: as the index does */
} known[] = {
	{ "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight", LAYER, COMPONENT_UNET,
	  LORA_DOWN },
	{ "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha", LAYER, COMPONENT_UNET,
	  PART_ALPHA },
	{ "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_up.weight", LAYER,
	  COMPONENT_UNET, LORA_UP },
	{ "unet." LAYER ".lora_A.weight", LAYER, COMPONENT_UNET, LORA_DOWN },
	{ "unet." LAYER ".lora_B.default.weight", LAYER, COMPONENT_UNET, LORA_UP },
	{ "unet." LAYER ".lora.up.weight", LAYER, COMPONENT_UNET, LORA_UP },
	{ "base_model.model." LAYER ".lora_B.weight", LAYER, COMPONENT_UNET, LORA_UP },
	{ "base_model.model.unet." LAYER ".lora_A.weight", LAYER, COMPONENT_UNET, LORA_DOWN },
	{ LAYER ".lora_A.weight", LAYER, COMPONENT_UNET, LORA_DOWN },
	{ "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0.lora_up.weight", LAYER, COMPONENT_UNET,
	  LORA_UP },
	{ "lora_te1_text_model_encoder_layers_3_self_attn_q_proj.lora_down.weight", TEXT, COMPONENT_TE1, LORA_DOWN },
	{ "lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_down.weight", TEXT, COMPONENT_TE1, LORA_DOWN },
	{ "lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight", TEXT, COMPONENT_TE2, LORA_UP },
	{ "text_encoder." TEXT ".lora_A.weight", TEXT, COMPONENT_TE1, LORA_DOWN },
	{ "text_encoder_2." TEXT ".lora_linear_layer.up.weight", TEXT, COMPONENT_TE2, LORA_UP },
	{ "text_encoder_2.encoder.layers.3.self_attn.q_proj.lora_A.weight", TEXT, COMPONENT_TE2, LORA_DOWN },
	{ "lora_unet_time_embed_0.lora_down.weight", "time_embedding.linear_1", COMPONENT_UNET, LORA_DOWN },
	{ "lora_unet_label_emb_0_2.lora_up.weight", "add_embedding.linear_2", COMPONENT_UNET, LORA_UP },
	{ "lora_unet_input_blocks_0_0.lora_up.weight", "conv_in", COMPONENT_UNET, LORA_UP },
	{ "lora_unet_out_2.alpha", "conv_out", COMPONENT_UNET, PART_ALPHA },
	{ "lora_te2_text_projection.lora_up.weight", "text_projection", COMPONENT_TE2, LORA_UP },
	/* ComfyUI's generic names and OMI's */
	{ "text_encoders.clip_l.transformer." TEXT ".lora_down.weight", TEXT, COMPONENT_TE1, LORA_DOWN, "comfy" },
	{ "text_encoders.clip_g.transformer." TEXT ".lora_A.weight", TEXT, COMPONENT_TE2, LORA_DOWN, "comfy" },
	{ "text_encoders.clip_g.transformer.text_projection.alpha", "text_projection", COMPONENT_TE2, PART_ALPHA,
	  "comfy" },
	{ "unet." SGM_LAYER ".lora_down.weight", LAYER, COMPONENT_UNET, LORA_DOWN, "omi" },
	{ "unet.label_emb.0.2.lora_up.weight", "add_embedding.linear_2", COMPONENT_UNET, LORA_UP, "omi" },
	{ "unet.out.2.alpha", "conv_out", COMPONENT_UNET, PART_ALPHA, "omi" },
	{ "clip_l." TEXT ".alpha", TEXT, COMPONENT_TE1, PART_ALPHA, "omi" },
	{ "clip_g." TEXT ".lora_up.weight", TEXT, COMPONENT_TE2, LORA_UP, "omi" },
	/* diffusers' processors, and names of text encoders from before them */
	{ "unet." LAYER_BLOCK "processor.to_q_lora.down.weight", LAYER_BLOCK "to_q", COMPONENT_UNET, LORA_DOWN,
	  "diffusers, processors" },
	{ "unet." LAYER_BLOCK "processor.to_out_lora.up.weight", LAYER, COMPONENT_UNET, LORA_UP,
	  "diffusers, processors" },
	{ LAYER_BLOCK "processor.to_v_lora.up.weight", LAYER_BLOCK "to_v", COMPONENT_UNET, LORA_UP,
	  "diffusers, processors, no prefix" },
	{ "unet." LAYER_BLOCK "processor.to_k.lora_A.weight", LAYER_BLOCK "to_k", COMPONENT_UNET, LORA_DOWN,
	  "diffusers, processors" },
	{ "unet." LAYER_BLOCK "processor.to_out.lora_magnitude_vector.weight", LAYER, COMPONENT_UNET, PART_LENGTHS,
	  "diffusers, processors" },
	{ "unet." LAYER_BLOCK "to_out_lora.down.weight", LAYER, COMPONENT_UNET, LORA_DOWN,
	  "diffusers, old attention" },
	{ "text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.down.weight", TEXT, COMPONENT_TE1, LORA_DOWN },
	{ "text_encoder_2.text_model.encoder.layers.3.self_attn.to_out_lora.up.weight",
	  "text_model.encoder.layers.3.self_attn.out_proj", COMPONENT_TE2, LORA_UP },
	/* PEFT's, model by model, and under the name that diffusers gives an adapter without one */
	{ "unet.base_model.model." LAYER ".lora_A.default.weight", LAYER, COMPONENT_UNET, LORA_DOWN,
	  "peft, of each model" },
	{ "text_encoder_2.base_model.model." TEXT ".lora_B.weight", TEXT, COMPONENT_TE2, LORA_UP,
	  "peft, of each model" },
	{ "base_model.model." TEXT ".lora_A.weight", TEXT, COMPONENT_TE1, LORA_DOWN, "peft, a text encoder" },
	{ "unet." LAYER ".lora_B.default_0.weight", LAYER, COMPONENT_UNET, LORA_UP, "diffusers" },
	/* diffusers' conversion to kohya's names */
	{ "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out.0.lora_magnitude_vector", LAYER,
	  COMPONENT_UNET, PART_LENGTHS, "kohya, diffusers' blocks" },
	{ "lora_te1_text_model_encoder_layers_3_self_attn.q_proj.lora_magnitude_vector", TEXT, COMPONENT_TE1,
	  PART_LENGTHS, "kohya" },
};

static void dialects_are_understood(void **state)
{
	struct model_config m;
	struct layer_list layers;
	struct key_index *index;

	model_config_sdxl(&m);
	test_layers(&m, &layers);
	index = key_index_new(&layers, &m.unet);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct key_part part;
		const char *dialect, *same;
		long layer = key_index_find(index, known[i].tensor, &part, &dialect);

		if (layer < 0)
			fail_msg("%s finds no layer", known[i].tensor);
		assert_string_equal(layers.layer[layer].name, known[i].layer);
		assert_int_equal(layers.layer[layer].component, known[i].component);
		assert_int_equal(part.part, known[i].part);
		assert_non_null(dialect);
		assert_int_equal(adapter_key_component(known[i].tensor, &same), known[i].component);
		if (known[i].dialect)
			assert_string_equal(same, known[i].dialect);
	}
	key_index_free(index);
	free_test_layers(&layers);
}

static void strangers_are_not(void **state)
{
	static const char *const strangers[] = {
		"lora_unet_input_blocks_4_1_proj_in.weight",
		"lora_unet_input_blocks_99_1_proj_in.lora_up.weight",
		"lora_te3_text_model_encoder_layers_0_mlp_fc1.alpha",
		"unet.down_blocks.0.attentions.0.proj_in.lora_A.weight",
		"lora_unet.input_blocks_4_1_proj_in.lora_up.weight",
		"lora_te1.text_model_encoder_layers_0_mlp_fc1.alpha",
		".alpha",
		"",
	};
	struct model_config m;
	struct layer_list layers;
	struct key_index *index;
	struct key_part part;
	const char *text;

	model_config_sdxl(&m);
	test_layers(&m, &layers);
	index = key_index_new(&layers, &m.unet);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		assert_int_equal(key_index_find(index, strangers[i], &part, &text), -1);
	key_index_free(index);
	free_test_layers(&layers);
}

static void lengths_of_dora(void **state)
{
	static const char *const names[] = { "lora_unet_out_2.dora_scale", "unet_conv_inner.lora_magnitude_vector",
					     "unet_conv_inner.lora_magnitude_vector.default.weight",
					     "lora_unet_out_2.magnitude" };
	struct key_part part;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(adapter_key_split(names[i], &part), strcspn(names[i], "."));
		assert_int_equal(part.part, PART_LENGTHS);
		assert_string_equal(part.method, "DoRA");
	}
}

static void other_methods_are_named(void **state)
{
	static const char *const names[][2] = {
		{ "lora_unet_out_2.on_input", "IA3" }, { "lora_unet_out_2.set_weight",
		  "a whole weight in place of the model's (set_weight)" },
		{ "lora_unet_out_2.lambda_layer", "T-LoRA by singular values (lambda_layer)" },
	};
	struct key_part part;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_true(adapter_key_split(names[i][0], &part) > 0);
		assert_int_equal(part.part, PART_OTHER);
		assert_string_equal(part.method, names[i][1]);
	}
	assert_int_equal(adapter_key_split("first_stage_model.decoder.conv_in.weight", &part), 0);
}

/* Each ending of each kind says which part of it the tensor is. */
static void kinds_are_known_by_their_endings(void **state)
{
	for (size_t i = 0; adapter_kinds[i]; i++)
		for (const struct kind_suffix *s = adapter_kinds[i]->suffixes; s->text; s++) {
			char *name = xprintf("lora_unet_out_2%s%s", *s->text == '_' ? "" : ".", s->text);
			struct key_part part;

			assert_int_equal(adapter_key_split(name, &part), strlen("lora_unet_out_2"));
			assert_ptr_equal(part.kind->suffixes, adapter_kinds[i]->suffixes);    /* LoRA-FA's are LoRA's */
			assert_int_equal(part.part, s->part);
			free(name);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kohya_names_of_sdxl), cmocka_unit_test(kohya_names_of_sd15),
		cmocka_unit_test(sd15_is_read_under_either_name), cmocka_unit_test(both_ways),
		cmocka_unit_test(names_at_other_sizes),	   cmocka_unit_test(config_from_layers),
		cmocka_unit_test(dialects_are_understood), cmocka_unit_test(strangers_are_not),
		cmocka_unit_test(other_methods_are_named), cmocka_unit_test(kinds_are_known_by_their_endings),
		cmocka_unit_test(lengths_of_dora),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
