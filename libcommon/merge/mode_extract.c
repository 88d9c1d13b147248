/* lora-merge extract: the difference of two models as an adapter. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/memory.h"
#include "../base/progress.h"
#include "../model/family.h"
#include "../model/outline.h"
#include "combine.h"
#include "sources.h"
#include "tally.h"

/* What a tensor is to an adapter. */
enum place { PLACE_LAYER, PLACE_BIAS, PLACE_NORM_WEIGHT, PLACE_NORM_BIAS, PLACE_NONE, PLACES };

static const struct place_row {
	bool bias;
	const char *are, *option;       /* in messages, of those that were left out */
} places[PLACES] = {
	[PLACE_BIAS] = { true, "biases", "--bias" },
	[PLACE_NORM_WEIGHT] = { false, "gains of norms", "--norm" },
	[PLACE_NORM_BIAS] = { true, "biases of norms", "--norm" },
	[PLACE_NONE] = { false, "embeddings", NULL },
};

struct extracting {
	const struct merge_options *options;
	struct model_files *base, *tuned;
	struct output *out;
	enum dtype type;
	struct tally tally;
	struct progress *progress;
	size_t done, whole, left_out[PLACES];
};

/* A tensor of both models, and what is told apart by its name. */
struct pair {
	enum component component;
	const char *name;
	struct source_tensor base, tuned;
	enum place place;
	struct layer layer;             /* of the adapter; its name malloced */
	struct linear linear;
	struct conv conv;
	struct norm norm;
	size_t rows, columns;
};

/* ---- which tensor is what ---- */

static bool ends(const char *name, const char *end)
{
	const size_t n = strlen(name), k = strlen(end);

	return n > k && !strcmp(name + n - k, end);
}

static enum place place_of(const struct extracting *x, const struct pair *p)
{
	char *weight = xprintf("%s.weight", p->layer.name);
	struct source_tensor t;
	struct error e;
	const bool norm = !source_find(x->base, p->component, weight, &t, &e) && t.dims == 1;

	free(weight);
	if (strstr(p->name, ".embeddings."))
		return PLACE_NONE;
	if (ends(p->name, ".weight"))
		return norm ? PLACE_NORM_WEIGHT : PLACE_LAYER;
	return !ends(p->name, ".bias") ? PLACE_NONE : norm ? PLACE_NORM_BIAS : PLACE_BIAS;
}

static void set_layer(struct extracting *x, struct pair *p)
{
	const char *dot = strrchr(p->name, '.');
	const struct source_tensor *t = &p->base;
	struct weight w = { .dtype = DTYPE_F32, .out = (int)t->shape[0], .in = t->dims > 1 ? (int)t->shape[1] : 1,
			    .kh = t->dims > 2 ? (int)t->shape[2] : 1, .kw = t->dims > 3 ? (int)t->shape[3] : 1 };

	p->linear.w = p->conv.w = p->norm.w = w;
	p->layer = (struct layer){ .component = p->component, .name = xstrndup(p->name, dot ? dot - p->name :
									       (long)strlen(p->name)),
				   .family = model_files_config(x->base)->family, .convolution = t->dims == 4 };
	p->rows = w.out;
	p->columns = (size_t)w.in * w.kh * w.kw;
	p->place = place_of(x, p);
	if (p->place == PLACE_NORM_WEIGHT || p->place == PLACE_NORM_BIAS)
		p->layer.norm = &p->norm;
	else if (t->dims == 4)
		p->layer.conv = &p->conv;
	else
		p->layer.linear = &p->linear;
}

/* ---- the difference ---- */

static size_t elements(const struct source_tensor *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n *= t->shape[i];
	return n;
}

/* Rows o..o+n of the tensor as floats; room: as many */
static void read_rows(const struct pair *p, const struct source_tensor *t, size_t o, size_t n, float *row,
		      unsigned char *room)
{
	const size_t size = dtype_size(t->dtype);
	const unsigned char *from = t->bytes + o * (t->transposed ? 1 : p->columns) * size;

	for (size_t j = 0; j < p->columns && t->transposed; j++)
		for (size_t i = 0; i < n; i++)
			memcpy(room + (i * p->columns + j) * size, from + (j * p->rows + i) * size, size);
	to_float(row, t->transposed ? room : from, t->dtype, n * p->columns);
}

