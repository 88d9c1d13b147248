/* The HTML page of a run: collecting its events, curves, samples, findings, settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../base/base64.h"
#include "../../data/resample.h"
#include "../../io/chart.h"
#include "../../io/html.h"
#include "../../io/publish.h"
#include "card.h"
#include "page.h"

#define THUMBNAIL 192           /* pixels, the longer side */
#define COLUMNS 16              /* most pictures in a strip of samples; of more, some are left out */

/* The numbers of a step; all doubles, so that a chart can read one of them by its stride. */
struct row { double step, loss, smooth, lr_unet, lr_te, grad_norm, seconds, bin[LOSS_BINS]; };
struct check { double step, loss; };
struct sample { long step, index; char *path, *prompt; };
struct finding { long step; char *say; };

struct report {
	struct row *row; size_t rows, row_capacity;
	struct card_rows card;          /* of the steps whose card told something */
	struct check *check; size_t checks, check_capacity;
	struct sample *sample; size_t samples, sample_capacity;
	struct finding *finding; size_t findings, finding_capacity;
	char *config, *why;
	json_t *changed;                /* keys whose value is not the default; NULL: an old log without them */
	long steps, step, pictures;
};

struct report *report_new(void)
{
	return xcalloc(1, sizeof(struct report));
}

/* ---- events ---- */

static double number(const json_t *event, const char *field)
{
	const json_t *v = json_object_get(event, field);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static char *text(const json_t *event, const char *field)
{
	const char *s = json_string_value(json_object_get(event, field));

	return xstrdup(s ? s : "");
}

static void forget_behind(struct report *r, long step)
{
	while (r->rows && r->row[r->rows - 1].step > step)
		r->rows--;
	while (r->card.count && r->card.row[r->card.count - 1].step > step)
		r->card.count--;
	while (r->checks && r->check[r->checks - 1].step > step)
		r->checks--;
	while (r->samples && (r->sample[r->samples - 1].step > step || !step)) {
		r->samples--;
		free(r->sample[r->samples].path);
		free(r->sample[r->samples].prompt);
	}
	while (r->findings && (r->finding[r->findings - 1].step > step || !step))
		free(r->finding[--r->findings].say);
}

static void on_start(struct report *r, const json_t *event)
{
	forget_behind(r, json_integer_value(json_object_get(event, "step")));
	free(r->config);
	r->config = text(event, "config");
	json_decref(r->changed);
	r->changed = json_incref(json_object_get(event, "changed"));
	r->steps = json_integer_value(json_object_get(event, "steps"));
	r->pictures = json_integer_value(json_object_get(event, "pictures"));
}

static void on_step(struct report *r, const json_t *event)
{
	const json_t *bins = json_object_get(event, "loss_by_timestep");
	struct row row = { number(event, "step"), number(event, "loss"), number(event, "loss_smooth"),
			   number(event, "lr_unet"),
			   number(event, "lr_te"), number(event, "grad_norm"), number(event, "seconds"), { 0 } };
	struct card_row card;
	size_t i;

	for (i = 0; i < LOSS_BINS; i++) {
		const json_t *v = json_array_get(bins, i);
		row.bin[i] = json_is_number(v) ? json_number_value(v) : NAN;
	}
	GROW(r->row, r->rows, r->row_capacity);
	r->row[r->rows++] = row;
	if (card_read(event, &card))
		card_rows_add(&r->card, &card);
}

static void on_validation(struct report *r, const json_t *event)
{
	GROW(r->check, r->checks, r->check_capacity);
	r->check[r->checks++] = (struct check){ number(event, "step"), number(event, "loss") };
}

static void on_sample(struct report *r, const json_t *event)
{
	GROW(r->sample, r->samples, r->sample_capacity);
	r->sample[r->samples++] = (struct sample){ json_integer_value(json_object_get(event, "step")),
						   json_integer_value(json_object_get(event, "index")),
						   text(event, "path"), text(event, "prompt") };
}

static void on_finding(struct report *r, const json_t *event)
{
	GROW(r->finding, r->findings, r->finding_capacity);
	r->finding[r->findings++] = (struct finding){ json_integer_value(json_object_get(event, "step")),
						      text(event, "say") };
}

static void on_end(struct report *r, const json_t *event)
{
	free(r->why);
	r->why = text(event, "why");
}

void report_event(struct report *r, const json_t *event)
{
	static const struct { const char *kind; void (*on)(struct report *r, const json_t *event); } kinds[] = {
		{ "start", on_start }, { "step", on_step }, { "validation", on_validation }, { "sample", on_sample },
		{ "finding", on_finding }, { "end", on_end },
	};
	const char *kind = json_string_value(json_object_get(event, "event"));
	size_t i;

	for (i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kind, kinds[i].kind))
			kinds[i].on(r, event);
}

