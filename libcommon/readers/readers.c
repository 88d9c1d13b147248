/* The table of readers, and the verdict on what one of them found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter_scale.h"
#include "../adapter/made_for.h"
#include "internal.h"

static const struct reader *const readers[] = { &reader_a1111,	   &reader_comfy, &reader_invoke,
						&reader_diffusers, &reader_sdcpp, &reader_kohya };
#define READERS (sizeof(readers) / sizeof(readers[0]))

const struct reader *reader_at(size_t i)
{
	return i < READERS ? readers[i] : NULL;
}

const struct reader *reader_named(const char *name)
{
	for (size_t i = 0; i < READERS; i++)
		if (strcmp(readers[i]->name, name) == 0)
			return readers[i];
	return NULL;
}

const char *reader_name(const struct reader *r)
{
	return r->name;
}

const char *reader_title(const struct reader *r)
{
	return r->title;
}

const char *verdict_name(enum verdict v)
{
	static const char *const names[] = { "applied", "partial", "wrong", "silent", "refused", NULL };

	return names[v];
}

bool verdict_fails(enum verdict v)
{
	return v == VERDICT_WRONG || v == VERDICT_SILENT || v == VERDICT_REFUSED;
}

/* A program that knows alphas only as tensors takes 1 for a scale that is stated elsewhere; what stands in a file
 * beside this one all of them do not see. */
static void judge_stated(struct attempt *a, const struct reader *r)
{
	for (size_t i = 0; i < a->f->count; i++) {
		const double scale = a->f->stated[i];
		const bool beside = a->f->beside[i];

		if (!(a->got[i] & MEANT_WEIGHT) || isnan(scale) || fabs(scale - 1) <= 0.01 ||
		    (r->knows_metadata && !beside))
			continue;
		a->got[i] |= GOT_WRONG;
		attempt_reason(a, beside ? "without the alpha that stands in " PEFT_CONFIG_NAME " alone"
					 : "without the alpha that stands in the metadata alone",
			       a->bundle[i].count ? a->bundle[i].item[0].tensor->name : a->f->place[i].name);
	}
}

static bool has_tensor(const struct bundle *b, const struct safetensor *t)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->item[i].tensor == t)
			return true;
	return false;
}

/* Lengths that did not find their way to the module that they belong to: under a name that is not known, or thrown
 * away. */
static void judge_lost_lengths(struct attempt *a)
{
	for (size_t i = 0; i < a->f->file->count; i++) {
		const long p = a->f->lengths_of[i];
		const struct safetensor *t = &a->f->file->tensor[i];

		if (p < 0 || !(a->got[p] & MEANT_WEIGHT) || has_tensor(&a->bundle[p], t))
			continue;
		a->got[p] |= GOT_WRONG;
		attempt_reason(a, "without DoRA's lengths", t->name);
	}
}

static int bits(unsigned char got)
{
	return !!(got & MEANT_WEIGHT) + !!(got & MEANT_BIAS);
}

static enum verdict judge(const struct attempt *a, const struct reader *r, const struct reading *x)
{
	if (r->names_only)
		return VERDICT_NONE;
	if (a->refused)
		return VERDICT_REFUSED;
	if (!x->applied)
		return VERDICT_SILENT;
	if (x->wrong)
		return VERDICT_WRONG;
	return x->applied < x->in_file || (r->left_is_partial && a->left) ? VERDICT_PARTIAL : VERDICT_APPLIED;
}

static void say(struct buffer *b, const char *text, const char *example, size_t count)
{
	buffer_addf(b, "%s%s", b->len ? "; " : "", text);
	if (count > 1)
		buffer_addf(b, ": %zu, as %s", count, example);
	else if (example)
		buffer_addf(b, ": %s", example);
}

static char *why(const struct attempt *a, const struct reading *x)
{
	struct buffer b = { 0 };

	if (a->f->foreign)
		buffer_addf(&b, "made for %s, and its sizes are not those of %s", a->f->made_for,
			    a->f->family->title);
	if (a->refused) {
		say(&b, a->refused_why, a->refused_at, 0);
		return buffer_steal(&b);
	}
	if (!x->in_file)
		say(&b, "no layer of the model is named in it", NULL, 0);
	for (size_t i = 0; i < a->reasons; i++)
		say(&b, a->reason[i].text, a->reason[i].example, a->reason[i].count);
	return b.len ? buffer_steal(&b) : NULL;
}

struct reading readers_read(const struct readers_file *f, const struct reader *r)
{
	struct attempt a = { .f = f, .bundle = xcalloc(f->count, sizeof(*a.bundle)), .got = xcalloc(f->count, 1) };
	struct reading x = { .reader = r, .in_file = f->in_file };

	r->read(&a);
	if (!r->names_only) {
		judge_stated(&a, r);
		judge_lost_lengths(&a);
	}
	for (size_t i = 0; i < f->count && !a.refused; i++) {
		const int n = bits(a.got[i] & f->meant[i]);

		x.applied += n;
		x.wrong += a.got[i] & GOT_WRONG ? n : 0;
	}
	/* sizes of another model's: programs that go on by names alone make noise of it, or nothing */
	if (f->foreign && !a.refused && !r->names_only)
		x.applied = x.in_file;
	x.verdict = judge(&a, r, &x);
	x.why = why(&a, &x);
	free(a.bundle);
	free(a.got);
	return x;
}

/* Of the file's own family; NULL: SDXL, or none that is known. */
static const struct model_config *usual_of(const struct safetensors *f)
{
	const char *made_for = adapter_made_for(f);
	const struct family *x;

	for (size_t i = 0; made_for && (x = family_at(i)); i++)
		if (strcmp(x->title, made_for) == 0 && x != &family_sdxl)
			return x->usual;
	return NULL;
}

static void say_failures(const char *path, const struct readers_file *f)
{
	struct buffer b = { 0 };

	for (size_t i = 0; i < READERS; i++) {
		struct reading x = readers_read(f, readers[i]);

		if (verdict_fails(x.verdict))
			buffer_addf(&b, "%s%s: %s", b.len ? ", " : "", readers[i]->title, verdict_name(x.verdict));
		free(x.why);
	}
	if (b.len)
		note("%s: not every program reads it as it is meant (%s); lora-inspect --will-it-load all says why",
		     path, b.data);
	buffer_free(&b);
}

void readers_note(const char *path)
{
	struct error e = { 0 };
	char *named = NULL;
	struct safetensors *s = adapter_named(path, &named, &e) ? NULL : safetensors_open(named, &e);

	if (s) {
		struct readers_file *f = readers_file_new(s, usual_of(s));

		say_failures(path, f);
		readers_file_free(f);
	}
	safetensors_close(s);
	free(named);
}
