/* Saving and loading a state: one list of tensors serves both. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/safetensors.h"
#include "../adapter/metadata.h"
#include "settings/mark.h"
#include "call.h"
#include "saved.h"
#include "state.h"

#define MOST_DIGITS 18          /* of a step: a long holds them */

/* ---- the list of tensors, in parameter order, for writing and for reading ---- */

/* device NULL: rank `owner` has it, a slot */
struct item { char *name; void *device; enum dtype dtype; size_t count; int owner; };

static size_t item_bytes(const struct item *i)
{
	return i->count * dtype_size(i->dtype);
}

static size_t list_items(const struct optimizer *o, const struct state_more *more, struct item **items)
{
	size_t i, n = 0;
	int k;

	*items = xcalloc(o->count * (2 + OPTIMIZER_SLOTS), sizeof(**items));
	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		(*items)[n++] = (struct item){ xprintf("param.%s", p->name), p->tensor->data, DTYPE_F32, p->count };
		for (k = 0; k < OPTIMIZER_SLOTS; k++)
			if (p->slot[k].count)
				(*items)[n++] = (struct item){ xprintf("slot%d.%s", k, p->name), p->slot[k].data,
							       p->slot[k].dtype, p->slot[k].count, p->owner };
		if (more->ema)
			(*items)[n++] = (struct item){ xprintf("ema.%s", p->name), more->ema[i], DTYPE_F32, p->count };
	}
	return n;
}

static void free_items(struct item *items, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(items[i].name);
	free(items);
}

/* ---- between ranks: slots are where their parameter's owner is ---- */

static void move_out(const struct optimizer *o, const struct item *item, void *host, int to)
{
	const struct rank_piece piece = { to, host, item_bytes(item) };

	ranks_move(&o->ranks, &piece, 1, NULL, 0);
}

static void move_in(const struct optimizer *o, const struct item *item, void *host, int from)
{
	const struct rank_piece piece = { from, host, item_bytes(item) };

	ranks_move(&o->ranks, NULL, 0, &piece, 1);
}

/* What rank 0 saves, from wherever it is; malloced. */
static void *bring(const struct optimizer *o, const struct item *item)
{
	void *host = xmalloc(item_bytes(item));

	if (item->device)
		o->be->download(o->device, host, item->device, item_bytes(item));
	else
		move_in(o, item, host, item->owner);
	return host;
}

/* What rank 0 has loaded, to wherever it belongs. */
static void send_off(const struct optimizer *o, const struct item *item, void *host)
{
	if (item->device)
		o->be->upload(o->device, item->device, host, item_bytes(item));
	else
		move_out(o, item, host, item->owner);
}

/* Of another rank than 0: its slots, in the order in which rank 0 goes through them. */
static void move_slots(const struct optimizer *o, bool in)
{
	struct item *items;
	size_t i, n = list_items(o, &(struct state_more){ 0 }, &items);

	for (i = 0; i < n; i++) {
		void *host;
		if (!items[i].device || items[i].owner == 0)
			continue;
		host = xmalloc(item_bytes(&items[i]));
		if (in) {
			move_in(o, &items[i], host, 0);
			o->be->upload(o->device, items[i].device, host, item_bytes(&items[i]));
		} else {
			o->be->download(o->device, host, items[i].device, item_bytes(&items[i]));
			move_out(o, &items[i], host, 0);
		}
		free(host);
	}
	free_items(items, n);
}

void state_give(const struct optimizer *o)
{
	move_slots(o, false);
}

void state_take(const struct optimizer *o)
{
	move_slots(o, true);
}

/* ---- saving ---- */

static int64_t *steps_of(const struct optimizer *o)
{
	int64_t *steps = xcalloc(o->count, sizeof(*steps));
	size_t i;

	for (i = 0; i < o->count; i++)
		steps[i] = o->parameter[i].steps;
	return steps;
}

static int check_finite(const char *path, const struct item *item, const void *host, struct error *e)
{
	const float *x = host;
	size_t i;

	for (i = 0; i < item->count && item->dtype == DTYPE_F32; i++)
		if (!isfinite(x[i]))
			return fail(e, EXIT_DIVERGED, "%s: not written: '%s' holds a NaN or an infinity; "
						      "lower the learning rate", path, item->name);
	return 0;
}

