/* Shares of an adapter's weight: kohya's lists of blocks, patterns, and what is left out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../base/memory.h"
#include "../io/pattern.h"
#include "shares.h"
#include "slots.h"

/* ---- rules ---- */

/* Words for --only and --without, in the model's names. */
static const struct { const char *name, *pattern; } names[] = {
	{ "unet", "^unet\\." }, { "te", "^te[0-9]\\." }, { "te1", "^te1\\." }, { "te2", "^te2\\." },
	{ "attn", "\\.(attn[12]|self_attn)\\." },
	{ "ff", "\\.(ff|mlp)\\." }, { "conv", "\\.conv[^.]*$" },
};

struct names share_names(void)
{
	return NAMES_OF(names, "|", "|");
}

struct rule {
	const char *option, *text;      /* as it was typed */
	size_t adapter;                 /* counted from 1; 0: all */
	struct pattern *pattern;        /* NULL: a list */
	bool common;                    /* a word of names[], or a pattern of a block: an adapter may well lack it */
	bool found;                     /* some module of some adapter fits it */
	double weight;
	const struct slot_list *list;
	double slot[SLOTS];
};
struct rule_list { struct rule *item; size_t count, capacity; };

struct shares { struct rule_list block, only, without; };

static struct rule *new_rule(struct rule_list *l, const char *option, const char *text)
{
	GROW(l->item, l->count, l->capacity);
	l->item[l->count] = (struct rule){ .option = option, .text = text };
	return &l->item[l->count++];
}

/* Presets name blocks of the model, of which an adapter may have none. */
static int find_blocks(struct rule *r, struct error *e)
{
	int found = 0;

	for (int i = 0; i < SLOTS && !found; i++)
		found = pattern_fits(r->pattern, slot_name(i).text, e);
	r->common |= found > 0;
	return found < 0 ? -1 : 0;
}

static int read_pattern(struct rule *r, const char *text, struct error *e)
{
	const struct pattern_form form = { .where = r->option, .code = EXIT_USAGE };

	r->pattern = pattern_new(text, &form, e);
	return r->pattern ? find_blocks(r, e) : -1;
}

static int read_kept(struct rule_list *l, const char *option, const char *text, struct error *e)
{
	struct rule *r = new_rule(l, option, text);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !r->common; i++)
		if (!strcmp(names[i].name, text)) {
			text = names[i].pattern;
			r->common = true;
		}
	return read_pattern(r, text, e);
}

/* "[1, 0.5, ...]", brackets or none */
static int read_list(struct rule *r, const char *text, struct error *e)
{
	double number[SLOTS + 1];
	size_t n = 0, at = 0;
	const char *p = text + (*text == '[');

	for (char *end; n <= SLOTS; p = end + 1) {
		number[n++] = strtod(p, &end);
		end += strspn(end, " ");
		if (end == p || !isfinite(number[n - 1]) || (*end && !strchr(",]", *end)))
			return fail(e, EXIT_USAGE, "--block '%.200s' is neither PATTERN=W nor numbers between commas",
				    text);
		if (*end != ',')
			break;
	}
	r->list = slot_list(n);
	if (!r->list)
		return fail(e, EXIT_USAGE, "--block: %zu numbers; for SDXL say 12 (%s) or 20 (%s), for Stable "
			    "Diffusion 1.5 17 (%s) or 26 (%s)", n,
			    slot_list(12)->are, slot_list(20)->are, slot_list(17)->are, slot_list(26)->are);
	for (int i = 0; i < SLOTS; i++)
		r->slot[i] = r->list->slots[i] == '1' ? number[at++] : 1;
	return 0;
}

/* "3:" in front */
static const char *read_number_of_adapter(struct rule *r, const char *text)
{
	const size_t digits = strspn(text, "0123456789");

	if (!digits || text[digits] != ':')
		return text;
	r->adapter = strtoul(text, NULL, 10);
	return text + digits + 1;
}

