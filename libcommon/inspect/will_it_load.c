/* lora-inspect --will-it-load: what other programs make of an adapter. */
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter_file.h"
#include "../adapter/keys.h"
#include "../adapter/lora.h"
#include "../base/memory.h"
#include "../readers/readers.h"
#include "internal.h"

static void say_json(struct sheet *s, const struct reading *x)
{
	json_begin(&s->json, NULL);
	json_text(&s->json, "reader", reader_name(x->reader));
	json_text(&s->json, "verdict", verdict_name(x->verdict));
	json_int(&s->json, "applied", (int64_t)x->applied);
	json_int(&s->json, "in_file", (int64_t)x->in_file);
	json_int(&s->json, "wrong", (int64_t)x->wrong);
	json_text(&s->json, "why", x->why);
	json_end(&s->json);
}

static void say_lines(struct sheet *s, const struct reading *x)
{
	const char *verdict = verdict_name(x->verdict), *name = reader_name(x->reader);

	if (!verdict)
		sheet_line(s, name, "finds %zu of %zu by name; what it then does is not known", x->applied,
			   x->in_file);
	else if (x->wrong)
		sheet_line(s, name, "%s: %zu of %zu modules, %zu of them with other numbers", verdict, x->applied,
			   x->in_file, x->wrong);
	else
		sheet_line(s, name, "%s: %zu of %zu modules", verdict, x->applied, x->in_file);
	if (x->why)
		sheet_line(s, "", "%s", x->why);
}

static bool has_kohyas_name(const struct adapter_file *a, const struct file_module *m)
{
	char *stem = kohya_stem(m->layer, &a->blocks);
	const bool has = strcmp(stem, m->name) == 0;

	free(stem);
	return has;
}

/* Every one of the programs applies a plain LoRA under kohya's names with its alphas as tensors: it helps where
 * anything of that is otherwise, and nothing else is. */
static bool convert_helps(const struct adapter_file *a)
{
	bool otherwise = false;

	for (size_t i = 0; i < a->count; i++) {
		const struct file_module *m = &a->module[i];

		if (a->by_names || m->kind != adapter_kinds[0] || m->part[LORA_MID] || m->lengths || m->bias)
			return false;
		otherwise |= !has_kohyas_name(a, m) || (m->origin != ALPHA_TENSOR && m->alpha != m->form.rank);
	}
	return otherwise;
}

void will_it_load(struct sheet *s, const struct safetensors *f, const struct adapter_file *a,
		  const struct model_config *model)
{
	struct readers_file *file = readers_file_new(f, model);
	struct buffer fails = { 0 };
	const struct reader *r;

	json_begin_array(&s->json, "readers");
	for (size_t i = 0; (r = reader_at(i)); i++) {
		struct reading x;

		if (!(s->options->will_it_load & 1u << i))
			continue;
		x = readers_read(file, r);
		say_json(s, &x);
		say_lines(s, &x);
		if (verdict_fails(x.verdict))
			buffer_addf(&fails, "%s%s: %s", fails.len ? ", " : "", reader_title(r),
				    verdict_name(x.verdict));
		free(x.why);
	}
	json_end_array(&s->json);
	if (fails.len)
		(void)fail(&s->unfit, EXIT_INPUT, "%s: will not load as it is meant (%s)%s", s->path, fails.data,
			   a && !readers_file_is_foreign(file) && convert_helps(a)
			   ? "; lora-merge convert --to kohya writes it under names that they know" : "");
	buffer_free(&fails);
	readers_file_free(file);
}
