/* lora-merge convert: an adapter under the names that other readers want, as a LoRA where they read nothing else. */
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../adapter/lora.h"
#include "../base/memory.h"
#include "merge.h"
#include "output.h"

struct conversion {
	const struct merge_options *options;
	const struct adapter_target *to;
	struct adapter_file *from;
	struct output *out;
	size_t made;                    /* modules that became LoRAs */
	int least, most;                /* their ranks */
};

/* ---- what stays as it is ---- */

/* Its readers take every part of it. */
static bool is_taken(const struct conversion *c, const struct file_module *m)
{
	if (m->layer->norm || (m->kind == &kind_full && !m->part[FULL_DIFF]))
		return c->to->kinds;    /* no LoRA can be it */
	if (m->kind != &kind_lora && !c->options->keep_kind)
		return false;
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !target_suffix(c->to, m->kind, i))
			return false;
	return true;
}

static int refuse(const struct conversion *c, const struct file_module *m, const char *why, const char *todo,
		  struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' %s; %s", c->from->file->path, m->name, why, todo);
}

static const char *side(bool by_input)
{
	return by_input ? "inputs" : "outputs";
}

/* A row's gain is no column's: W + dW times the one is another matrix than times any of the other. */
static int check_lengths(const struct conversion *c, const struct file_module *m, struct error *e)
{
	char *why;

	if (!m->lengths && c->to->row && c->from->lengths)
		return refuse(c, m, "has no lengths, and other modules have: PEFT's use_dora is of all or none",
			      "--to kohya and --to comfy can say it", e);
	if (!m->lengths || m->by_input == c->to->by_input)
		return 0;
	why = xprintf("has a DoRA's lengths of its %s, and %s reads them as of its %s", side(m->by_input),
		      c->to->name, side(c->to->by_input));
	refuse(c, m, why, "no lengths of the others give the same weights", e);
	free(why);
	return -1;
}

/* ---- what becomes a LoRA ---- */

static int read_delta(struct delta *d, const struct conversion *c, const struct file_module *m, struct error *e)
{
	*d = (struct delta){ .kind = m->kind, .form = &m->form, .w = layer_weight(m->layer),
			     .scale = kind_scale(m->kind, &m->form, m->alpha) };
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !(d->part[i] = adapter_file_floats(c->from, m->part[i], true, e)))
			return -1;
	delta_begin(d);
	return 0;
}

static int put_factors(struct conversion *c, const struct file_module *m, const struct delta *d, struct error *e)
{
	struct delta_factors f;

	delta_factors(d, &f);
	output_add_lora(c->out, &(struct output_lora){ m->layer, (int)f.rank, (double)f.rank, f.down, f.up });
	c->least = c->made && c->least < (int)f.rank ? c->least : (int)f.rank;
	c->most = c->most > (int)f.rank ? c->most : (int)f.rank;
	c->made++;
	return output_copy_bias(c->out, c->from, m, e);
}

static int make_lora(struct conversion *c, const struct file_module *m, struct error *e)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t rows = w->out, columns = (size_t)w->in * w->kh * w->kw, most = rows < columns ? rows : columns;
	struct delta d;
	int status = read_delta(&d, c, m, e);
	const size_t rank = status ? 0 : delta_factors_rank(&d);

	if (!status && rank && rank <= most)
		status = put_factors(c, m, &d, e);
	else if (!status)
		status = refuse(c, m, "is no LoRA of a rank below its sides", "keep it with --keep-kind", e);
	delta_end(&d);
	return status;
}

/* ---- the whole ---- */

static int convert_module(struct conversion *c, const struct file_module *m, struct error *e)
{
	if (check_lengths(c, m, e))
		return -1;
	if (!is_taken(c, m))
		return make_lora(c, m, e);
	return output_copy(c->out, c->from, m, e);
}

static int open_input_adapter(struct conversion *c, struct error *e)
{
	const char *named = c->options->adapter[0];
	char *path;
	double weight;
	int status = weighted_path(named, &path, &weight, e);

	if (!status && weight != 1)
		status = fail(e, EXIT_USAGE, "'%.200s': convert takes no weight; name the file alone", named);
	if (!status)
		c->from = adapter_file_open_alone(path, NULL, e);
	free(path);
	return c->from ? 0 : -1;
}

static int convert(struct conversion *c, struct error *e)
{
	bool texts = false;

	for (size_t i = 0; i < c->from->count; i++)
		texts |= c->from->module[i].layer->component != COMPONENT_UNET;
	c->out = output_new(c->from->family, &c->from->blocks, DTYPE_F32);
	output_as(c->out, c->to, texts);
	output_keep_metadata(c->out, c->from->file);
	for (size_t i = 0; i < c->from->count; i++)
		if (convert_module(c, &c->from->module[i], e))
			return -1;
	return output_save(c->out, c->options->out, e);
}

static void tell(const struct conversion *c)
{
	char *ranks = c->least == c->most ? xprintf("rank %d", c->most) : xprintf("ranks %d to %d", c->least, c->most);

	if (c->made)
		note("%s: %zu modules, %zu of them made LoRAs of %s, exactly", c->options->out, c->from->count, c->made,
		     ranks);
	else
		note("%s: %zu modules, their tensors byte for byte", c->options->out, c->from->count);
	free(ranks);
}

int merge_convert(const struct merge_options *o, struct error *e)
{
	struct conversion c = { .options = o };
	int status;

	if (!o->to)
		return fail(e, EXIT_USAGE, "for which readers? say --to kohya, diffusers, peft or comfy");
	c.to = adapter_target(o->to);
	status = open_input_adapter(&c, e);
	if (!status)
		status = convert(&c, e);
	if (!status)
		tell(&c);
	output_free(c.out);
	adapter_file_close(c.from);
	return status;
}