static int read_block(struct rule_list *l, const char *text, size_t adapters, struct error *e)
{
	struct rule *r = new_rule(l, "--block", text);
	const char *rest = read_number_of_adapter(r, text), *sign = strrchr(rest, '=');
	char *end = NULL, *pattern;
	int status;

	if (rest != text && (!r->adapter || r->adapter > adapters))
		return fail(e, EXIT_USAGE, "--block '%.200s': there is no adapter %zu; %zu are named", text, r->adapter,
			    adapters);
	if (!sign)
		return read_list(r, rest, e);
	r->weight = strtod(sign + 1, &end);
	if (end == sign + 1 || *end || !isfinite(r->weight))
		return fail(e, EXIT_USAGE, "--block '%.200s': '%.60s' is no number", text, sign + 1);
	pattern = xstrndup(rest, sign - rest);
	status = read_pattern(r, pattern, e);
	free(pattern);
	return status;
}

struct shares *shares_new(const struct share_texts *t, size_t adapters, struct error *e)
{
	struct shares *s = xcalloc(1, sizeof(*s));
	int status = 0;

	for (size_t i = 0; i < t->blocks && !status; i++)
		status = read_block(&s->block, t->block[i], adapters, e);
	for (size_t i = 0; i < t->onlys && !status; i++)
		status = read_kept(&s->only, "--only", t->only[i], e);
	for (size_t i = 0; i < t->withouts && !status; i++)
		status = read_kept(&s->without, "--without", t->without[i], e);
	if (!status)
		return s;
	shares_free(s);
	return NULL;
}

static void free_rules(struct rule_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		pattern_free(l->item[i].pattern);
	free(l->item);
}

void shares_free(struct shares *s)
{
	if (!s)
		return;
	free_rules(&s->block);
	free_rules(&s->only);
	free_rules(&s->without);
	free(s);
}

/* ---- one module ---- */

enum { NAMES = 4 };
struct module_names { char *name[NAMES]; };

static struct module_names names_of(const struct adapter_file *a, const struct file_module *m)
{
	const enum component c = m->layer->component;
	char *own = c == COMPONENT_UNET ? xprintf("unet.%s", m->layer->name)
					: xprintf("te%d.%s", (int)(c - COMPONENT_TE1) + 1, m->layer->name);

	return (struct module_names){ { own, kohya_stem(m->layer, &a->blocks), xstrdup(m->name),
					xstrdup(slot_name(slot_of_module(a, m)).text) } };
}

static void free_names(struct module_names *n)
{
	for (int i = 0; i < NAMES; i++)
		free(n->name[i]);
}

static int fits(struct rule *r, const struct module_names *n, struct error *e)
{
	int found = 0;

	for (int i = 0; i < NAMES && !found; i++)
		found = pattern_fits(r->pattern, n->name[i], e);
	r->found |= found > 0;
	return found;
}

/* Each is tried: shares_check() asks for all. */
static int fits_any(struct rule_list *l, const struct module_names *n, struct error *e)
{
	int any = 0;

	for (size_t i = 0; i < l->count && any >= 0; i++) {
		const int found = fits(&l->item[i], n, e);

		any = found < 0 ? -1 : any || found;
	}
	return any;
}

static int list_share(const struct rule *r, const struct adapter_file *a, const struct file_module *m, double *share,
		      struct error *e)
{
	const int slot = slot_of_module(a, m);

	if (!slot_list_is_for(r->list, a->family))
		return fail(e, EXIT_USAGE, "--block: %zu numbers (%s) are not for '%.200s', whose UNet has others",
			    r->list->count, r->list->are, a->file->path);
	if (slot >= 0)
		*share *= r->slot[slot];
	return 0;
}

static int apply_block(struct rule *r, const struct adapter_file *a, const struct file_module *m,
		       const struct module_names *n, double *share, struct error *e)
{
	int found;

	if (r->list)
		return list_share(r, a, m, share, e);
	found = fits(r, n, e);
	if (found > 0)
		*share *= r->weight;
	return found < 0 ? -1 : 0;
}