static bool same_bytes(const struct source_tensor *a, const struct source_tensor *b)
{
	return a->dtype == b->dtype && a->transposed == b->transposed &&
	       !memcmp(a->bytes, b->bytes, elements(a) * dtype_size(a->dtype));
}

/* tuned less base, malloced.  *same: there is none, and NULL is given */
static float *difference(const struct pair *p, bool *same, bool *sound)
{
	enum { ROWS = 16 };
	float *d, *before;
	unsigned char *room;

	*sound = true;
	if ((*same = same_bytes(&p->base, &p->tuned)))
		return NULL;
	d = xmalloc(p->rows * p->columns * sizeof(*d));
	before = xmalloc(ROWS * p->columns * sizeof(*before));
	room = xmalloc(ROWS * p->columns * 8);
	*same = true;
	for (size_t o = 0; o < p->rows; o += ROWS) {
		const size_t n = p->rows - o < ROWS ? p->rows - o : ROWS;
		float *row = d + o * p->columns;

		read_rows(p, &p->base, o, n, before, room);
		read_rows(p, &p->tuned, o, n, row, room);
		for (size_t i = 0; i < n * p->columns; i++) {
			row[i] -= before[i];
			*same &= row[i] == 0;
			*sound &= isfinite(row[i]) != 0;
		}
	}
	free(before);
	free(room);
	return d;
}

/* ---- what becomes of it ---- */

static size_t rank_for(const struct extracting *x, const struct pair *p)
{
	const struct merge_options *o = x->options;
	const bool kernel = p->layer.conv && p->conv.w.kh * p->conv.w.kw > 1;

	return kernel && o->conv_rank ? o->conv_rank : o->rank;
}

/* The best LoRA of the rank */
static int put_lora(struct extracting *x, const struct pair *p, const float *d, struct error *e)
{
	struct combined best = { 0 };
	struct tally_line line;

	combined_nearest(&best, &p->layer, d, rank_for(x, p), x->type);
	line = (struct tally_line){ .layer = &p->layer, .rank = best.lora.rank, .alpha = best.lora.alpha,
				    .update = best.update, .lost = best.lost };
	output_add_lora(x->out, &best.lora);
	best.lora = (struct output_lora){ 0 };
	combined_free(&best);
	return tally_module(&x->tally, &line, e);
}

static bool is_wanted(const struct extracting *x, enum place place)
{
	return place == PLACE_BIAS ? x->options->bias : place != PLACE_NONE && x->options->norm;
}

/* Takes d. */
static int put_difference(struct extracting *x, const struct pair *p, float *d, struct error *e)
{
	int status = 0;

	if (p->place == PLACE_LAYER) {
		status = put_lora(x, p, d, e);
		free(d);
	} else if (is_wanted(x, p->place)) {
		output_add_full(x->out, &p->layer, places[p->place].bias ? NULL : d, places[p->place].bias ? d : NULL);
		x->whole++;
	} else {
		x->left_out[p->place]++;
		free(d);
	}
	return status;
}

/* Each byte of both models is looked at once. */
static void release(const struct model_files *m, const struct pair *p, const struct source_tensor *t)
{
	struct source_place place;

	if (source_place(m, p->component, p->name, &place))
		safetensors_release(source_file(m, place.file), t->bytes, elements(t) * dtype_size(t->dtype));
}

static int extract_tensor(struct extracting *x, enum component c, const char *name, struct error *e)
{
	struct pair p = { .component = c, .name = name };
	bool same, sound;
	float *d;
	int status = 0;

	if (source_find(x->base, c, name, &p.base, e) || source_find(x->tuned, c, name, &p.tuned, e))
		return -1;
	if (p.base.dims != p.tuned.dims || memcmp(p.base.shape, p.tuned.shape, p.base.dims * sizeof(*p.base.shape)))
		return fail(e, EXIT_INPUT, "%s: '%s' has another shape than in %s; the models are not of one kind",
			    x->options->tuned, name, x->options->base);
	set_layer(x, &p);
	d = difference(&p, &same, &sound);
	if (!sound)
		status = fail(e, EXIT_INPUT, "%s: '%.200s' less that of %s is NaN or infinity; use sound models",
			      x->options->tuned, name, x->options->base);
	else if (!same)
		status = put_difference(x, &p, d, e);
	if (!sound || same)
		free(d);
	release(x->base, &p, &p.base);
	release(x->tuned, &p, &p.tuned);
	free(p.layer.name);
	return status;
}

