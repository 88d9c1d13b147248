/* What a reader does with the tensors of a module, by its table of kinds. */
#include <math.h>
#include <string.h>
#include "internal.h"

/* ---- bundles ---- */

void bundle_add(struct bundle *b, const char *part, const struct safetensor *t)
{
	if (b->count == BUNDLE_ROOM)
		return;
	b->item[b->count].part = part;
	b->item[b->count++].tensor = t;
}

const struct safetensor *bundle_find(const struct bundle *b, const char *part)
{
	for (size_t i = 0; i < b->count; i++)
		if (strcmp(b->item[i].part, part) == 0)
			return b->item[i].tensor;
	return NULL;
}

/* ---- reasons ---- */

void attempt_reason(struct attempt *a, const char *text, const char *example)
{
	size_t i = 0;

	while (i < a->reasons && strcmp(a->reason[i].text, text))
		i++;
	if (i == sizeof(a->reason) / sizeof(a->reason[0]))
		return;
	if (i == a->reasons)
		a->reason[a->reasons++] = (struct reason){ .text = text, .example = example };
	a->reason[i].count++;
}

void attempt_left(struct attempt *a, const char *text, const struct safetensor *t)
{
	a->left++;
	attempt_reason(a, text, t->name);
}

void attempt_refuse(struct attempt *a, const char *why, const char *at)
{
	if (a->refused)
		return;
	a->refused = true;
	a->refused_why = why;
	a->refused_at = at;
}

void attempt_refuse_foreign(struct attempt *a)
{
	for (size_t i = 0; i < a->f->count && a->f->foreign; i++)
		if (a->got[i])
			attempt_refuse(a, "a factor has another shape than the layer's own",
				       a->bundle[i].item[0].tensor->name);
}

/* ---- shapes ---- */

/* -1: more than any layer has */
static int64_t product(const int64_t *shape, int from, int dims)
{
	int64_t n = 1;

	for (int i = from; i < dims; i++)
		if (__builtin_mul_overflow(n, shape[i], &n))
			return -1;
	return n;
}

static const struct safetensor *either(const struct bundle *b, const char *one, const char *other)
{
	const struct safetensor *t = bundle_find(b, one);

	return t ? t : bundle_find(b, other);
}

/* One rank in both; the sides are the place's where these are known. */
static bool factors_fit(const struct readers_file *f, const struct place *p, const struct bundle *b)
{
	const struct safetensor *up = either(b, "lora_up.weight", "lora_B.weight");
	const struct safetensor *down = either(b, "lora_down.weight", "lora_A.weight");
	const struct safetensor *mid = bundle_find(b, "lora_mid.weight");
	int64_t in, kernel;

	if (!up || !down || up->dims < 2 || down->dims < 2)
		return false;
	if (up->shape[1] != down->shape[0])
		return false;
	kernel = mid ? product(mid->shape, 2, mid->dims) : 1;
	if (__builtin_mul_overflow(product(down->shape, 1, down->dims), kernel, &in))
		return false;
	return !f->sized || (up->shape[0] == p->shape[0] && in == product(p->shape, 1, p->dims));
}

static bool whole_fits(const struct readers_file *f, const struct place *p, const struct bundle *b)
{
	const struct safetensor *t = either(b, "diff", "w_norm");

	return !t || !f->sized || (int64_t)safetensor_elements(t) == product(p->shape, 0, p->dims);
}

/* ---- rules ---- */

static bool has_all(const struct bundle *b, const char *const *parts)
{
	for (; *parts; parts++)
		if (!bundle_find(b, *parts))
			return false;
	return true;
}

static bool is_among(const char *part, const char *const *parts)
{
	for (; *parts; parts++)
		if (strcmp(part, *parts) == 0)
			return true;
	return false;
}

static bool used(const struct rule *r, const char *part)
{
	return is_among(part, r->signs) || is_among(part, r->needs) || is_among(part, r->uses);
}

static const struct rule *rule_of(const struct judge *j, const struct bundle *b, bool bias)
{
	for (const struct rule *r = j->rules; r->signs[0]; r++)
		if (!!(r->flags & RULE_BIAS) == bias && has_all(b, r->signs))
			return r;
	return NULL;
}

/* A scale that a reader does not know matters where it is not 1.  An alpha that is the rank is 1. */
static bool scale_matters(const struct attempt *a, const struct bundle *b, const char *part,
			  const struct safetensor *t)
{
	const double value = part_number(a->f->file, t);
	const struct safetensor *down = either(b, "lora_down.weight", "lora_A.weight");

	if (strcmp(part, "alpha") == 0)
		return !down || value != (double)down->shape[0];
	return value != 1;
}