bool report_begun(const struct report *r)
{
	return r->config != NULL;
}

void report_free(struct report *r)
{
	if (!r)
		return;
	forget_behind(r, 0);
	free(r->row);
	card_rows_free(&r->card);
	free(r->check);
	free(r->sample);
	free(r->finding);
	free(r->config);
	free(r->why);
	json_decref(r->changed);
	free(r);
}

/* ---- the page ---- */

static struct chart_line line_of(const struct report *r, const char *label, const char *colour, const double *y)
{
	return (struct chart_line){ label, colour, &r->row[0].step, y, r->rows, sizeof(struct row) / sizeof(double),
				    sizeof(struct row) / sizeof(double), false, false };
}

static void add_loss(struct buffer *out, const struct report *r)
{
	struct chart_line lines[3] = { line_of(r, "each step", "#9db8d9", &r->row[0].loss),
				       line_of(r, "smoothed", "#1f5fb4", &r->row[0].smooth),
				       { "validation", "#d1651c" } };

	lines[0].thin = true;
	if (r->checks)
		lines[2] = (struct chart_line){ "validation", "#d1651c", &r->check[0].step, &r->check[0].loss,
						r->checks, 2, 2, false, true };
	chart_svg(out, &(struct chart){ "Loss", lines, r->checks ? 3 : 2, true });
}

static void add_rates(struct buffer *out, const struct report *r)
{
	const struct chart_line lines[2] = { line_of(r, "UNet", "#1f5fb4", &r->row[0].lr_unet),
					     line_of(r, "text encoders", "#d1651c", &r->row[0].lr_te) };
	bool text_only = !isfinite(r->row[0].lr_unet), both = !text_only && isfinite(r->row[0].lr_te);

	chart_svg(out, &(struct chart){ "Learning rate", lines + text_only, both ? 2 : 1, true });
}

static void add_norm(struct buffer *out, const struct report *r)
{
	const struct chart_line line = line_of(r, "", "#1f7a4d", &r->row[0].grad_norm);

	chart_svg(out, &(struct chart){ "Norm of the gradient, before clipping", &line, 1, true });
}

static void add_bins(struct buffer *out, const struct report *r)
{
	static const char *const colours[LOSS_BINS] = { "#2b4a9b", "#2f6fb8", "#3a93c2", "#45ada9", "#5db487",
							"#8cb35a", "#bfa53a", "#dd8c31", "#dc6530", "#c33c33" };
	static const char *const labels[LOSS_BINS] = { "0", "10", "20", "30", "40", "50", "60", "70", "80", "90" };
	struct chart_line lines[LOSS_BINS];
	size_t i;

	for (i = 0; i < LOSS_BINS; i++)
		lines[i] = line_of(r, labels[i], colours[i], &r->row[0].bin[i]);
	chart_svg(out, &(struct chart){ "Smoothed loss by timestep (%)", lines, LOSS_BINS, true });
}

static void add_charts(struct buffer *out, const struct report *r)
{
	if (!r->rows)
		return;
	buffer_adds(out, "<div class=\"charts\">\n");
	add_loss(out, r);
	add_bins(out, r);
	add_rates(out, r);
	add_norm(out, r);
	buffer_adds(out, "</div>\n");
}

/* ---- samples ---- */

static void shrink(struct image *i)
{
	int longer = i->width > i->height ? i->width : i->height, w = i->width * THUMBNAIL / longer,
		h = i->height * THUMBNAIL / longer;
	struct image small;

	if (longer <= THUMBNAIL || w < 1 || h < 1)
		return;
	resample(i, w, h, RESAMPLE_AREA, (struct window){ 0, 0, w, h }, &small);
	image_free(i);
	*i = small;
}

/* Adds a picture; one that no longer exists is left out. */
static void add_picture(struct buffer *out, const struct sample *s)
{
	struct image_options options = { { 255, 255, 255 }, 0 };
	struct buffer jpeg = { 0 };
	struct image picture;
	struct error e;

	if (image_read(s->path, &options, &picture, NULL, &e) < 0) {
		warning("%s", e.text);
		return;
	}
	shrink(&picture);
	jpeg_encode(&jpeg, &picture, 90);
	buffer_addf(out, "<figure><img alt=\"sample after step %ld\" src=\"data:image/jpeg;base64,", s->step);
	buffer_add_base64(out, jpeg.data, jpeg.len);
	buffer_addf(out, "\"><figcaption>step %ld</figcaption></figure>\n", s->step);
	image_free(&picture);
	buffer_free(&jpeg);
}

