/* What other programs make of an adapter: tests/golden/readers.tsv, which was measured on the programs themselves, and
 * more files on which their own code was run. */
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/source_tensors.h"
#include "../../libcommon/readers/readers.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define RANK 4
#define MODEL "tests/golden/tiny-a/model"

/* ---- modules of the model ---- */

enum { ATTENTION = 1, CONVOLUTIONS = 2, TEXT = 4, TO = 8 /* to_q, to_k, to_v, to_out */, QKV2 = 16 /* of te2 */,
       TE2_MLP = 32, UNET_NORMS = 64, TEXT_NORMS = 128,
       UPPER = 256 /* every other of the UNet's attention */, LOWER = 512, ATTN1 = 1024 };

struct module { enum component component; char *name, *sgm; int dims; int64_t shape[4]; bool bias; };

static struct module modules[3000];
static size_t count;
static struct model_config config;

static unsigned sets_of(const struct module *m, size_t nth)
{
	const char *n = m->name;

	if (m->component != COMPONENT_UNET) {
		if (!strstr(n, ".self_attn.") && !strstr(n, ".mlp."))
			return m->dims == 1 ? TEXT_NORMS : 0;
		return TEXT | (m->component == COMPONENT_TE2 && strstr(n, ".mlp.") ? TE2_MLP : 0) |
		       (m->component == COMPONENT_TE2 && strstr(n, ".self_attn.") && !strstr(n, "out_proj") ? QKV2 : 0);
	}
	if (m->dims == 1)
		return UNET_NORMS;
	if (strstr(n, "attentions"))
		return ATTENTION | (strstr(n, ".to_") ? TO : 0) | (strstr(n, ".attn1.") ? ATTN1 : 0) |
		       (nth % 2 ? UPPER : LOWER);
	return strstr(n, "resnets") || strstr(n, "samplers") ? CONVOLUTIONS : 0;
}

static void take(enum component c, const struct known_tensor *t, bool bias)
{
	struct module *m = &modules[count++];

	*m = (struct module){ .component = c, .name = xstrndup(t->name, strlen(t->name) - 7), .dims = t->dims,
			      .bias = bias };
	memcpy(m->shape, t->shape, sizeof(m->shape));
	m->sgm = c == COMPONENT_UNET ? sgm_from_diffusers(m->name, &config.unet) : NULL;
}

static bool ends(const char *text, const char *end)
{
	return strlen(text) > strlen(end) && !strcmp(text + strlen(text) - strlen(end), end);
}

static void list_model(const struct model_config *m)
{
	for (size_t i = 0; i < count; i++) {
		free(modules[i].name);
		free(modules[i].sgm);
	}
	count = 0;
	config = *m;
	for (int k = 0; k < ADAPTED; k++) {
		struct known_tensors known = { 0 };

		known_tensors(m, adapted_part(k), &known);
		for (size_t i = 0; i < known.count; i++)
			if (ends(known.tensor[i].name, ".weight") && !strstr(known.tensor[i].name, "embeddings"))
				take(adapted_part(k), &known.tensor[i],
				     i && ends(known.tensor[i - 1].name, ".bias") &&
				     !strncmp(known.tensor[i - 1].name, known.tensor[i].name,
					      strlen(known.tensor[i].name) - 6));
		known_tensors_free(&known);
	}
}

/* ---- names ---- */

struct style { const char *unet; bool sgm; char dot; const char *te1, *te2; };
static const struct style kohya = { "lora_unet_", true, '_', "lora_te1_", "lora_te2_" };
static const struct style legacy = { "lora_unet_", false, '_', "lora_te1_", "lora_te2_" };
static const struct style oft_unet = { "oft_unet_", true, '_', "", "" };
static const struct style lycoris = { "lycoris_", false, '_', "", "" };
static const struct style diffusers = { "unet.", false, '.', "text_encoder.", "text_encoder_2." };
static const struct style bare = { "", false, '.', "", "" };
static const struct style peft = { "base_model.model.", false, '.', "", "" };
static const struct style peft_unet = { "unet.base_model.model.", false, '.', "", "" };
static const struct style comfy = { "diffusion_model.", true, '.', "text_encoders.clip_l.transformer.",
				    "text_encoders.clip_g.transformer." };