static int extract_part(struct extracting *x, enum component c, struct error *e)
{
	for (size_t i = 0; i < source_names(x->base, c); i++) {
		if (extract_tensor(x, c, source_name(x->base, c, i), e))
			return -1;
		progress_at(x->progress, ++x->done, NULL);
	}
	return 0;
}

/* ---- both models ---- */

/* --model-config is for those of the two that are single files. */
static struct model_files *open_model(const struct merge_options *o, const char *path, bool single, struct error *e)
{
	return model_files_open_parts(path, single ? o->model_config : NULL, NULL, PART(COMPONENT_UNET), e);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int prepare(struct extracting *x, struct error *e)
{
	const struct merge_options *o = x->options;
	const struct family *f;
	bool both;

	if (!o->base || !o->tuned)
		return fail(e, EXIT_USAGE, "two models are needed; say --base MODEL --tuned MODEL");
	if (!o->rank)
		return fail(e, EXIT_USAGE, "no rank; say --rank R");
	both = is_folder(o->base) == is_folder(o->tuned);
	if (!(x->base = open_model(o, o->base, both || !is_folder(o->base), e)) ||
	    !(x->tuned = open_model(o, o->tuned, both || !is_folder(o->tuned), e)))
		return -1;
	f = model_files_config(x->base)->family;
	if (model_files_config(x->tuned)->family != f)
		return fail(e, EXIT_INPUT, "%s is %s, and %s is %s", o->base, f->title, o->tuned,
			    model_files_config(x->tuned)->family->title);
	return 0;
}

static void tell(const struct extracting *x)
{
	for (int i = 0; i < PLACES; i++)
		if (x->left_out[i])
			note("%zu %s differ and are not in the adapter%s%s", x->left_out[i], places[i].are,
			     places[i].option ? "; say " : "", places[i].option ? places[i].option : "");
}

static int extract_all(struct extracting *x, struct error *e)
{
	size_t names = 0;
	int status = 0;

	for (int i = 0; i < ADAPTED; i++)
		names += source_names(x->base, adapted_part(i));
	x->progress = progress_begin("extracting", "tensors", names);
	for (int i = 0; i < ADAPTED && !status; i++) {
		const enum component c = adapted_part(i);

		if (model_files_has(x->base, c) && model_files_has(x->tuned, c))
			status = extract_part(x, c, e);
		else if (model_files_has(x->base, c) || model_files_has(x->tuned, c))
			note("%s: not in both models, so left out", part_names[c].title);
	}
	progress_end(x->progress);
	return status;
}

static void tell_sources(const struct extracting *x)
{
	struct source s[] = { { x->options->tuned, "mark", 1 }, { x->options->base, "mark", -1 } };

	model_files_mark(x->tuned, s[0].hash);
	model_files_mark(x->base, s[1].hash);
	sources_tell(s, 2, output_said(x->out));
}

static int extract(struct extracting *x, struct error *e)
{
	const struct merge_options *o = x->options;
	const struct model_config *c = model_files_config(x->base);

	x->type = dtype_from_precision(o->save_precision ? o->save_precision : "float");
	x->out = output_new(c->family, &c->unet, x->type);
	if (tally_begin(&x->tally, o->report, &c->unet, e) || extract_all(x, e))
		return -1;
	if (!x->tally.modules && !x->whole)
		return fail(e, EXIT_INPUT, "%s and %s do not differ in any layer; there is nothing to extract", o->base,
			    o->tuned);
	tell_sources(x);
	if (output_save(x->out, o->out, e))
		return -1;
	tell(x);
	return tally_end(&x->tally, o->out, e);
}

int merge_extract(const struct merge_options *o, struct error *e)
{
	struct extracting x = { .options = o };
	int status = prepare(&x, e);

	if (!status)
		status = extract(&x, e);
	tally_free(&x.tally);
	output_free(x.out);
	model_files_close(x.base);
	model_files_close(x.tuned);
	return status;
}
