#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/map.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/single_file_names.h"
#include "../../libcommon/model/source_tensors.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define TABLE "tests/golden/single-file/sdxl_names.tsv"

/* One line of the table: a tensor of the released file. */
struct line { char *name, *shape, *component, *diffusers[3]; int parts; };

static struct line *line;
static size_t lines, capacity;
static struct model_config sdxl;
static struct known_tensors known[4];
static struct map *names[4];

static const char *const components[] = { "unet", "text_encoder", "text_encoder_2", "vae" };

static void add_line(char *text)
{
	struct line l = { 0 };
	char *names_text, *name, *save;

	text[strcspn(text, "\n")] = 0;
	l.name = xstrdup(strsep(&text, "\t"));
	l.shape = xstrdup(strsep(&text, "\t"));
	l.component = xstrdup(strsep(&text, "\t"));
	names_text = strsep(&text, "\t");
	for (name = strtok_r(names_text, " ", &save); name; name = strtok_r(NULL, " ", &save))
		l.diffusers[l.parts++] = xstrdup(name);
	GROW(line, lines, capacity);
	line[lines++] = l;
}

static int read_table(void **state)
{
	FILE *f = fopen(TABLE, "r");
	char *text = NULL;
	size_t room = 0;
	bool head = true;

	if (!f)
		return -1;
	for (; getline(&text, &room, f) > 0; head = false)
		if (!head)
			add_line(text);
	free(text);
	fclose(f);
	model_config_sdxl(&sdxl);
	for (int c = 0; c < 4; c++) {
		known_tensors(&sdxl, c, &known[c]);
		names[c] = map_new(known[c].count);
		for (size_t i = 0; i < known[c].count; i++)
			if (map_put(names[c], known[c].tensor[i].name, strlen(known[c].tensor[i].name), i) >= 0)
				return -1;      /* a name twice */
	}
	return 0;
}

static int drop_table(void **state)
{
	for (size_t i = 0; i < lines; i++) {
		free(line[i].name);
		free(line[i].shape);
		free(line[i].component);
		for (int k = 0; k < 3; k++)
			free(line[i].diffusers[k]);
	}
	free(line);
	for (int c = 0; c < 4; c++) {
		map_free(names[c]);
		known_tensors_free(&known[c]);
	}
	return 0;
}

static int component_of(const struct line *l)
{
	for (int c = 0; c < 4; c++)
		if (strncmp(l->name, single_file_prefix(c), strlen(single_file_prefix(c))) == 0)
			return c;
	fail_msg("%s: no component's prefix", l->name);
	return -1;
}

static void the_table_is_whole(void **state)
{
	assert_int_equal(lines, 2515);
}

static void every_name_translates_both_ways(void **state)
{
	for (size_t i = 0; i < lines; i++) {
		int c = component_of(&line[i]);
		const char *single = line[i].name + strlen(single_file_prefix(c));
		char back[TENSOR_NAME_ROOM];
		struct single_name s;

		assert_int_equal(diffusers_name_of(&sdxl, c, single, 0, back), line[i].parts);
		if (line[i].parts)
			assert_string_equal(line[i].component, components[c]);
		for (int k = 0; k < line[i].parts; k++) {
			assert_int_equal(diffusers_name_of(&sdxl, c, single, k, back), line[i].parts);
			assert_string_equal(back, line[i].diffusers[k]);
			assert_true(single_name_of(&sdxl, c, line[i].diffusers[k], &s));
			assert_string_equal(s.name, single);
			assert_int_equal(s.part, k);
			assert_int_equal(s.parts, line[i].parts);
			assert_int_equal(s.transposed, strcmp(single, "text_projection") == 0);
		}
	}
}