int state_save(const char *path, const struct optimizer *o, const struct state_more *more,
	       const struct state_facts *facts, struct error *e)
{
	struct item *items;
	size_t i, n = list_items(o, more, &items);
	struct safetensors_out *out = xcalloc(n + 3, sizeof(*out));
	int64_t *steps = steps_of(o);
	const int scalars = optimizer_scalars(o);
	char *number = xprintf("%ld", facts->step), *saved = saved_text(facts->step, facts->by);
	const struct metadata metadata[] = {
		{ "format", STATE_FORMAT }, { "step", number }, { "identity", facts->identity },
		{ "settings", facts->settings }, { "config", facts->config }, { RUN_KEY, facts->run },
		{ SAVED_KEY, saved },
	};
	int result = 0;

	call_all(&o->ranks, CALL_GIVE_STATE);
	for (i = 0; i < n; i++)
		out[i] = (struct safetensors_out){ items[i].name, items[i].dtype, 1, { items[i].count },
						   bring(o, &items[i]), false };
	for (i = 0; i < n && !result; i++)
		result = check_finite(path, &items[i], out[i].data, e);
	out[n] = (struct safetensors_out){ "steps", DTYPE_I64, 1, { o->count }, steps, false };
	out[n + 1] = (struct safetensors_out){ "curves", DTYPE_F64, 1, { more->n_curves }, more->curves, false };
	out[n + 2] = (struct safetensors_out){ "scalars", DTYPE_F64, 1, { scalars }, o->scalar, false };
	if (!result)
		result = safetensors_save_sealed(path, out, n + 2 + (scalars > 0), metadata,
						 sizeof(metadata) / sizeof(*metadata), e);
	for (i = 0; i <= n; i++)                /* curves and scalars are their owners' */
		free((void *)out[i].data);
	free(out);
	free(number);
	free(saved);
	free_items(items, n);
	return result;
}

/* ---- loading ---- */

static bool is_list(const struct safetensors *f, const char *name, enum dtype dtype, size_t count)
{
	const struct safetensor *t = safetensors_find(f, name);

	return t && t->dtype == dtype && safetensor_elements(t) == count;
}

static int check_layout(const struct safetensors *f, const struct item *items, size_t n, const struct optimizer *o,
			size_t curves, struct error *e)
{
	const size_t scalars = optimizer_scalars(o);
	size_t i;

	if (f->count != n + 2 + (scalars > 0) || !is_list(f, "steps", DTYPE_I64, o->count) ||
	    !is_list(f, "curves", DTYPE_F64, curves) ||
	    (scalars && !is_list(f, "scalars", DTYPE_F64, scalars)))
		return fail(e, EXIT_INPUT, "%s: the state of another network; resume from another", f->path);
	for (i = 0; i < n; i++)
		if (!is_list(f, items[i].name, items[i].dtype, items[i].count))
			return fail(e, EXIT_INPUT, "%s: tensor '%s' is missing or has another size", f->path,
				    items[i].name);
	return 0;
}

/* Compares identities up to "data=", which has no value in a check before the data was read; the words behind it may
 * depend on the data. */
static bool same_before_data(const char *was, const char *is)
{
	const char *data = strstr(is, " data=");
	const size_t n = data ? data + strlen(" data=") - is : 0;

	return n && (!is[n] || is[n] == ' ') && !strncmp(was, is, n);
}

/* What a state of an earlier version calls otherwise, and how to go on from it. */
static const struct { const char *was, *say; } other_words[] = {
	{ "dora=1", "a DoRA with lengths of outputs, which goes on with dora_axis = output; " },
};

static const char *other_word(const char *was, size_t n)
{
	for (size_t i = 0; i < sizeof(other_words) / sizeof(*other_words); i++)
		if (strlen(other_words[i].was) == n && !strncmp(other_words[i].was, was, n))
			return other_words[i].say;
	return "";
}

static const char *next_word(const char *word)
{
	const char *end = word + strcspn(word, " ");

	return end + strspn(end, " ");
}

static bool has_word(const char *words, const char *word)
{
	const size_t n = strcspn(word, " ");

	for (; *words; words = next_word(words))
		if (strcspn(words, " ") == n && !strncmp(words, word, n))
			return true;
	return false;
}

/* The first of the words, in "a=1 b=2", that the others lack; of that word's key, unless it is NULL.  NULL: none. */
static const char *first_other(const char *words, const char *others, const char *key)
{
	for (; *words; words = next_word(words))
		if (!has_word(others, words) && (!key || !strncmp(words, key, strcspn(key, "=") + 1)))
			return words;
	return NULL;
}

/* "a=1", or "no a" where only the other run has a word of that key; malloced */
static char *said_of(const char *word, const char *other)
{
	if (!word && !other)
		return xstrdup("the same in another order");
	return word ? xstrndup(word, strcspn(word, " ")) : xprintf("no %.*s", (int)strcspn(other, "="), other);
}

/* Compares "a=1 b=2" with "a=1 b=3", and fails with the first key that differs. */
static int same_identity(const struct safetensors *f, const char *is, struct error *e)
{
	const char *was = safetensors_metadata(f, "identity"), *old, *new;
	char *old_said, *new_said;

	if (!strcmp(was, is) || same_before_data(was, is))
		return 0;
	old = first_other(was, is, NULL);
	new = first_other(is, was, old);
	old_said = said_of(old, new);
	new_said = said_of(new, old);
	fail(e, EXIT_USAGE, "%s: that run had %s, this one has %s; %s"
			    "use the same settings, model and data, or start anew without --resume",
	     f->path, old_said, new_said, other_word(old_said, strlen(old_said)));
	free(old_said);
	free(new_said);
	return -1;
}

