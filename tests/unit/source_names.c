/* The names and shapes of a model's tensors, against those of released files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/map.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/single_file_names.h"
#include "../../libcommon/model/source_tensors.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* One line of a table: a tensor of a released file. */
struct line { char *name, *shape, *component, *diffusers[3]; int parts; };

/* The released single files. */
static struct released {
	const char *table;
	const struct family *family;
	size_t lines_there;
	struct line *line;
	size_t lines, capacity;
	struct known_tensors known[COMPONENTS];
	struct map *names[COMPONENTS];
} released[] = {
	{ "tests/golden/single-file/sdxl_names.tsv", &family_sdxl, 2515 },
	{ "tests/golden/families/sd15/sd15_names.tsv", &family_sd15, 1145 },
};
#define RELEASED (sizeof(released) / sizeof(*released))

static struct model_config sdxl;

static const char *const components[] = { "unet", "text_encoder", "text_encoder_2", "vae" };

/* Where the columns are, by the first line's words. */
struct columns { int name, shape, component, diffusers; };

static int fields_of(char *text, char *field[8])
{
	int n = 0;

	text[strcspn(text, "\n")] = 0;
	while (text && n < 8)
		field[n++] = strsep(&text, "\t");
	return n;
}

static struct columns read_columns(char *text)
{
	char *field[8];
	struct columns c = { 0 };

	for (int i = 0, n = fields_of(text, field); i < n; i++) {
		c.shape = strcmp(field[i], "shape") ? c.shape : i;
		c.component = strcmp(field[i], "component") ? c.component : i;
		c.diffusers = strcmp(field[i], "diffusers name") ? c.diffusers : i;
	}
	return c;
}

static void add_line(struct released *r, const struct columns *c, char *text)
{
	struct line l = { 0 };
	char *field[8] = { 0 }, *name, *save;

	fields_of(text, field);
	l.name = xstrdup(field[c->name]);
	l.shape = xstrdup(field[c->shape]);
	l.component = xstrdup(field[c->component]);
	for (name = strtok_r(field[c->diffusers], " ", &save); name; name = strtok_r(NULL, " ", &save))
		l.diffusers[l.parts++] = xstrdup(name);
	GROW(r->line, r->lines, r->capacity);
	r->line[r->lines++] = l;
}

static int read_lines(struct released *r)
{
	FILE *f = fopen(r->table, "r");
	struct columns columns;
	char *text = NULL;
	size_t room = 0;

	if (!f || getline(&text, &room, f) <= 0)
		return -1;
	columns = read_columns(text);
	while (getline(&text, &room, f) > 0)
		add_line(r, &columns, text);
	free(text);
	fclose(f);
	return 0;
}

static int read_tables(void **state)
{
	model_config_sdxl(&sdxl);
	for (struct released *r = released; r < released + RELEASED; r++) {
		if (read_lines(r) < 0)
			return -1;
		for (int c = 0; c < COMPONENTS; c++) {
			if (!(r->family->parts & PART(c)))
				continue;
			known_tensors(r->family->usual, c, &r->known[c]);
			r->names[c] = map_new(r->known[c].count);
			for (size_t i = 0; i < r->known[c].count; i++)
				if (map_put(r->names[c], r->known[c].tensor[i].name, strlen(r->known[c].tensor[i].name),
					    i) >= 0)
					return -1;      /* a name twice */
		}
	}
	return 0;
}

static int drop_tables(void **state)
{
	for (struct released *r = released; r < released + RELEASED; r++) {
		for (size_t i = 0; i < r->lines; i++) {
			free(r->line[i].name);
			free(r->line[i].shape);
			free(r->line[i].component);
			for (int k = 0; k < 3; k++)
				free(r->line[i].diffusers[k]);
		}
		free(r->line);
		for (int c = 0; c < COMPONENTS; c++) {
			map_free(r->names[c]);
			known_tensors_free(&r->known[c]);
		}
	}
	return 0;
}

/* -1: of no part, which is then a tensor that a reader ignores */
static int component_of(const struct released *r, const struct line *l)
{
	for (int c = 0; c < COMPONENTS; c++)
		if (r->family->prefix[c] && strncmp(l->name, r->family->prefix[c], strlen(r->family->prefix[c])) == 0)
			return c;
	if (l->parts)
		fail_msg("%s: no component's prefix", l->name);
	return -1;
}

static void the_tables_are_whole(void **state)
{
	for (size_t i = 0; i < RELEASED; i++)
		assert_int_equal(released[i].lines, released[i].lines_there);
}

static void check_names(const struct released *r, const struct line *l)
{
	const struct model_config *m = r->family->usual;
	int c = component_of(r, l);
	const char *single = c < 0 ? NULL : l->name + strlen(r->family->prefix[c]);
	char back[TENSOR_NAME_ROOM];
	struct single_name s;

	if (c < 0)
		return;
	assert_int_equal(diffusers_name_of(m, c, single, 0, back), l->parts);
	if (l->parts)
		assert_string_equal(l->component, components[c]);
	for (int k = 0; k < l->parts; k++) {
		assert_int_equal(diffusers_name_of(m, c, single, k, back), l->parts);
		assert_string_equal(back, l->diffusers[k]);
		assert_true(single_name_of(m, c, l->diffusers[k], &s));
		assert_string_equal(s.name, single);
		assert_int_equal(s.part, k);
		assert_int_equal(s.parts, l->parts);
		assert_int_equal(s.transposed, strcmp(single, "text_projection") == 0);
	}
}

static void every_name_translates_both_ways(void **state)
{
	for (size_t k = 0; k < RELEASED; k++)
		for (size_t i = 0; i < released[k].lines; i++)
			check_names(&released[k], &released[k].line[i]);
}

static void check_shape(const struct known_tensor *t, const struct line *l)
{
	char shape[80];
	size_t n = 0;

	for (int d = 0; d < t->dims; d++)
		n = text_add(shape, sizeof(shape), n, "%s%d", d ? "x" : "", (int)t->shape[d] * (d ? 1 : l->parts));
	if (t->square)
		text_add(shape, sizeof(shape), n, "x1x1");
	assert_string_equal(shape, l->shape);
}

/* What the sizes say a component has is what the released file has: no name missing, none too many,
 * and the same shapes. */
static void the_tensors_are_those_of_the_released_file(void **state)
{
	for (struct released *r = released; r < released + RELEASED; r++) {
		size_t seen[COMPONENTS] = { 0 };

		for (size_t i = 0; i < r->lines; i++) {
			int c = component_of(r, &r->line[i]);

			for (int k = 0; k < r->line[i].parts; k++) {
				const char *name = r->line[i].diffusers[k];
				long at = map_get(r->names[c], name, strlen(name));

				if (at < 0)
					fail_msg("%s is not expected", name);
				check_shape(&r->known[c].tensor[at], &r->line[i]);
				seen[c]++;
			}
		}
		for (int c = 0; c < COMPONENTS; c++)
			assert_int_equal(seen[c], r->known[c].count);
	}
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
		cmocka_unit_test(the_tables_are_whole),
		cmocka_unit_test(every_name_translates_both_ways),
		cmocka_unit_test(the_tensors_are_those_of_the_released_file),
		cmocka_unit_test(what_has_no_diffusers_name_says_so),
		cmocka_unit_test(long_names_are_refused),
		cmocka_unit_test(an_upsampler_without_attention_has_slot_1),
	};

	return cmocka_run_group_tests(tests, read_tables, drop_tables);
}