static const struct style comfy_model = { "model.diffusion_model.", true, '.', "", "" };
static const struct style omi = { "unet.", true, '.', "clip_l.", "clip_g." };

/* last: the last dot of the name stays one, as diffusers' own conversion to kohya's names leaves it where only one
 * word follows */
static char *stem(const struct style *s, const struct module *m, bool last)
{
	const char *prefix = m->component == COMPONENT_UNET ? s->unet
			     : m->component == COMPONENT_TE1 ? s->te1 : s->te2;
	char *name = xprintf("%s%s", prefix, s->sgm && m->sgm ? m->sgm : m->name);

	for (char *c = name + strlen(prefix); *c; c++)
		if (*c == '.' && !(last && !strchr(c + 1, '.')))
			*c = s->dot;
	return name;
}

/* ---- kinds ---- */

/* shape: u up, d down, f down flattened, m middle, s one number, o [out,1], i [1,in], v [out], w the weight's,
 * a [out,r], b [r,in*k*k], 1 and 2 LoKr's factors, q OFT's blocks.  where: k kernels larger than 1, n others, z with a
 * bias; l: stem() */
struct part { const char *name; char shape, where; };
typedef const struct part kind[8];
static kind lora = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 } };
static kind no_alpha = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 } };
static kind flat = { { "lora_down.weight", 'f', 0 }, { "lora_up.weight", 'a', 0 }, { "alpha", 's', 0 } };
static kind ab = { { "lora_A.weight", 'd', 0 }, { "lora_B.weight", 'u', 0 } };
static kind ab_alpha = { { "lora_A.weight", 'd', 0 }, { "lora_B.weight", 'u', 0 }, { "alpha", 's', 0 } };
static kind ab_default = { { "lora_A.default.weight", 'd', 0 }, { "lora_B.default.weight", 'u', 0 } };
static kind ab_lengths = { { "lora_A.weight", 'd', 0 }, { "lora_B.weight", 'u', 0 },
			   { "lora_magnitude_vector", 'v', 0 } };
static kind ab_lengths_weight = { { "lora_A.weight", 'd', 0 }, { "lora_B.weight", 'u', 0 },
				  { "lora_magnitude_vector.weight", 'v', 0 } };
static kind down_up = { { "lora.down.weight", 'd', 0 }, { "lora.up.weight", 'u', 0 } };
static kind linear_layer = { { "lora_linear_layer.down.weight", 'd', 0 }, { "lora_linear_layer.up.weight", 'u', 0 } };
static kind tucker = { { "lora_down.weight", 'd', 'n' }, { "lora_down.weight", 't', 'k' }, { "lora_up.weight", 'u', 0 },
		       { "lora_mid.weight", 'm', 'k' }, { "alpha", 's', 0 } };
static kind dora_out = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 },
			 { "dora_scale", 'o', 0 } };
static kind dora_in = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 },
			{ "dora_scale", 'i', 0 } };
static kind magnitude = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 },
			  { "lora_magnitude_vector", 'o', 0 } };
static kind converted = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 },
			  { "lora_magnitude_vector", 'v', 'l' } };
static kind scaled = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "scale", 's', 0 } };
static kind loha = { { "hada_w1_a", 'a', 0 }, { "hada_w1_b", 'b', 0 }, { "hada_w2_a", 'a', 0 },
		     { "hada_w2_b", 'b', 0 }, { "alpha", 's', 0 } };
static kind loha_in = { { "hada_w1_a", 'a', 0 }, { "hada_w1_b", 'b', 0 }, { "hada_w2_a", 'a', 0 },
			{ "hada_w2_b", 'b', 0 }, { "alpha", 's', 0 }, { "dora_scale", 'i', 0 } };
