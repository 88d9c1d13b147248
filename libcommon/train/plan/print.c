/* Printing a plan, as a table or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../base/bytes.h"
#include "../../base/print.h"
#include "planner.h"

/* most buckets in the table; characters in a line, and before a saving's options */
enum { ROWS_MOST = 16, COLUMNS = 80, SAVING_INDENT = 20 };

static const struct { const char *key, *words; } classes[PLAN_CLASSES] = {
	[PLAN_UNET] = { "unet", "UNet, frozen" },
	[PLAN_TEXT] = { "text_encoders", "text encoders, frozen" },
	[PLAN_BASE] = { "base_adapters", "base adapters, frozen" },
	[PLAN_ADAPTER] = { "adapters", "adapter" },
	[PLAN_OPTIMIZER] = { "optimizer", "optimizer" },
	[PLAN_AVERAGE] = { "average", "averaged adapter" },
	[PLAN_ACTIVATIONS] = { "activations", "activations" },
	[PLAN_GRADIENTS] = { "gradients", "sums of gradients" },
	[PLAN_DATA] = { "data", "latents and text outputs" },
	[PLAN_SAVING] = { "saving", "copies while files are saved" },
	[PLAN_WORKSPACE] = { "workspace", "workspace of the backend" },
	[PLAN_CONTEXT] = { "context", "the driver's or the program's own" },
	[PLAN_ROUNDING] = { "rounding", "ends of pages and slabs" },
};

static double mib(size_t bytes) { return bytes / 1048576.0; }

/* ---- for people ---- */

static void add_row(struct buffer *out, const char *words, size_t bytes)
{
	buffer_addf(out, "%-42s%9.1f MiB\n", words, mib(bytes));
}

/* Tells what has the most activations. */
static char *activations_of(const struct plan *p)
{
	const struct plan_batch *b = &p->batch[p->largest];

	if (p->pictures > b->bytes && p->pictures >= p->validation)
		return xstrdup("activations (sample pictures, with VAE)");
	if (p->validation > b->bytes)
		return xstrdup("activations (validation)");
	return xprintf("activations (%d of %dx%d)", b->n, b->width, b->height);
}

static void add_classes(struct buffer *out, const struct plan *p)
{
	char *activations = activations_of(p), all[BYTES_SIZE], limit[BYTES_SIZE];
	int i;

	for (i = 0; i < PLAN_CLASSES; i++)
		if (p->bytes[i])
			add_row(out, i == PLAN_ACTIVATIONS ? activations : classes[i].words, p->bytes[i]);
	free(activations);
	bytes_words(p->peak, all);
	bytes_words(p->limit, limit);
	buffer_addf(out, "%-42s%9.1f MiB = %s\n", "in all", mib(p->peak), all);
	if (p->limit)
		buffer_addf(out, "%-42s%9.1f MiB = %s: %s\n", "the limit", mib(p->limit), limit,
			    plan_fits(p) ? "fits" : "does not fit");
	if (p->sums && !p->device->is_host)
		add_row(out, "in host memory: sums of gradients", p->sums);
	if (p->host)
		add_row(out, p->way.on_host == ON_HOST_WEIGHTS ? "in host memory: frozen weights" :
			"in host memory: weights that read the text", p->host);
}

static void add_way(struct buffer *out, const struct plan *p)
{
	const size_t n = p->way.checkpoints < p->blocks ? p->way.checkpoints : p->blocks;

	buffer_adds(out, p->way.cheap_again ? "\nnorms and activations are computed again\n" : "\n");
	if (n == p->blocks)
		buffer_addf(out, "all %zu blocks are checkpointed", n);
	else if (n)
		buffer_addf(out, "%zu of %zu blocks are checkpointed", n, p->blocks);
	else
		buffer_adds(out, "no block is checkpointed");
	buffer_adds(out, "; gradients take the place of activations\n");
}