/* Parts that the rule has no use for. */
static void judge_rest(struct attempt *a, const struct rule *r, const struct rule *bias, size_t place)
{
	const struct bundle *b = &a->bundle[place];

	for (size_t i = 0; i < b->count; i++) {
		const char *part = b->item[i].part;
		const struct safetensor *t = b->item[i].tensor;
		const enum part_role role = part_role_alone(part);

		if (used(r, part) || (bias && used(bias, part)))
			continue;
		if (role == ROLE_DORA) {
			a->got[place] |= GOT_WRONG;
			attempt_reason(a, "without DoRA's lengths", t->name);
		} else if (role == ROLE_SCALE && scale_matters(a, b, part, t)) {
			a->got[place] |= GOT_WRONG;
			attempt_reason(a, "without the scale that the file states", t->name);
		} else if (role == ROLE_BIAS) {
			attempt_reason(a, "biases dropped", t->name);
		}
	}
}

static void judge_lengths(struct attempt *a, const struct rule *r, size_t place)
{
	const struct safetensor *t = bundle_find(&a->bundle[place], "dora_scale");

	if (!t || !(r->flags & RULE_LENGTHS_IN) || !lengths_of_outputs(t))
		return;
	a->got[place] |= GOT_WRONG;
	attempt_reason(a, "DoRA lengths of outputs, [out,1], read as another axis'", t->name);
}

static void judge_rounding(struct attempt *a, const struct rule *r, size_t place)
{
	const struct bundle *b = &a->bundle[place];

	if (!(r->flags & RULE_ROUNDS) || b->item[0].tensor->dtype != DTYPE_BF16)
		return;
	a->got[place] |= GOT_WRONG;
	attempt_reason(a, "computed in BF16, which rounds away part of it", b->item[0].tensor->name);
}

static void judge_limit(struct attempt *a, const struct rule *r, size_t place)
{
	const struct safetensor *t = bundle_find(&a->bundle[place], "alpha");

	if (!t || !(r->flags & RULE_LIMIT) || !(part_number(a->f->file, t) > 0))
		return;
	a->got[place] |= GOT_WRONG;
	attempt_reason(a, "OFT's alpha taken for the limit itself, not for that of one output", t->name);
}

/* false: the place gets nothing */
static bool judge_form(struct attempt *a, const struct judge *j, const struct rule *r, size_t place)
{
	const struct place *p = &a->f->place[place];
	const struct bundle *b = &a->bundle[place];
	const char *at = b->item[0].tensor->name;
	bool fits = true;

	if ((r->flags & RULE_LAYERS) && p->kind != PLACE_LINEAR && p->kind != PLACE_CONV) {
		attempt_refuse(a, "it knows this kind on linear layers and convolutions only", at);
		return false;
	}
	if (r->flags & RULE_FACTORS)
		fits = factors_fit(a->f, p, b);
	if (r->flags & RULE_WHOLE)
		fits = whole_fits(a->f, p, b);
	if ((r->flags & RULE_LINEAR) && p->kind == PLACE_CONV)
		fits = false;
	if (fits && !(r->flags & RULE_FAILS))
		return true;
	if (j->misfit_refuses)
		attempt_refuse(a, j->misfit, at);
	else
		attempt_reason(a, j->misfit, at);
	return false;
}

void judge_place(struct attempt *a, const struct judge *j, size_t place)
{
	const struct bundle *b = &a->bundle[place];
	const struct rule *r = rule_of(j, b, false), *bias = rule_of(j, b, true);
	const char *at = b->item[0].tensor->name;

	if (!r && !bias) {
		if (j->nothing_fits)
			attempt_refuse(a, j->nothing_fits, at);
		else
			attempt_reason(a, "of no kind that it knows", at);
		return;
	}
	if (bias)
		a->got[place] |= MEANT_BIAS;
	if (!r)
		return;
	if (!has_all(b, r->needs)) {
		attempt_refuse(a, "part of a module is missing", at);
		return;
	}
	if (!judge_form(a, j, r, place))
		return;
	a->got[place] |= MEANT_WEIGHT;
	judge_lengths(a, r, place);
	judge_rounding(a, r, place);
	judge_limit(a, r, place);
	judge_rest(a, r, bias, place);
}

void judge_places(struct attempt *a, const struct judge *j)
{
	for (size_t i = 0; i < a->f->count; i++)
		if (a->bundle[i].count)
			judge_place(a, j, i);
}