static kind lokr = { { "lokr_w1", '1', 0 }, { "lokr_w2", '2', 0 }, { "alpha", 's', 0 } };
static kind lokr_out = { { "lokr_w1", '1', 0 }, { "lokr_w2", '2', 0 }, { "alpha", 's', 0 },
			 { "dora_scale", 'o', 0 } };
static kind lokr_t2 = { { "lokr_w1", '1', 0 }, { "lokr_w2_a", 'q', 'k' }, { "lokr_w2_b", 'q', 'k' },
			{ "lokr_t2", 'm', 'k' }, { "lokr_w2", '2', 'n' }, { "alpha", 's', 0 } };
static kind whole = { { "diff", 'w', 0 } };
static kind whole_bias = { { "diff", 'w', 0 }, { "diff_b", 'v', 'z' } };
static kind lora_bias = { { "lora_down.weight", 'd', 0 }, { "lora_up.weight", 'u', 0 }, { "alpha", 's', 0 },
			  { "diff_b", 'v', 'z' } };
static kind norm_weight = { { "w_norm", 'w', 0 } };
static kind norm = { { "w_norm", 'w', 0 }, { "b_norm", 'w', 0 } };
static kind oft = { { "oft_blocks", 'q', 0 }, { "alpha", 's', 0 } };
static kind oft_rescale = { { "oft_blocks", 'q', 0 }, { "alpha", 's', 0 }, { "rescale", 'o', 0 } };
static kind ia3 = { { "weight", 'v', 0 }, { "on_input", 's', 0 } };
static kind glora = { { "a1.weight", 'd', 0 }, { "a2.weight", 'u', 0 }, { "b1.weight", 'd', 0 },
		      { "b2.weight", 'u', 0 }, { "alpha", 's', 0 } };
static kind orphan = { { "lora_down.weight", 'd', 0 }, { "alpha", 's', 0 } };

/* Returns the dimensions. */
static int shape_of(char shape, const struct module *m, int64_t *s)
{
	const int64_t out = m->shape[0], in = m->dims > 1 ? m->shape[1] : 1;
	const int64_t kernel = m->dims == 4 ? m->shape[2] * m->shape[3] : 1;
	int dims = m->dims == 4 ? 4 : 2;
	int64_t now[4] = { 1, 1, 1, 1 };

	switch (shape) {
	case 's': dims = 0; break;
	case 'v': dims = 1; now[0] = out; break;
	case 'w': dims = m->dims; memcpy(now, m->shape, sizeof(now)); break;
	case 'u': now[0] = out; now[1] = RANK; break;
	case 'd': now[0] = RANK; now[1] = in; now[2] = m->dims == 4 ? m->shape[2] : 1; now[3] = now[2]; break;
	case 't': now[0] = RANK; now[1] = in; break;
	case 'm': now[0] = now[1] = RANK; now[2] = m->shape[2]; now[3] = m->shape[3]; break;
	case 'o': now[0] = out; break;
	case 'i': now[1] = in; break;
	case 'a': dims = 2; now[0] = out; now[1] = RANK; break;
	case 'f':
	case 'b': dims = 2; now[0] = RANK; now[1] = in * kernel; break;
	case '1': dims = 2; now[0] = now[1] = 1; break;
	case '2': dims = m->dims; memcpy(now, m->shape, sizeof(now)); break;
	case 'q': dims = 3; now[0] = 4; now[1] = now[2] = out / 4; break;
	default: abort();
	}
	memcpy(s, now, sizeof(now));
	return dims;
}

static bool is_there(const struct part *p, const struct module *m)
{
	const bool kernel = m->dims == 4 && m->shape[2] > 1;

	return p->where == 'k' ? kernel : p->where == 'n' ? !kernel : p->where == 'z' ? m->bias : true;
}

/* ---- files ---- */