static size_t count_samples(const struct report *r, long index)
{
	size_t i, n = 0;

	for (i = 0; i < r->samples; i++)
		n += r->sample[i].index == index;
	return n;
}

static void add_strip(struct buffer *out, const struct report *r, const struct sample *first)
{
	size_t i, n = count_samples(r, first->index), kept = n < COLUMNS ? n : COLUMNS, at = 0, shown = 0;

	buffer_adds(out, "<p class=\"soft\">");
	html_escaped(out, first->prompt);
	buffer_adds(out, "</p>\n<div class=\"strip\">\n");
	for (i = 0; i < r->samples; i++) {
		if (r->sample[i].index != first->index)
			continue;
		if (kept < 2 || at == shown * (n - 1) / (kept - 1)) {   /* the first and the last always */
			add_picture(out, &r->sample[i]);
			shown++;
		}
		at++;
	}
	buffer_adds(out, "</div>\n");
}

static void add_samples(struct buffer *out, const struct report *r)
{
	size_t i, k;

	if (r->samples)
		buffer_adds(out, "<h2>Samples</h2>\n");
	for (i = 0; i < r->samples; i++) {
		for (k = 0; k < i && r->sample[k].index != r->sample[i].index; k++)
			;
		if (k == i)
			add_strip(out, r, &r->sample[i]);
	}
}

/* ---- text ---- */

static void add_findings(struct buffer *out, const struct report *r)
{
	size_t i;

	buffer_adds(out, "<h2>Findings</h2>\n");
	if (!r->findings)
		buffer_adds(out, "<p class=\"soft\">None.</p>\n");
	else
		buffer_adds(out, "<ul>\n");
	for (i = 0; i < r->findings; i++) {
		buffer_addf(out, "<li>Step %ld: ", r->finding[i].step);
		html_escaped(out, r->finding[i].say);
		buffer_adds(out, "</li>\n");
	}
	if (r->findings)
		buffer_adds(out, "</ul>\n");
}

static void add_summary(struct buffer *out, const struct report *r, const char *title)
{
	const struct row *last = r->rows ? &r->row[r->rows - 1] : NULL;

	buffer_adds(out, "<h1>");
	html_escaped(out, title);
	buffer_adds(out, "</h1>\n<p class=\"soft\">");
	if (last)
		buffer_addf(out, "Step %.0f of %ld, %ld pictures, smoothed loss %.4f; ended: ", last->step, r->steps,
			    r->pictures, last->smooth);
	html_escaped(out, r->why ? r->why : "not yet");
	buffer_adds(out, "</p>\n");
}

static bool is_changed(const struct report *r, const char *line)
{
	const size_t n = strcspn(line, " ");
	size_t i;

	for (i = 0; i < json_array_size(r->changed); i++) {
		const char *key = json_string_value(json_array_get(r->changed, i));
		if (key && strlen(key) == n && !strncmp(key, line, n))
			return true;
	}
	return false;
}

static void add_settings(struct buffer *out, const struct report *r)
{
	char *text, *line, *rest;

	if (!r->config || !*r->config)
		return;
	text = rest = xstrdup(r->config);
	buffer_addf(out, "<h2>Settings</h2>\n%s<pre>",
		    r->changed ? "<p class=\"soft\">Marked: what differs from the default.</p>\n" : "");
	while ((line = strsep(&rest, "\n")) && (*line || rest)) {
		const bool changed = is_changed(r, line);
		buffer_adds(out, changed ? "<mark>" : "");
		html_escaped(out, line);
		buffer_adds(out, changed ? "</mark>\n" : "\n");
	}
	buffer_adds(out, "</pre>\n");
	free(text);
}

int report_write(const struct report *r, const char *path, const char *title, struct error *e)
{
	struct buffer out = { 0 };
	int result;

	html_begin(&out, title);
	add_summary(&out, r, title);
	add_charts(&out, r);
	card_section(&out, &r->card);
	add_samples(&out, r);
	add_findings(&out, r);
	add_settings(&out, r);
	html_end(&out);
	result = publish_bytes(path, out.data, out.len, e);
	buffer_free(&out);
	return result;
}
