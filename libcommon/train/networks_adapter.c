#include <stdlib.h>
#include "../base/hash.h"
#include "../adapter/adapter_scale.h"
#include "../adapter/metadata.h"
#include "internal.h"
#include "settings/adapter.h"

struct rates { const struct train_settings *s; const struct block_plan *plan; };

static double rate(const void *arg, const struct adapter_module *m)
{
	const struct rates *r = arg;
	const int block = r->plan ? unet_block(m->stem) : -1;

	if (m->layer->component != COMPONENT_UNET)
		return m->layer->component == COMPONENT_TE1 ? r->s->lr.te1 : r->s->lr.te2;
	return r->s->lr.unet * (block < 0 ? 1 : r->plan->lr[block]);
}

/* LoRA+ */
static void hasten_up(struct run *r)
{
	const struct train_settings *s = r->s;
	struct parameter *p = r->course.optimizer.parameter;

	for (size_t i = 0; i < r->net.adapter->count; i++) {
		const struct adapter_module *m = &r->net.adapter->module[i];
		const bool unet = m->layer->component == COMPONENT_UNET;
		const double own = unet ? s->plus_unet_ratio : s->plus_text_ratio, ratio = own ? own : s->plus_ratio;

		while (p->tensor != &m->lora.up)
			p++;
		if (ratio)
			p->lr *= ratio;
	}
}

/* They hang before the one that is trained, and are frozen. */
static int load_bases(struct run *r, struct error *e)
{
	const struct text_list *files = &r->s->base_weights;

	r->net.base = xcalloc(files->count + 1, sizeof(*r->net.base));
	for (; r->net.bases < files->count; r->net.bases++) {
		const size_t i = r->net.bases;
		r->net.base[i] = adapter_load(files->item[i], &r->net.layers, adapter_base_weight(r->s, i), false, r->net.be, r->net.device, e);
		if (!r->net.base[i])
			return -1;
	}
	return 0;
}

int run_make_adapter(struct run *r, struct error *e)
{
	const struct optimizer_settings o = r->course.optimizer.settings;
	const struct train_settings *s = r->s;
	const bool text = !s->unet_only;
	struct block_plan plan;
	bool blocks;
	struct adapter_spec spec = {
		.unet = !s->text_only, .te1 = text && (s->lr.te1 || !s->text_encoder_lr), .te2 = text && (s->lr.te2 || !s->text_encoder_lr),
		.rank = s->rank, .alpha = s->alpha, .conv_rank = s->conv_rank, .conv_alpha = s->conv_alpha, .seed = r->course.seed,
		.start = s->network_weights, .start_shapes = s->dim_from_weights,
		.borrow_grads = s->accumulate == 1, .dora = s->dora,
		.dropout = { .value = s->network_dropout, .rank = s->rank_dropout, .module = s->module_dropout, .seed = r->course.seed },
	};

	if (adapter_settings_blocks(s, &plan, &blocks, e) < 0 || load_bases(r, e) < 0)
		return -1;
	spec.blocks = blocks ? &plan : NULL;
	r->net.adapter = adapter_create(&r->net.layers, &spec, r->net.be, r->net.device, e);
	if (!r->net.adapter || optimizer_init(&r->course.optimizer, r->net.adapter, &o, rate, &(struct rates){ s, spec.blocks }, e) < 0)
		return -1;
	hasten_up(r);
	return ema_init(&r->course.ema, &r->course.optimizer, s->ema_decay, e);
}

/* Nothing where the tensors say it all, so that a state of before goes on. */
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

/* The file's tensors rather than its name; a file that cannot be read fails later, by name. */
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

void run_adapter_identity(const struct run *r, struct buffer *out)
{
	const struct block_texts *t = &r->s->blocks;
	const struct { const char *name, *text; } lists[] = {
		{ "block_dims", t->dims }, { "block_alphas", t->alphas }, { "conv_block_dims", t->conv_dims },
		{ "conv_block_alphas", t->conv_alphas },
	};

	if (r->s->dora)
		buffer_adds(out, " dora=1");
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].text)
			buffer_addf(out, " %s=%s", lists[i].name, lists[i].text);
	for (size_t i = 0; i < r->s->base_weights.count; i++)
		add_base(out, r->s->base_weights.item[i], adapter_base_weight(r->s, i));
}

void run_bases_free(struct run *r)
{
	while (r->net.bases)
		adapter_free(r->net.base[--r->net.bases]);
	free(r->net.base);
}