struct file {
	struct safetensors_out *tensor;
	size_t count, capacity;
	struct buffer bytes;
};

static void put(struct file *f, char *name, int dims, const int64_t *shape, double alpha, enum dtype type)
{
	static float zeros[1 << 20], value;
	struct safetensors_out *t;
	size_t n = 1;

	GROW(f->tensor, f->count, f->capacity);
	t = &f->tensor[f->count++];
	*t = (struct safetensors_out){ .name = name, .dtype = type, .dims = dims, .floats = true, .data = zeros };
	for (int i = 0; i < dims; i++)
		n *= (size_t)(t->shape[i] = shape[i]);
	assert_true(n < sizeof(zeros) / sizeof(*zeros));
	value = 2;
	if (!dims && alpha)
		t->data = &value;
}

/* As kohya's scripts write an alpha that was given without a point. */
static void make_whole(struct file *f)
{
	static const int64_t two = 2;

	for (size_t i = 0; i < f->count; i++)
		if (!f->tensor[i].dims) {
			f->tensor[i].dtype = DTYPE_I64;
			f->tensor[i].floats = false;
			f->tensor[i].data = &two;
		}
}

static void make_nan(struct file *f)
{
	static float nans[1 << 16];

	for (size_t i = 0; i < sizeof(nans) / sizeof(*nans); i++)
		nans[i] = NAN;
	f->tensor[1].data = nans;
}

static void put_module(struct file *f, const struct style *s, const struct module *m, const struct part *parts,
		       double alpha)
{
	for (const struct part *p = parts; p->name; p++) {
		char *name = stem(s, m, p->where == 'l');
		int64_t shape[4];
		int dims;

		if (!is_there(p, m)) {
			free(name);
			continue;
		}
		dims = shape_of(p->shape, m, shape);
		put(f, xprintf("%s.%s", name, p->name), dims, shape, alpha, DTYPE_F32);
		free(name);
	}
}

/* Sets of modules, each in a style and of a kind. */
struct group { unsigned sets; const struct style *style; const struct part *parts; };
struct dialect { const char *name; struct group group[3]; const char *more[2]; bool whole_alpha, nan, no_limit; };

static void build(struct file *f, const struct dialect *d)
{
	static const int64_t more[] = { 2, 8 };

	for (int g = 0; g < 3 && d->group[g].parts; g++)
		for (size_t i = 0; i < count; i++)
			if (sets_of(&modules[i], i) & d->group[g].sets)
				put_module(f, d->group[g].style, &modules[i], d->group[g].parts,
					   d->no_limit ? 0 : 2);
	for (int k = 0; k < 2 && d->more[k]; k++)
		put(f, xstrdup(d->more[k]), 2, more, 0, DTYPE_F32);
	if (d->whole_alpha)
		make_whole(f);
	if (d->nan)
		make_nan(f);
	safetensors_serialize(&f->bytes, f->tensor, f->count, NULL, 0);
}

static void file_free(struct file *f)
{
	for (size_t i = 0; i < f->count; i++)
		free((char *)f->tensor[i].name);
	free(f->tensor);
	buffer_free(&f->bytes);
}

/* A dialect's file, as the readers were given it */
struct reader_file { const struct dialect *d; struct file f; struct safetensors *s; struct readers_file *r; };

/* model: of the readers; NULL: none is at hand */
static void open_dialect(struct reader_file *o, const struct dialect *d, const struct model_config *model)
{
	struct error e = { 0 };

	*o = (struct reader_file){ .d = d };
	build(&o->f, d);
	o->s = safetensors_parse(d->name, o->f.bytes.data, o->f.bytes.len, &e);
	if (!o->s)
		print_error("%s: %s\n", d->name, e.text);
	assert_non_null(o->s);
	o->r = readers_file_new(o->s, model);
}

static void close_dialect(struct reader_file *o)
{
	if (!o->d)
		return;
	readers_file_free(o->r);
	safetensors_close(o->s);
	file_free(&o->f);
	o->d = NULL;
}