/* What the sizes say a component has is what the released file has: no name missing, none too many, and the same shapes. */
static void sdxls_tensors_are_those_of_the_released_file(void **state)
{
	size_t seen[4] = { 0 };

	for (size_t i = 0; i < lines; i++) {
		int c = component_of(&line[i]);

		for (int k = 0; k < line[i].parts; k++) {
			long at = map_get(names[c], line[i].diffusers[k], strlen(line[i].diffusers[k]));
			char shape[80];
			size_t n = 0;
			int dims;

			if (at < 0)
				fail_msg("%s is not expected", line[i].diffusers[k]);
			dims = known[c].tensor[at].dims;
			for (int d = 0; d < dims; d++)
				n = text_add(shape, sizeof(shape), n, "%s%d", d ? "x" : "",
					     (int)known[c].tensor[at].shape[d] * (d ? 1 : line[i].parts));
			if (known[c].tensor[at].square)
				text_add(shape, sizeof(shape), n, "x1x1");
			assert_string_equal(shape, line[i].shape);
			seen[c]++;
		}
	}
	for (int c = 0; c < 4; c++)
		assert_int_equal(seen[c], known[c].count);
}

static const struct { enum component c; const char *name; } unknown_single[] = {
	{ COMPONENT_TE1, "text_model.embeddings.position_ids" }, { COMPONENT_TE2, "logit_scale" }, 
	{ COMPONENT_UNET, "input_blocks.3.0.conv.weight" },
	{ COMPONENT_UNET, "input_blocks.03.0.op.weight" }, { COMPONENT_UNET, "input_blocks.99999.0.op.weight" },
	{ COMPONENT_UNET, "" },
	{ COMPONENT_UNET, "input_blocks.4.0.op.weight" }, { COMPONENT_UNET, "output_blocks.2.1.conv.weight" },
	{ COMPONENT_UNET, "output_blocks.8.2.conv.weight" }, { COMPONENT_UNET, "conv_in." }, 
	{ COMPONENT_UNET, "out.0." },
	{ COMPONENT_VAE, "decoder.up.4.block.0.norm1.weight" }, { COMPONENT_TE2, "text_projection.weight" },
	{ COMPONENT_TE2, "transformer.text_model.embeddings.position_ids" },
};

static void what_has_no_diffusers_name_says_so(void **state)
{
	char out[TENSOR_NAME_ROOM];
	struct single_name s;

	for (size_t i = 0; i < sizeof(unknown_single) / sizeof(unknown_single[0]); i++)
		if (diffusers_name_of(&sdxl, unknown_single[i].c, unknown_single[i].name, 0, out))
			fail_msg("%s became %s", unknown_single[i].name, out);
	assert_false(single_name_of(&sdxl, COMPONENT_UNET, "down_blocks.x.resnets.0.conv1.weight", &s));
	assert_false(single_name_of(&sdxl, COMPONENT_UNET, "down_blocks.0.resnets.0.other.weight", &s));
	assert_false(single_name_of(&sdxl, COMPONENT_VAE, "decoder.up_blocks.7.resnets.0.conv1.weight", &s));
}

/* Names come from files: longer ones than the room must end in a refusal. */
static void long_names_are_refused(void **state)
{
	char name[1000], out[TENSOR_NAME_ROOM];
	struct single_name s;

	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 0;
	memcpy(name, "down_blocks.1.attentions.0.transformer_blocks.", 46);
	assert_false(single_name_of(&sdxl, COMPONENT_UNET, name, &s));
	memcpy(name, "input_blocks.4.1.transformer_blocks.", 36);
	assert_int_equal(diffusers_name_of(&sdxl, COMPONENT_UNET, name, 0, out), 0);
}

/* SDXL has no upsampler in a level without attention; the rule for one is the demo's neighbours'. */
static void an_upsampler_without_attention_has_slot_1(void **state)
{
	struct model_config c = sdxl;
	struct single_name s;
	char out[TENSOR_NAME_ROOM];

	c.unet.attention[1] = false;
	assert_true(single_name_of(&c, COMPONENT_UNET, "up_blocks.1.upsamplers.0.conv.bias", &s));
	assert_string_equal(s.name, "output_blocks.5.1.conv.bias");
	assert_int_equal(diffusers_name_of(&c, COMPONENT_UNET, s.name, 0, out), 1);
	assert_string_equal(out, "up_blocks.1.upsamplers.0.conv.bias");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(every_name_translates_both_ways),
		cmocka_unit_test(sdxls_tensors_are_those_of_the_released_file),
		cmocka_unit_test(what_has_no_diffusers_name_says_so),
		cmocka_unit_test(long_names_are_refused),
		cmocka_unit_test(an_upsampler_without_attention_has_slot_1),
	};

	return cmocka_run_group_tests(tests, read_table, drop_table);
}
