/* lora-inspect --will-it-load: what other programs make of an adapter. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../readers/readers.h"
#include "internal.h"

/* Is the reader one that the option names? */
static bool asked(const struct sheet *s, const struct reader *r)
{
	const char *names = s->options->will_it_load;

	return strcmp(names, "all") == 0 || strcmp(names, reader_name(r)) == 0;
}

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

void will_it_load(struct sheet *s, const struct safetensors *f, const struct model_config *model)
{
	struct readers_file *file = readers_file_new(f, model);
	struct buffer fails = { 0 };
	const struct reader *r;

	json_begin_array(&s->json, "readers");
	for (size_t i = 0; (r = reader_at(i)); i++) {
		struct reading x;

		if (!asked(s, r))
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
		(void)fail(&s->unfit, EXIT_INPUT, "%s: will not load as it is meant (%s); lora-merge convert writes it "
						  "under other names", s->path, fails.data);
	buffer_free(&fails);
	readers_file_free(file);
}