/* ---- the published table ---- */

#define UT (ATTENTION | TEXT)
#define UC (ATTENTION | CONVOLUTIONS)
#define UCT (ATTENTION | CONVOLUTIONS | TEXT)

static const struct dialect published[] = {
	{ "kohya", { { ATTENTION, &kohya, lora } }, { NULL } },
	{ "kohya_conv", { { UC, &kohya, lora } }, { NULL } },
	{ "kohya_te", { { UT, &kohya, lora } }, { NULL } },
	{ "legacy", { { UT, &legacy, lora } }, { NULL } },
	{ "diffusers", { { UT, &diffusers, ab } }, { NULL } },
	{ "diffusers_alphas", { { TO, &diffusers, ab } }, { NULL } },
	{ "diffusers_dora", { { UT, &diffusers, ab_lengths } }, { NULL } },
	{ "peft_folder", { { ATTENTION, &peft, ab } }, { NULL } },
	{ "comfy", { { UT, &comfy, lora } }, { NULL } },
	{ "omi", { { UT, &omi, lora } }, { NULL } },
	{ "loha", { { UCT, &kohya, loha } }, { NULL } },
	{ "lokr", { { UCT, &kohya, lokr } }, { NULL } },
	{ "full_diff", { { UC, &kohya, whole_bias } }, { NULL } },
	{ "dora_out", { { UC, &kohya, dora_out } }, { NULL } },
	{ "dora_in", { { UC, &kohya, dora_in } }, { NULL } },
	{ "locon_tucker", { { UC, &kohya, tucker } }, { NULL } },
	{ "bundle_emb", { { UT, &kohya, lora } }, { "bundle_emb.robot.clip_l", "bundle_emb.robot.clip_g" } },
	{ "broken_no_alpha", { { UT, &kohya, no_alpha } }, { NULL } },
	{ "broken_alpha_i64", { { UT, &kohya, lora } }, { NULL }, .whole_alpha = true },
	{ "broken_nan", { { UT, &kohya, lora } }, { NULL }, .nan = true },
	{ "broken_te2_no_out", { { ATTENTION, &kohya, lora }, { QKV2, &kohya, lora } }, { NULL } },
	{ "broken_mixed_names", { { UPPER, &legacy, lora }, { LOWER, &kohya, lora } }, { NULL } },
	{ 0 },
};

struct row { char dialect[32], reader[20], verdict[12]; int applied, in_file; };

/* The next field of a line, which it ends. */
static const char *field(char **line)
{
	char *at = *line, *end = at + strcspn(at, "\t\n");

	*line = *end ? end + 1 : end;
	*end = '\0';
	return at;
}

static void copy(char *to, size_t room, const char *text)
{
	assert_true(strlen(text) < room);
	strcpy(to, text);
}

static bool next_row(FILE *f, struct row *r)
{
	char text[600], *line = text;
	const char *in_file;

	do
		if (!fgets(text, sizeof(text), f))
			return false;
	while (*text == '#' || strncmp(text, "dialect\t", 8) == 0);
	copy(r->dialect, sizeof(r->dialect), field(&line));
	copy(r->reader, sizeof(r->reader), field(&line));
	copy(r->verdict, sizeof(r->verdict), field(&line));
	r->applied = atoi(field(&line));
	in_file = field(&line);
	r->in_file = *in_file ? atoi(in_file) : -1;
	return true;
}

static const struct dialect *dialect_named(const struct dialect *list, const char *name)
{
	for (; list->name; list++)
		if (strcmp(list->name, name) == 0)
			return list;
	return NULL;
}

