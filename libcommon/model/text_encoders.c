/* All text encoders of a model, run on texts in chunks: states read, joined, weighed; the pooled vector. */
#include <stdlib.h>
#include "../base/memory.h"
#include "text_encoders.h"

int text_encoders_load(struct text_encoders *x, const struct model_files *m, const struct backend *be, struct device *d,
		       bool on_host, struct error *e)
{
	*x = (struct text_encoders){ .family = model_files_config(m)->family };
	for (; x->count < x->family->texts; x->count++) {
		x->clip[x->count] = clip_load(m, COMPONENT_TE1 + x->count, be, d, on_host, e);
		if (!x->clip[x->count]) {
			text_encoders_free(x);
			return -1;
		}
	}
	return 0;
}

void text_encoders_free(struct text_encoders *x)
{
	while (x->count)
		clip_free(x->clip[--x->count]);
}

void text_encoders_layers(const struct text_encoders *x, struct layer_list *list)
{
	for (int i = 0; i < x->count; i++)
		clip_layers(x->clip[i], list);
}

int text_skip_check(const struct model_config *c, int skip, struct error *e)
{
	const struct family *f = c->family;
	int most = 0, own = f->text[0].skip;

	for (int i = 0; i < f->texts; i++)
		most = !i || c->text[i].layers + 1 < most ? c->text[i].layers + 1 : most;
	if (!skip || (skip >= own && skip <= most))
		return 0;
	return fail(e, EXIT_USAGE, "clip skip %d; with this model's text encoders it is from %d (%s's own) to %d", skip,
		    own, f->title, most);
}

int text_skip_of(const struct model_config *c, int skip)
{
	return skip == c->family->text[0].skip ? 0 : skip;
}

int text_skip_trained(const struct model_config *c, int clip_skip)
{
	return c->family->clip_skip ? text_skip_of(c, clip_skip) : 0;
}

/* A smaller number than the family's own is what configurations hold that were made for another. */
int text_skip_trained_check(const struct model_config *c, int clip_skip, struct error *e)
{
	if (!c->family->clip_skip && clip_skip > c->family->text[0].skip)
		note("clip_skip = %d is ignored: %s's text encoders are always read at their last layer but one, "
		     "by sd-scripts too", clip_skip, c->family->title);
	return text_skip_check(c, text_skip_trained(c, clip_skip), e);
}

/* ---- chunks ---- */

int chunks_length(int chunks, int length)
{
	return chunks * (length - 2) + 2;
}

/* The first state of the first chunk, the inner ones of all, the last of the last. */
static struct tensor *join(struct tape *t, struct tensor *states, int n, int chunks, int length)
{
	int whole = chunks_length(chunks, length), i, k;
	int32_t *rows = xmalloc((size_t)n * whole * sizeof(*rows)), *row = rows;
	struct tensor *y;

	for (i = 0; i < n; i++) {
		int first = i * chunks * length;
		*row++ = first;
		for (k = 0; k < chunks * (length - 2); k++)
			*row++ = first + k / (length - 2) * length + 1 + k % (length - 2);
		*row++ = first + chunks * length - 1;
	}
	y = op_gather(t, states, rows, n * whole);
	y->n = n;
	y->h = whole;
	free(rows);
	return y;
}

static struct tensor *first_of_each(struct tape *t, struct tensor *pooled, int n, int chunks)
{
	int32_t *rows = xmalloc(n * sizeof(*rows));
	struct tensor *y;

	for (int i = 0; i < n; i++)
		rows[i] = i * chunks;
	y = op_gather(t, pooled, rows, n);
	free(rows);
	return y;
}

/* Where a token of the joined context stands in its text's chunks */
static int place_of(int token, int chunks, int length)
{
	int inner = length - 2;

	if (token == 0)
		return 0;
	if (token > chunks * inner)
		return chunks * length - 1;
	return (token - 1) / inner * length + 1 + (token - 1) % inner;
}

static struct tensor *weigh(struct tape *t, struct tensor *context, const struct text_encoders *x,
			    const struct chunk_batch *b)
{
	const int length = clip_config(x->clip[0])->length, whole = chunks_length(b->chunks, length);
	float *z = xmalloc(tensor_count(context) * sizeof(*z)), *to = z;
	struct tensor *y;

	for (int i = 0; i < b->n; i++)
		for (int k = 0; k < whole; k++) {
			const size_t at = (size_t)i * b->chunks * length + place_of(k, b->chunks, length);
			for (int e = 0; e < x->count; e++)
				for (int c = 0; c < clip_config(x->clip[e])->width; c++)
					*to++ = b->weights[e][at];
		}
	y = op_multiply(t, context, tensor_from(t, b->n, whole, 1, context->c, z)->data);
	free(z);
	return y;
}

void text_encoders_forward(struct tape *t, const struct text_encoders *x, const struct chunk_batch *b,
			   struct tensor *condition[CONDITIONS])
{
	const int length = clip_config(x->clip[0])->length;
	struct tensor *context = NULL, *pooled = NULL;

	for (int i = 0; i < x->count; i++) {
		struct text_reading how = x->family->text[i];
		struct clip_output out = { 0 };

		how.skip = b->skip ? b->skip : how.skip;
		clip_forward(t, x->clip[i], b->ids[i], b->n * b->chunks, &how, &out);
		context = context ? op_concat(t, context, out.state) : out.state;
		pooled = out.pooled ? out.pooled : pooled;
	}
	if (b->chunks > 1 && pooled)
		pooled = first_of_each(t, pooled, b->n, b->chunks);
	if (b->chunks > 1)
		context = join(t, context, b->n, b->chunks, length);
	condition[CONDITION_CONTEXT] = b->weights[0] ? weigh(t, context, x, b) : context;
	condition[CONDITION_POOLED] = pooled;
}
