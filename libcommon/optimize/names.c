/* The table of optimizers: names, arguments from text, notes on settings that mislead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/memory.h"
#include "internal.h"

const struct optimizer_kind *const optimizer_kinds[] = {
	&optimizer_adamw, &optimizer_adamw8bit, &optimizer_lion, &optimizer_adafactor, &optimizer_prodigy,
		&optimizer_dadapt,
	&optimizer_schedulefree, NULL,
};

#define NO_PAGING "no state is moved between memories here, so there is nothing to page"
#define PREPRINT "the formulas of the preprint, which sd-scripts takes by that name, are not here"

static const struct { const char *name, *is, *why; } others[] = {
	{ "PagedAdamW", "AdamW", NO_PAGING },
	{ "PagedAdamW32bit", "AdamW", NO_PAGING },
	{ "PagedAdamW8bit", "AdamW8bit", NO_PAGING },
	{ "DAdaptation", "DAdaptAdam", PREPRINT },
	{ "DAdaptAdamPreprint", "DAdaptAdam", PREPRINT },
	{ "torch.optim.AdamW", "AdamW", NULL },
	{ "bitsandbytes.optim.AdamW8bit", "AdamW8bit", NULL },
	{ "lion_pytorch.Lion", "Lion", NULL },
	{ "transformers.optimization.Adafactor", "Adafactor", NULL },
	{ "transformers.Adafactor", "Adafactor", NULL },
	{ "prodigyopt.Prodigy", "Prodigy", NULL },
	{ "dadaptation.DAdaptAdam", "DAdaptAdam", NULL },
	{ "schedulefree.AdamWScheduleFree", "AdamWScheduleFree", NULL },
};

const struct optimizer_kind *optimizer_kind(const char *name)
{
	size_t i;

	for (i = 0; optimizer_kinds[i]; i++)
		if (!strcasecmp(optimizer_kinds[i]->name, name))
			return optimizer_kinds[i];
	return NULL;
}

const char *optimizer_find(const char *name)
{
	const struct optimizer_kind *kind = optimizer_kind(name);
	size_t i;

	if (kind)
		return kind->name;
	for (i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (strcasecmp(others[i].name, name))
			continue;
		if (others[i].why)
			note("optimizer_type '%s' is %s here: %s", others[i].name, others[i].is, others[i].why);
		return others[i].is;
	}
	return NULL;
}

static struct names all_names(const char *between, const char *last)
{
	const char *names[sizeof(optimizer_kinds) / sizeof(*optimizer_kinds)];
	size_t n;

	for (n = 0; optimizer_kinds[n]; n++)
		names[n] = optimizer_kinds[n]->name;
	return names_joined(names, sizeof(*names), n, between, last);
}

struct names optimizer_names(void)
{
	return all_names(", ", " or ");
}

const char *optimizer_choices(void)
{
	static struct names choices;

	choices = all_names("|", "|");
	return choices.text;
}

void optimizer_defaults(const char *name, struct optimizer_settings *s)
{
	const struct optimizer_kind *kind = optimizer_kind(name);

	*s = kind->defaults;
	s->name = kind->name;
}

/* ---- arguments ---- */

static double *number_at(struct optimizer_settings *s, const struct optimizer_argument *a)
{
	return (double *)((char *)s + a->offset);
}

static bool *flag_at(struct optimizer_settings *s, const struct optimizer_argument *a)
{
	return (bool *)((char *)s + a->offset);
}

static bool inside(const struct optimizer_argument *a, double x)
{
	bool below_one = a->type == ARGUMENT_BETA || a->type == ARGUMENT_BETAS;

	return x >= a->min && (below_one ? x < a->max : x <= a->max);
}

static int out_of_range(const struct optimizer_argument *a, const char *text, struct error *e)
{
	bool pair = a->type == ARGUMENT_PAIR || a->type == ARGUMENT_BETAS,
	     below = a->type == ARGUMENT_BETA || a->type == ARGUMENT_BETAS;

	if (a->type == ARGUMENT_FLAG)
		return fail(e, EXIT_USAGE, "optimizer_args: %s: '%s' is neither True nor False", a->name, text);
	return fail(e, EXIT_USAGE, "optimizer_args: %s: '%s' is %s from %g to %s%g", a->name, text,
		    pair ? "not two numbers" : "no number", a->min, below ? "below " : "", a->max);
}

static int read_number(struct optimizer_settings *s, const struct optimizer_argument *a, const char *text,
		       struct error *e)
{
	char *end;
	double x = strtod(text, &end);

	if (a->type == ARGUMENT_BETA && !strcasecmp(text, "None")) {
		*number_at(s, a) = -1;
		return 0;
	}
	if (end == text || *end || !inside(a, x))
		return out_of_range(a, text, e);
	*number_at(s, a) = x;
	return 0;
}

static int read_flag(struct optimizer_settings *s, const struct optimizer_argument *a, const char *text,
		     struct error *e)
{
	bool yes = !strcasecmp(text, "True") || !strcmp(text, "1"), no = !strcasecmp(text, "False") ||
		!strcmp(text, "0");

	if (!yes && !no)
		return out_of_range(a, text, e);
	*flag_at(s, a) = yes;
	return 0;
}