/* Lists what differs; 0: nothing does. */
static int differs(const struct row *r, const struct reader_file *o, const char *reader)
{
	struct reading x = readers_read(o->r, reader_named(reader));
	const char *verdict = verdict_name(x.verdict) ? verdict_name(x.verdict) : "";
	const int wrong = strcmp(verdict, r->verdict) || (int)x.applied != r->applied ||
			  (r->in_file >= 0 && (int)x.in_file != r->in_file);

	if (wrong)
		print_error("%s in %s: %s %d of %d in the table, %s %zu of %zu here (%s)\n", r->dialect, reader,
			    r->verdict, r->applied, r->in_file, verdict, x.applied, x.in_file, x.why ? x.why : "");
	free(x.why);
	return wrong;
}

static int compare(const char *table, const struct dialect *list, const struct model_config *model, bool sdcpp,
		   size_t *rows)
{
	FILE *f = fopen(table, "r");
	struct reader_file open = { 0 };        /* the rows of a dialect follow each other */
	struct row r;
	int wrong = 0;

	assert_non_null(f);
	for (*rows = 0; next_row(f, &r);) {
		const struct dialect *d = dialect_named(list, r.dialect);
		const bool names = strcmp(r.reader, "sdcpp (names)") == 0;

		if (!d || names != sdcpp)
			continue;
		if (open.d != d) {
			close_dialect(&open);
			open_dialect(&open, d, model);
		}
		wrong += differs(&r, &open, names ? "sdcpp" : r.reader);
		++*rows;
	}
	close_dialect(&open);
	fclose(f);
	return wrong;
}

static struct model_config tiny;

static void model_tiny(void)
{
	struct error e = { 0 };

	assert_int_equal(model_config_read(MODEL, &tiny, &e), 0);
	list_model(&tiny);
}

/* Names alone count there: every side is 1. */
static void model_sdxl(void)
{
	struct model_config m;

	model_config_sdxl(&m);
	list_model(&m);
	for (size_t i = 0; i < count; i++)
		for (int k = 0; k < 2; k++)
			modules[i].shape[k] = 4;
}