static int share_by_names(struct shares *s, size_t i, const struct adapter_file *a, const struct file_module *m,
			  const struct module_names *n, double *share, bool *kept, struct error *e)
{
	const int only = s->only.count ? fits_any(&s->only, n, e) : 1, without = fits_any(&s->without, n, e);

	if (only < 0 || without < 0)
		return -1;
	*kept = only && !without;
	*share = *kept;
	for (size_t k = 0; k < s->block.count; k++)
		if ((!s->block.item[k].adapter || s->block.item[k].adapter == i + 1) &&
		    apply_block(&s->block.item[k], a, m, n, share, e))
			return -1;
	return 0;
}

int share_of(struct shares *s, size_t i, const struct adapter_file *a, const struct file_module *m, double *share,
	     bool *kept, struct error *e)
{
	struct module_names n;
	int status;

	*share = 1;
	*kept = true;
	if (!s || !(s->block.count || s->only.count || s->without.count))
		return 0;
	n = names_of(a, m);
	status = share_by_names(s, i, a, m, &n, share, kept, e);
	free_names(&n);
	return status;
}

/* ---- all modules ---- */

static int check_rules(const struct rule_list *l, struct error *e)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct rule *r = &l->item[i];

		if (r->found || r->common || r->list)
			continue;
		if (r->adapter)
			return fail(e, EXIT_USAGE, "%s '%.200s' fits no module of adapter %zu; lora-inspect --keys "
				    "FILE shows the names", r->option, r->text, r->adapter);
		return fail(e, EXIT_USAGE, "%s '%.200s' fits no module; lora-inspect --keys FILE shows the names",
			    r->option, r->text);
	}
	return 0;
}

int shares_check(const struct shares *s, struct error *e)
{
	return check_rules(&s->only, e) || check_rules(&s->without, e) || check_rules(&s->block, e) ? -1 : 0;
}

/* ---- what is said ---- */

/* Modules of one part of the model with one weight. */
struct told { int slot; double weight; size_t count; };

static int by_slot(const void *left, const void *right)
{
	const struct told *a = left, *b = right;

	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	return (a->weight > b->weight) - (a->weight < b->weight);
}

static int gather(struct shares *s, size_t i, const struct adapter_file *a, double weight, struct told *told,
		  size_t *parts, size_t *left_out, struct error *e)
{
	*parts = *left_out = 0;
	for (size_t k = 0; k < a->count; k++) {
		struct told one = { .slot = slot_of_module(a, &a->module[k]) };
		bool kept;
		size_t at;

		if (share_of(s, i, a, &a->module[k], &one.weight, &kept, e))
			return -1;
		*left_out += !kept;
		one.weight *= weight;
		for (at = 0; at < *parts && by_slot(&told[at], &one); at++)
			;
		if (kept && at == *parts)
			told[(*parts)++] = one;
		if (kept)
			told[at].count++;
	}
	qsort(told, *parts, sizeof(*told), by_slot);
	return 0;
}

int shares_tell(struct shares *s, size_t i, const struct adapter_file *a, double weight, struct error *e)
{
	struct told *told;
	size_t parts, left_out;
	int status;

	if (!s || !(s->block.count || s->only.count || s->without.count))
		return 0;
	told = xcalloc(a->count + 1, sizeof(*told));
	status = gather(s, i, a, weight, told, &parts, &left_out, e);
	if (!status && left_out)
		note("%s: %zu of %zu modules left out", a->file->path, left_out, a->count);
	for (size_t k = 0; !status && s->block.count && k < parts; k++)
		note("%s: %s: weight %g (%zu modules)", a->file->path, slot_name(told[k].slot).text,
		     told[k].weight, told[k].count);
	free(told);
	return status;
}
