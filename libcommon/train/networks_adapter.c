/* The adapter in training, and the frozen ones before it; with its optimizer and its averages. */
#include <stdlib.h>
#include "../base/hash.h"
#include "../adapter/adapter_scale.h"
#include "../adapter/metadata.h"
#include "course.h"
#include "networks.h"
#include "settings/adapter.h"

struct rates { const struct train_settings *s; const struct block_plan *plan; };

/* The factor of a part's learning rate: with LoRA+ some parts of a kind have a higher one. */
static double hastened(const struct train_settings *s, const struct adapter_module *m, int part)
{
	const double own = m->layer->component == COMPONENT_UNET ? s->plus_unet_ratio : s->plus_text_ratio,
		ratio = own ? own : s->plus_ratio;

	return ratio && m->form.part[part].hastened ? ratio : 1;
}

static double rate(const void *arg, const struct adapter_module *m, int part)
{
	const struct rates *r = arg;
	const int block = r->plan ? unet_block(m->stem) : -1;

	if (is_text_encoder(m->layer->component))
		return r->s->lr.text[m->layer->component - COMPONENT_TE1] * hastened(r->s, m, part);
	return r->s->lr.unet * (block < 0 ? 1 : r->plan->lr[block]) * hastened(r->s, m, part);
}

/* Loads base_weights: frozen adapters, which are attached before the one that is trained. */
static int load_bases(struct run_networks *n, struct error *e)
{
	const struct text_list *files = &n->s->base_weights;

	n->base = xcalloc(files->count + 1, sizeof(*n->base));
	for (; n->bases < files->count; n->bases++) {
		const size_t i = n->bases;
		n->base[i] = adapter_load(files->item[i], &n->layers, adapter_base_weight(n->s, i), false, n->be,
					  n->device, e);
		if (!n->base[i])
			return -1;
	}
	return 0;
}

static int check_loraplus(const struct train_settings *s, const struct adapter *a, struct error *e)
{
	bool any = !s->plus_ratio && !s->plus_unet_ratio && !s->plus_text_ratio;

	for (size_t i = 0; i < a->count && !any; i++)
		for (int k = 0; k < BRANCH_PARTS; k++)
			any |= a->module[i].form.part[k].hastened;
	if (any)
		return 0;
	return fail(e, EXIT_USAGE, "loraplus_lr_ratio: %s has no part that it applies to; leave it out",
		    s->kind->name);
}

int networks_make_adapter(struct run_networks *n, struct course *c, struct error *e)
{
	const struct optimizer_settings o = c->optimizer.settings;
	const struct train_settings *s = n->s;
	struct block_plan plan;
	bool blocks;
	struct adapter_spec spec = {
		.unet = !s->text_only,
		.kind = s->kind,
		.args = s->kind_args,
		.lycoris = s->lycoris,
		.rank = s->rank,
		.alpha = s->alpha,
		.conv_rank = s->conv_rank,
		.conv_alpha = s->conv_alpha,
		.seed = c->seed,
		.start = s->network_weights,
		.start_shapes = s->dim_from_weights,
		.borrow_grads = true,
		.dora = adapter_settings_dora(s),
		.dropout = { .value = s->network_dropout,
			     .rank = s->rank_dropout,
			     .module = s->module_dropout,
			     .seed = c->seed, .mask = { .timesteps = c->objective.schedule.steps } },
	};

	if (adapter_settings_blocks(s, model_files_config(n->files)->family, &plan, &blocks, e) < 0 ||
	    load_bases(n, e) < 0)
		return -1;
	for (int i = 0; i < TEXT_ENCODERS; i++)
		spec.text[i] = !s->unet_only && (s->lr.text[i] || !s->text_encoder_lr);
	spec.blocks = blocks ? &plan : NULL;
	n->adapter = adapter_create(&n->layers, &spec, n->be, n->device, e);
	if (!n->adapter || optimizer_init(&c->optimizer, n->adapter, &o, c->ranks, rate,
					  &(struct rates){ s, spec.blocks }, e) < 0)
		return -1;
	if (check_loraplus(s, n->adapter, e) < 0)
		return -1;
	if (leaf_sums_init(&c->sums, &c->optimizer, leaves_a_step(s), c->ranks->count, e) < 0)
		return -1;
	return ema_init(&c->ema, &c->optimizer, c->ranks->rank ? 0 : s->ema_decay, e);
}

/* Adds the sources of alphas other than tensors, if any;
 * nothing else, so that states of earlier versions stay valid. */
static void add_scales(const struct safetensors *f, struct buffer *out)
{
	struct alpha_sources *sources = alpha_sources_new(f);
	struct buffer text = { 0 };
	char hash[65];

	alpha_sources_text(sources, &text);
	sha256_hex_of(text.data, text.len, hash);
	if (text.len)
		buffer_addf(out, " scales=%s", hash);
	buffer_free(&text);
	alpha_sources_free(sources);
}

/* Adds a hash of the file's tensors, not its name.  A file that cannot be read fails later, by name. */
static void add_base(struct buffer *out, const char *path, double weight)
{
	struct error e;
	char *file, hash[65] = "unreadable";
	struct safetensors *f = adapter_named(path, &file, &e) < 0 ? NULL : safetensors_open(file, &e);

	if (f)
		payload_hash(f, hash);
	buffer_addf(out, " base_weights=%s*%.17g", hash, weight);
	if (f)
		add_scales(f, out);
	safetensors_close(f);
	free(file);
}

/* A LoRA as it always was is not named. */
static void add_kind(struct buffer *out, const struct train_settings *s)
{
	if (s->kind != adapter_kinds[0])
		buffer_addf(out, " kind=%s", s->kind->name);
	for (int i = 0; i < KIND_ARGS; i++)
		if (s->kind_args.value[i] != s->kind->defaults.value[i])
			buffer_addf(out, " kind_arg%d=%.17g", i, s->kind_args.value[i]);
}

void networks_adapter_identity(const struct train_settings *s, struct buffer *out)
{
	const struct block_texts *t = &s->blocks;
	const struct { const char *name, *text; } lists[] = {
		{ "block_dims", t->dims }, { "block_alphas", t->alphas }, { "conv_block_dims", t->conv_dims },
		{ "conv_block_alphas", t->conv_alphas },
	};

	/* The first is what versions say that know no other axis. */
	if (s->dora)
		buffer_adds(out, adapter_settings_dora(s) == DORA_OUTPUT ? " dora=1" : " dora=input");
	add_kind(out, s);
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].text)
			buffer_addf(out, " %s=%s", lists[i].name, lists[i].text);
	for (size_t i = 0; i < s->base_weights.count; i++)
		add_base(out, s->base_weights.item[i], adapter_base_weight(s, i));
}