/* Files on which the programs' own code was run beside those; readers_more.tsv says how. */
static const struct dialect others[] = {
	{ "te_only", { { TEXT, &kohya, lora } }, { NULL } },
	{ "te2_mlp", { { ATTENTION, &kohya, lora }, { TE2_MLP, &kohya, lora } }, { NULL } },
	{ "conv_only", { { CONVOLUTIONS, &kohya, lora } }, { NULL } },
	{ "legacy_conv", { { UC, &legacy, lora } }, { NULL } },
	{ "legacy_conv_te", { { UCT, &legacy, lora } }, { NULL } },
	{ "kohya_flat", { { UC, &kohya, flat } }, { NULL } },
	{ "diff_te", { { TEXT, &diffusers, ab } }, { NULL } },
	{ "diff_unet", { { ATTENTION, &diffusers, ab } }, { NULL } },
	{ "diff_conv", { { UC, &diffusers, ab } }, { NULL } },
	{ "diff_alpha", { { UT, &diffusers, ab_alpha } }, { NULL } },
	{ "diff_lora_down", { { ATTENTION, &diffusers, down_up }, { TEXT, &diffusers, linear_layer } }, { NULL } },
	{ "diff_up_down", { { ATTENTION, &diffusers, no_alpha } }, { NULL } },
	{ "diff_default", { { UT, &diffusers, ab_default } }, { NULL } },
	{ "diff_default_unet", { { ATTENTION, &diffusers, ab_default } }, { NULL } },
	{ "diff_dora_unet", { { ATTENTION, &diffusers, ab_lengths } }, { NULL } },
	{ "diff_dora_te", { { TEXT, &diffusers, ab_lengths } }, { NULL } },
	{ "diff_dora_te_w", { { TEXT, &diffusers, ab_lengths_weight } }, { NULL } },
	{ "diff_unknown", { { ATTENTION, &diffusers, ab } },
	  { "unet.nothing.lora_A.weight", "unet.nothing.lora_B.weight" } },
	{ "noprefix", { { ATTENTION, &bare, ab } }, { NULL } },
	{ "peft_default", { { ATTENTION, &peft, ab_default } }, { NULL } },
	{ "peft_unet", { { ATTENTION, &peft_unet, ab } }, { NULL } },
	{ "comfy_ab", { { ATTENTION, &comfy, ab } }, { NULL } },
	{ "comfy_ab_alpha", { { UT, &comfy, ab_alpha } }, { NULL } },
	{ "comfy_ab_te", { { UT, &comfy, ab } }, { NULL } },
	{ "comfy_conv", { { UC, &comfy, lora } }, { NULL } },
	{ "comfy_loha", { { ATTENTION, &comfy, loha } }, { NULL } },
	{ "comfy_model", { { ATTENTION, &comfy_model, lora } }, { NULL } },
	{ "comfy_dora_in", { { UT, &comfy, dora_in } }, { NULL } },
	{ "comfy_dora_out", { { UT, &comfy, dora_out } }, { NULL } },
	{ "comfy_full", { { ATTENTION, &comfy, whole } }, { NULL } },
	{ "omi_ab", { { UT, &omi, ab } }, { NULL } },
	{ "lycoris", { { UC, &lycoris, lora } }, { NULL } },
	{ "lycoris_lokr", { { UC, &lycoris, lokr } }, { NULL } },
	{ "legacy_lokr", { { UCT, &legacy, lokr } }, { NULL } },
	{ "lokr_tucker", { { CONVOLUTIONS, &kohya, lokr_t2 } }, { NULL } },
	{ "loha_dora_in", { { ATTENTION, &kohya, loha_in } }, { NULL } },
	{ "lokr_dora_out", { { ATTENTION, &kohya, lokr_out } }, { NULL } },
	{ "te_dora_in", { { TEXT, &kohya, dora_in } }, { NULL } },
	{ "te_dora_out", { { TEXT, &kohya, dora_out } }, { NULL } },
	{ "legacy_dora_in", { { ATTENTION, &legacy, dora_in } }, { NULL } },
	{ "kohya_magnitude", { { ATTENTION, &kohya, magnitude } }, { NULL } },
	{ "oft_kohya", { { TO, &oft_unet, oft } }, { NULL } },
	{ "oft_lyco", { { UC, &kohya, oft } }, { NULL }, .no_limit = true },
	{ "oft_rescale", { { ATTENTION, &kohya, oft_rescale } }, { NULL }, .no_limit = true },
	{ "norms_w", { { UNET_NORMS, &kohya, norm_weight } }, { NULL } },
	{ "norms", { { UNET_NORMS, &kohya, norm } }, { NULL } },
	{ "norms_te", { { TEXT_NORMS, &kohya, norm } }, { NULL } },
	{ "lora_norms", { { ATTENTION, &kohya, lora }, { UNET_NORMS, &kohya, norm } }, { NULL } },
	{ "ia3_conv", { { CONVOLUTIONS, &kohya, ia3 } }, { NULL } },
	{ "glora", { { ATTENTION, &kohya, glora } }, { NULL } },
	{ "full_te", { { TEXT, &kohya, whole } }, { NULL } },
	{ "lora_diffb", { { ATTENTION, &kohya, lora_bias } }, { NULL } },
	{ "scale", { { ATTENTION, &kohya, scaled } }, { NULL } },
	{ "unknown_key", { { ATTENTION, &kohya, lora } }, { "foo.bar" } },
	{ "unknown_unet_key", { { ATTENTION, &kohya, lora } }, { "lora_unet_foo.bar" } },
	{ "mixed_dialects", { { ATTENTION, &kohya, lora }, { TEXT, &diffusers, ab } }, { NULL } },
	{ "mixed_comfy", { { ATTENTION, &comfy, lora }, { TEXT, &kohya, lora } }, { NULL } },
	{ "lora_mid_some", { { ATTENTION, &kohya, lora }, { CONVOLUTIONS, &kohya, tucker } }, { NULL } },
	{ "loha_lora", { { ATTENTION, &kohya, lora }, { CONVOLUTIONS, &kohya, loha } }, { NULL } },
	{ "ab_kohya", { { ATTENTION, &kohya, ab } }, { NULL } },
	{ "ab_kohya_alpha", { { ATTENTION, &kohya, ab_alpha } }, { NULL } },
	{ "own_kohya_dora", { { UT, &legacy, converted } }, { NULL } },
	{ "legacy_unknown_unet", { { ATTENTION, &legacy, lora } }, { "lora_unet_foo.bar" } },
	{ "te_unknown", { { ATTENTION, &kohya, lora } }, { "lora_te1_foo.bar" } },
	{ "container", { { ATTENTION, &kohya, lora } }, { "lora_unet_input_blocks_4_1.bar" } },
	{ "alpha_halves", { { UPPER, &kohya, no_alpha }, { LOWER, &kohya, lora } }, { NULL } },
	{ "halves", { { UPPER, &kohya, lora }, { LOWER, &kohya, orphan } }, { NULL } },
	{ 0 },
};

