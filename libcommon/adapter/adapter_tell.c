/* One line about the scales of a file that is used. */
#include <stdlib.h>
#include "../base/memory.h"
#include "adapter_file.h"

struct range { double least, most; };

static void widen(struct range *r, double x, bool first)
{
	r->least = first || x < r->least ? x : r->least;
	r->most = first || x > r->most ? x : r->most;
}

static void add_range(struct buffer *out, const char *label, const struct range *r)
{
	buffer_addf(out, "%s %g", label, r->least);
	if (r->most > r->least)
		buffer_addf(out, " to %g", r->most);
}

static void add_origins(struct buffer *out, const bool from[ALPHA_ORIGINS])
{
	const char *before = " from ";

	for (int i = 0; i < ALPHA_ORIGINS; i++)
		if (from[i]) {
			buffer_addf(out, "%s%s", before, alpha_origin_name(i));
			before = " and ";
		}
}

void adapter_file_tell(const struct adapter_file *f)
{
	struct range rank = { 0 }, alpha = { 0 }, scale = { 0 };
	bool from[ALPHA_ORIGINS] = { false };
	struct buffer out = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < f->count; i++) {
		const struct file_module *m = &f->module[i];

		if (!m->form.rank || m->kind->no_alpha)
			continue;
		widen(&rank, m->form.rank, !n);
		widen(&alpha, m->alpha, !n);
		widen(&scale, kind_scale(m->kind, &m->form, m->alpha), !n);
		from[m->origin] = true;
		n++;
	}
	if (!n)
		return;
	add_range(&out, "rank", &rank);
	add_range(&out, ", alpha", &alpha);
	add_origins(&out, from);
	add_range(&out, ": scale", &scale);
	note("%s: %zu modules, %s", f->file->path, n, out.data);
	buffer_free(&out);
}