static int by_bytes(const void *a, const void *b)
{
	const struct plan_batch *x = a, *y = b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void add_batches(struct buffer *out, const struct plan *p)
{
	const size_t shown = p->batches > ROWS_MOST ? ROWS_MOST / 2 : p->batches;
	struct plan_batch *sorted = xmalloc(p->batches * sizeof(*sorted));
	size_t i;

	memcpy(sorted, p->batch, p->batches * sizeof(*sorted));
	qsort(sorted, p->batches, sizeof(*sorted), by_bytes);
	buffer_adds(out, "\nactivations of a batch\n");
	for (i = 0; i < shown; i++) {
		char *words = xprintf("  %d of %dx%d", sorted[i].n, sorted[i].width, sorted[i].height);
		add_row(out, words, sorted[i].bytes);
		free(words);
	}
	if (shown < p->batches)
		buffer_addf(out, "  and %zu buckets with less\n", p->batches - shown);
	free(sorted);
	if (p->validation)
		add_row(out, "  validation", p->validation);
	if (p->pictures)
		add_row(out, "  sample pictures, with VAE", p->pictures);
}

/* words: " --option value --option ..."; a line is broken before an option. */
static void add_options(struct buffer *out, char *words)
{
	size_t column = SAVING_INDENT;
	char *option, *next;

	for (option = words; *option; option = next) {
		next = strstr(option + 1, " --");
		next = next ? next : option + strlen(option);
		if (column > SAVING_INDENT && column + (next - option) > COLUMNS) {
			buffer_addf(out, "\n%*s", SAVING_INDENT, "");
			column = SAVING_INDENT;
		}
		buffer_addf(out, "%.*s", (int)(next - option), option);
		column += next - option;
	}
	buffer_adds(out, "\n");
}

static void add_saving(struct buffer *out, const struct train_settings *now, const struct saving *s)
{
	char *words = saving_words(now, &s->what.s), size[BYTES_SIZE];

	bytes_words(s->peak, size);
	buffer_addf(out, "  %12s  %-4s", size, s->fits ? "fits" : "");
	add_options(out, words);
	free(words);
}

static void add_savings(struct buffer *out, const struct train_settings *now, const struct savings *s)
{
	size_t i;

	buffer_adds(out, s->count ? "\ncheaper settings, each alone\n" :
		    "\nthese settings are the cheapest there are\n");
	for (i = 0; i < s->count; i++)
		add_saving(out, now, &s->one[i]);
	if (!s->count)
		return;
	buffer_adds(out, s->together.fits ? "together, until it fits\n" : "all together, which is still too much\n");
	add_saving(out, now, &s->together);
}

/* ---- for programs ---- */

static void tell_batches(struct json_out *j, const struct plan *p)
{
	size_t i;

	json_begin_array(j, "batches");
	for (i = 0; i < p->batches; i++) {
		json_begin(j, NULL);
		json_begin_array(j, "bucket");
		json_int(j, NULL, p->batch[i].width);
		json_int(j, NULL, p->batch[i].height);
		json_end_array(j);
		json_int(j, "batch", p->batch[i].n);
		json_int(j, "activations", p->batch[i].bytes);
		json_end(j);
	}
	json_end_array(j);
}

static void tell_saving(struct json_out *j, const char *key, const struct train_settings *now, const struct saving *s)
{
	json_begin(j, key);
	json_begin(j, "settings");
	saving_settings(now, &s->what.s, j);
	json_end(j);
	json_int(j, "peak_bytes", s->peak);
	json_bool(j, "fits", s->fits);
	json_end(j);
}

static void tell_savings(struct json_out *j, const struct train_settings *now, const struct savings *s)
{
	size_t i;

	json_begin_array(j, "savings");
	for (i = 0; s && i < s->count; i++)
		tell_saving(j, NULL, now, &s->one[i]);
	json_end_array(j);
	if (s && s->count)
		tell_saving(j, "suggestion", now, &s->together);
}

static void tell(struct json_out *j, const struct train_settings *now, const struct plan *p, const struct savings *s)
{
	const struct plan_batch *b = &p->batch[p->largest];
	int i;

	json_begin(j, NULL);
	json_text(j, "event", "plan");
	json_text(j, "device", p->device->name);
	json_int(j, "peak_bytes", p->peak);
	json_begin(j, "bytes");
	for (i = 0; i < PLAN_CLASSES; i++)
		json_int(j, classes[i].key, p->bytes[i]);
	json_end(j);
	json_begin_array(j, "bucket");
	json_int(j, NULL, b->width);
	json_int(j, NULL, b->height);
	json_end_array(j);
	json_int(j, "batch", b->n);
	tell_batches(j, p);
	json_int(j, "validation", p->validation);
	json_int(j, "pictures", p->pictures);
	json_int(j, "blocks", p->blocks);
	json_int(j, "checkpointed_blocks", p->way.checkpoints < p->blocks ? p->way.checkpoints : p->blocks);
	json_bool(j, "cheap_again", p->way.cheap_again);
	json_int(j, "host_bytes", p->host + (p->device->is_host ? 0 : p->sums));
	if (!p->device->is_host)
		work_tell(p, now->card, j);
	if (p->ranks.ranks > 1)
		ranks_plan_tell(&p->ranks, j);
	if (p->limit)
		json_int(j, "vram_bytes", p->limit);
	json_bool(j, "fits", plan_fits(p));
	tell_savings(j, now, s);
	json_end(j);
}

int plan_print(const struct train_settings *s, const struct plan *p, const struct savings *saved, struct error *e)
{
	struct json_out j = { 0 };
	struct buffer out = { 0 };
	int result = 0;

	if (s->json) {
		tell(&j, s, p, saved);
		result = json_line(&j, STDOUT_FILENO, e) < 0 ? fail_at(e, "standard output") : 0;
		json_free(&j);
		return result;
	}
	add_classes(&out, p);
	add_way(&out, p);
	add_batches(&out, p);
	if (p->ranks.ranks > 1)
		ranks_plan_table(&p->ranks, &out);
	if (s->card)
		work_table(p, s->card, &out);
	if (saved)
		add_savings(&out, s, saved);
	result = print_text(out.data, out.len, e);
	buffer_free(&out);
	return result;
}

int plan_refuse(const struct train_settings *s, const struct plan *p, const struct savings *saved, struct error *e)
{
	char *words = saving_words(s, &saved->together.what.s), takes[BYTES_SIZE], there[BYTES_SIZE], then[BYTES_SIZE];

	bytes_words(p->peak, takes);
	bytes_words(p->limit, there);
	bytes_words(saved->together.peak, then);
	if (saved->together.fits)
		fail(e, EXIT_MEMORY, "this run takes %s of device %s and may have %s; with%s it takes %s", takes,
		     p->device->name, there, words, then);
	else if (*words)
		fail(e, EXIT_MEMORY, "this run takes %s of device %s and may have %s; "
				     "even with%s it takes %s: use smaller pictures, or a card with more memory", takes,
				     p->device->name, there, words, then);
	else
		fail(e, EXIT_MEMORY, "this run takes %s of device %s and may have %s; "
				     "use smaller pictures, or a card with more memory", takes, p->device->name, there);
	free(words);
	return -1;
}