static const struct style sd15 = { "lora_unet_", false, '_', "lora_te_", "" };
static const struct dialect other_models[] = {
	{ "broken_sd15", { { UT, &sd15, lora } }, { NULL } },
	{ 0 },
};

static void test_table(void **state)
{
	size_t rows;

	(void)state;
	model_tiny();
	assert_int_equal(compare("tests/golden/readers.tsv", published, NULL, false, &rows), 0);
	assert_int_equal(rows, 5 * 22);
}

static void test_more(void **state)
{
	size_t rows;

	(void)state;
	model_tiny();
	assert_int_equal(compare("tests/golden/readers_more.tsv", others, NULL, false, &rows), 0);
	assert_int_equal(rows, 5 * (sizeof(others) / sizeof(others[0]) - 1));
}

/* An adapter of Stable Diffusion 1.5 in tiny-a: how many of its modules there are is the model's to say. */
static void test_other_model(void **state)
{
	size_t rows;

	(void)state;
	model_tiny();
	list_model(family_sd15.usual);
	assert_int_equal(compare("tests/golden/readers.tsv", other_models, &tiny, false, &rows), 0);
	assert_int_equal(rows, 5);
}

static void test_names(void **state)
{
	size_t rows;

	(void)state;
	model_sdxl();
	assert_int_equal(compare("tests/golden/readers.tsv", published, NULL, true, &rows), 0);
	assert_int_equal(rows, 22);
}

/* InvokeAI's import tells a model by what its cross attention reads, or by transformers of three blocks; sizes are
 * SDXL's own here. */
static void test_import(void **state)
{
	static const struct { struct dialect d; enum verdict verdict; } files[] = {
		{ { "kohya", { { ATTENTION, &kohya, lora } }, { NULL } }, VERDICT_APPLIED },
		{ { "loha", { { ATTENTION, &kohya, loha } }, { NULL } }, VERDICT_APPLIED },
		{ { "self attention", { { ATTN1, &kohya, lora } }, { NULL } }, VERDICT_APPLIED },
		/* it forgets a text encoder's width at the next tensor */
		{ { "both texts", { { TEXT, &kohya, lora } }, { NULL } }, VERDICT_REFUSED },
		{ { "convolutions", { { CONVOLUTIONS, &kohya, lora } }, { NULL } }, VERDICT_REFUSED },
	};
	struct model_config m;

	(void)state;
	model_config_sdxl(&m);
	list_model(&m);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct reader_file open;
		struct reading x;

		open_dialect(&open, &files[i].d, NULL);
		x = readers_read(open.r, reader_named("invoke"));
		if (x.verdict != files[i].verdict)
			print_error("%s: %s\n", files[i].d.name, x.why ? x.why : "");
		assert_int_equal(x.verdict, files[i].verdict);
		free(x.why);
		close_dialect(&open);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_more),
		cmocka_unit_test(test_other_model),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_import),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
