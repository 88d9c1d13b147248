/* Printing the work of a step on a card, and how long that takes, modelled. */
#include "planner.h"

static const struct { const char *key, *words; } classes[WORK_CLASSES] = {
	[WORK_PRODUCTS] = { "products", "linear layers" },
	[WORK_CONVOLUTIONS] = { "convolutions", "convolutions" },
	[WORK_ATTENTION] = { "attention", "attention" },
	[WORK_NORMS] = { "norms", "norms" },
	[WORK_ELEMENTWISE] = { "elementwise", "elementwise" },
	[WORK_ADAPTER] = { "adapter", "adapter's own products" },
	[WORK_OPTIMIZER] = { "optimizer", "clip and optimizer" },
	[WORK_LOSS] = { "loss", "loss" },
	[WORK_COPIES] = { "copies", "copies" },
};

static void add_row(struct buffer *out, const char *words, const struct work_sum *s)
{
	buffer_addf(out, "%-24s %7ld %8ld %6ld %9.2f %8.2f %8.1f\n", words, s->kernels, s->products, s->copies,
		    s->bytes / 1e9, s->flop / 1e12, (s->seconds + s->beside) * 1e3);
}

void work_table(const struct plan *p, const char *card, struct buffer *out)
{
	const struct card_rates *r = card_rates(card);
	const struct work_sum all = work_total(&p->work);

	buffer_addf(out, "\n%-24s %7s %8s %6s %9s %8s %8s\n", "a step on a card", "kernels", "products", "copies", "GB",
		    "TFLOP", "ms");
	for (int i = 0; i < WORK_CLASSES; i++)
		if (p->work.of[i].kernels + p->work.of[i].products + p->work.of[i].copies)
			add_row(out, classes[i].words, &p->work.of[i]);
	add_row(out, "all", &all);
	buffer_addf(out, "modelled for %s (%.1f TFLOP/s, %.0f GB/s): %.0f ms a step;\n"
			 "its arithmetic alone, at that peak: %.0f ms\n", card_words(card), r->half / 1e12,
		    r->memory / 1e9, all.seconds * 1e3, work_floor(&p->work, r) * 1e3);
}

static void tell_sum(struct json_out *j, const struct work_sum *s)
{
	json_int(j, "kernels", s->kernels);
	json_int(j, "products", s->products);
	json_int(j, "copies", s->copies);
	json_int(j, "moved_bytes", s->bytes);
	json_int(j, "flop", s->flop);
}

void work_tell(const struct plan *p, const char *card, struct json_out *j)
{
	const struct card_rates *r = card_rates(card);
	const struct work_sum all = work_total(&p->work);

	tell_sum(j, &all);
	json_begin(j, "work");
	for (int i = 0; i < WORK_CLASSES; i++) {
		json_begin(j, classes[i].key);
		tell_sum(j, &p->work.of[i]);
		json_end(j);
	}
	json_end(j);
	if (!r)
		return;
	json_text(j, "card", card);
	json_number(j, "modelled_ms", all.seconds * 1e3);
	json_number(j, "floor_ms", work_floor(&p->work, r) * 1e3);
}