static int same_settings(const struct safetensors *f, const char *is, struct error *e)
{
	const char *was = safetensors_metadata(f, "settings");
	/* a state of an early version does not say them */
	char *say = was ? settings_difference(was, is) : NULL;

	if (say)
		fail(e, EXIT_USAGE, "%s: that run had %.300s; --resume %s goes on from it all the same, "
				    "or start anew without --resume", f->path, say, f->path);
	free(say);
	return say ? -1 : 0;
}

static void put_back(const struct safetensors *f, const struct item *items, size_t n, struct optimizer *o,
		     const struct state_more *more)
{
	const unsigned char *steps = safetensors_bytes(f, safetensors_find(f, "steps"));
	size_t i;

	call_all(&o->ranks, CALL_TAKE_STATE);
	for (i = 0; i < n; i++) {
		const struct safetensor *t = safetensors_find(f, items[i].name);
		void *host = xmalloc(t->bytes);
		memcpy(host, safetensors_bytes(f, t), t->bytes);
		send_off(o, &items[i], host);
		free(host);
	}
	for (i = 0; i < o->count; i++) {
		int64_t k;
		memcpy(&k, steps + i * sizeof(k), sizeof(k));
		o->parameter[i].steps = k;
	}
	if (optimizer_scalars(o))
		memcpy(o->scalar, safetensors_bytes(f, safetensors_find(f, "scalars")),
		       optimizer_scalars(o) * sizeof(*o->scalar));
	memcpy(more->curves, safetensors_bytes(f, safetensors_find(f, "curves")),
	       more->n_curves * sizeof(*more->curves));
}

/* Checks the counts that a run goes on from: its step, and the updates of each parameter. */
static int check_counts(const struct safetensors *f, const struct optimizer *o, struct error *e)
{
	const unsigned char *steps = safetensors_bytes(f, safetensors_find(f, "steps"));
	const char *text = safetensors_metadata(f, "step");
	int64_t least = 0;

	for (size_t i = 0; i < o->count; i++) {
		int64_t k;
		memcpy(&k, steps + i * sizeof(k), sizeof(k));
		least = k < least ? k : least;
	}
	if (least < 0 || strspn(text, "0123456789") != strlen(text) || strlen(text) < 1 || strlen(text) > MOST_DIGITS)
		return fail(e, EXIT_INPUT, "%s: its counts of steps are none; resume from another state", f->path);
	return 0;
}

/* Checks the seal first: a flipped bit in the identity must not look like other settings, or no older state would be
 * tried. */
static int verify(const struct safetensors *f, const struct item *items, size_t n, const struct optimizer *o,
		  size_t curves, const struct state_like *like, struct error *e)
{
	const char *format = safetensors_metadata(f, "format");

	if (!format || strcmp(format, STATE_FORMAT) || !safetensors_metadata(f, "step") ||
	    !safetensors_metadata(f, "identity"))
		return fail(e, EXIT_INPUT, "%s: no state of a training run; "
					   "resume from NAME-stepNNNNNNNN-state.safetensors", f->path);
	if (safetensors_check_seal(f, e) < 0 || (like->identity && same_identity(f, like->identity, e) < 0) ||
	    (like->settings && same_settings(f, like->settings, e) < 0))
		return -1;
	return check_layout(f, items, n, o, curves, e) < 0 ? -1 : check_counts(f, o, e);
}

int state_load(const char *path, struct optimizer *o, const struct state_more *more, const struct state_like *like,
	       long *step, struct error *e)
{
	struct safetensors *f = safetensors_open(path, e);
	struct item *items;
	size_t n;
	int result;

	if (!f)
		return -1;
	n = list_items(o, more, &items);
	result = verify(f, items, n, o, more->n_curves, like, e);
	if (!result) {
		put_back(f, items, n, o, more);
		*step = strtol(safetensors_metadata(f, "step"), NULL, 10);
	}
	free_items(items, n);
	safetensors_close(f);
	return result;
}

void state_spread(struct optimizer *o)
{
	int64_t *steps = steps_of(o);
	size_t i;

	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		float *host = xmalloc(p->count * sizeof(*host));
		o->be->download(o->device, host, p->tensor->data, p->count * sizeof(*host));
		ranks_spread(&o->ranks, host, p->count * sizeof(*host));
		o->be->upload(o->device, p->tensor->data, host, p->count * sizeof(*host));
		free(host);
	}
	ranks_spread(&o->ranks, steps, o->count * sizeof(*steps));
	for (i = 0; i < o->count; i++)
		o->parameter[i].steps = steps[i];
	ranks_spread(&o->ranks, o->scalar, sizeof(o->scalar));
	free(steps);
}