/* "0.9,0.999", with or without brackets */
static int read_pair(struct optimizer_settings *s, const struct optimizer_argument *a, const char *text,
		     struct error *e)
{
	const char *first = text + (*text == '(' || *text == '[');
	double x[2];
	int used = 0;

	if (sscanf(first, "%lf ,%lf%n", &x[0], &x[1], &used) < 2 || !inside(a, x[0]) || !inside(a, x[1]))
		return out_of_range(a, text, e);
	first += used;
	first += *first == ')' || *first == ']';
	if (*first)
		return out_of_range(a, text, e);
	memcpy(number_at(s, a), x, sizeof(x));
	return 0;
}

static int unknown_argument(const struct optimizer_kind *kind, const char *item, struct error *e)
{
	const struct optimizer_argument *a;
	char *names = xprintf("%s", kind->arguments->name), *longer;

	for (a = kind->arguments + 1; a->name; a++) {
		longer = xprintf("%s, %s", names, a->name);
		free(names);
		names = longer;
	}
	fail(e, EXIT_USAGE, "optimizer_args: '%s' is not known for %s; it takes NAME=VALUE of %s", item, kind->name,
	     names);
	free(names);
	return -1;
}

int optimizer_argument(struct optimizer_settings *s, const char *item, struct error *e)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);
	const struct optimizer_argument *a;
	size_t n = strcspn(item, "= ");
	const char *value = item + n + strspn(item + n, " ");

	for (a = kind->arguments; a->name && (strlen(a->name) != n || strncmp(a->name, item, n)); a++)
		;
	if (!a->name || *value != '=')
		return unknown_argument(kind, item, e);
	value += 1 + strspn(value + 1, " ");
	switch (a->type) {
	case ARGUMENT_FLAG: return read_flag(s, a, value, e);
	case ARGUMENT_PAIR: case ARGUMENT_BETAS: return read_pair(s, a, value, e);
	default: return read_number(s, a, value, e);
	}
}

static void add_text(struct buffer *b, struct optimizer_settings *s, const struct optimizer_argument *a)
{
	const double *x = number_at(s, a);

	buffer_addf(b, "%s=", a->name);
	switch (a->type) {
	case ARGUMENT_FLAG:
		buffer_addf(b, "%s", *flag_at(s, a) ? "True" : "False");
		break;
	case ARGUMENT_PAIR: case ARGUMENT_BETAS:
		buffer_addf(b, "(%g, %g)", x[0], x[1]);
		break;
	default:
		if (a->type == ARGUMENT_BETA && *x < 0)
			buffer_addf(b, "None");
		else
			buffer_addf(b, "%g", *x);
	}
}

char *optimizer_text(const struct optimizer_settings *s)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);
	const struct optimizer_argument *a;
	struct optimizer_settings copy = *s;
	struct buffer b = { 0 };

	buffer_addf(&b, "%s", kind->python);
	for (a = kind->arguments; a->name; a++) {
		buffer_addf(&b, "%s", a == kind->arguments ? "(" : ",");
		add_text(&b, &copy, a);
	}
	buffer_addf(&b, ")");
	return buffer_steal(&b);
}

/* ---- notes on settings that mislead ---- */

static void advise_adafactor(struct optimizer_settings *s)
{
	if (s->warmup_init && !s->relative_step) {
		note("optimizer_args: warmup_init=True is for relative_step=True, which is switched on, "
		     "as sd-scripts does");
		s->relative_step = true;
	}
	if (s->relative_step)
		note("Adafactor with relative_step=True sets its own step sizes: learning_rate, unet_lr, "
		     "text_encoder_lr and lr_scheduler do not count; "
		     "optimizer_args = [\"relative_step=False\", \"scale_parameter=False\"] takes them");
}

void optimizer_advise(struct optimizer_settings *s, double lr, const char *schedule)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);

	if (kind == &optimizer_adafactor)
		advise_adafactor(s);
	if (kind->finds_d && lr < 0.1)
		note("%s finds its own step size d and multiplies it with the learning rate; "
		     "%g is very low for that, 1.0 is usual", s->name, lr);
	if (kind->own_schedule && strcmp(schedule, "constant"))
		note("%s needs no schedule: lr_scheduler and lr_warmup_steps do not count, as in sd-scripts; "
		     "optimizer_args = [\"warmup_steps=N\"] warms up", s->name);
}

void optimizer_explain_lr(const struct optimizer_settings *s)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);

	if (kind->finds_d)
		note("%s multiplies this with the step size d that it finds while training; "
		     "the log of a run has d at each step", s->name);
	if (kind == &optimizer_adafactor && s->relative_step)
		note("these are Adafactor's own steps, from their count alone%s", s->scale_parameter ?
		     "; each is multiplied with the tensor's root mean square" : "");
	if (kind->own_schedule)
		note("%s averages the weights in place of lowering this", s->name);
}

bool optimizer_averages(const struct optimizer_settings *s)
{
	return optimizer_kind(s->name)->average != NULL;
}

double optimizer_lr(const struct optimizer_settings *s, double lr, double multiplier, long step)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);

	return kind->lr ? kind->lr(s, lr, multiplier, step) : lr * multiplier;
}
