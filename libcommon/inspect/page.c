/* lora-inspect --html: the facts of a file as a page.  Everything shown is taken from the object that --json prints,
 * which the page holds too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../io/chart.h"
#include "../io/html.h"
#include "internal.h"
#include "tags.h"

enum { TAGS = 60, CURVE = 128 };        /* most tags, and most singular values of a curve */

/* ---- numbers and texts ---- */

static double number(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void add_number(struct buffer *out, double x)
{
	if (isfinite(x))
		buffer_addf(out, "<td class=\"n\">%.5g</td>", x);
	else
		buffer_adds(out, "<td class=\"n\">-</td>");
}

static void add_text(struct buffer *out, const char *class, const char *s)
{
	buffer_addf(out, "<td%s>", class);
	html_escaped(out, s ? s : "");
	buffer_adds(out, "</td>");
}

static void add_bar(struct buffer *out, double x, double most)
{
	buffer_addf(out, "<td class=\"bars\"><span class=\"bar\" style=\"width:%.2f%%\"></span></td>",
		    isfinite(x) && most > 0 ? 100 * x / most : 0);
}

/* ---- facts ---- */

static void add_plain(struct buffer *out, const json_t *value)
{
	char *plain = json_is_string(value) ? xstrdup(json_string_value(value))
					    : json_print(value, JSON_ENCODE_ANY | JSON_COMPACT);

	html_escaped(out, plain);
	free(plain);
}

/* "unet 258, te1 0" */
static void add_members(struct buffer *out, json_t *object)
{
	const char *key, *between = "";
	json_t *value;

	json_object_foreach(object, key, value) {
		buffer_adds(out, between);
		html_escaped(out, key);
		buffer_adds(out, " ");
		add_plain(out, value);
		between = ", ";
	}
}

static void add_value(struct buffer *out, json_t *value)
{
	if (json_is_object(value))
		add_members(out, value);
	else if (!json_is_array(value))
		add_plain(out, value);
	for (size_t i = 0; i < json_array_size(value); i++) {
		json_t *item = json_array_get(value, i);

		buffer_adds(out, i ? "<br>" : "");
		if (json_is_object(item))
			add_members(out, item);
		else
			add_plain(out, item);
	}
}

static void add_fact(struct buffer *out, const char *key, json_t *value)
{
	buffer_adds(out, "<tr><th>");
	html_escaped(out, key);
	buffer_adds(out, "</th><td class=\"long\">");
	add_value(out, value);
	buffer_adds(out, "</td></tr>\n");
}

/* What has a section of its own, or is the heading. */
static bool has_section(const char *key)
{
	static const char *const keys[] = { "file", "blocks", "norms", "spectrum", "metadata", "keys", "tokens" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static void add_facts(struct buffer *out, json_t *facts)
{
	const char *key;
	json_t *value;

	buffer_adds(out, "<div class=\"wide\"><table>\n");
	json_object_foreach(facts, key, value)
		if (!has_section(key) && !json_is_null(value) && !(json_is_array(value) && !json_array_size(value)))
			add_fact(out, key, value);
	buffer_adds(out, "</table></div>\n");
}

/* ---- pictures ---- */

/* A picture in the metadata, as a data URL whose letters are base64's; anything else could be a reference. */
static bool is_picture(const char *url)
{
	static const char *const starts[] = { "data:image/jpeg;base64,", "data:image/png;base64,",
					      "data:image/webp;base64," };

	for (size_t i = 0; url && i < sizeof(starts) / sizeof(*starts); i++) {
		const size_t n = strlen(starts[i]);

		if (!strncmp(url, starts[i], n))
			return url[n + strspn(url + n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
						       "0123456789+/=")] == 0;
	}
	return false;
}

static void add_thumbnail(struct buffer *out, const json_t *metadata)
{
	const char *url = text(metadata, "modelspec.thumbnail");

	if (is_picture(url))
		buffer_addf(out, "<figure class=\"lone\"><img alt=\"sample\" src=\"%s\"></figure>\n", url);
}

/* ---- blocks ---- */

static double most_of(const json_t *array, const char *key)
{
	double most = 0;

	for (size_t i = 0; i < json_array_size(array); i++)
		most = fmax(most, number(json_array_get(array, i), key));
	return most;
}

static void add_blocks(struct buffer *out, const json_t *blocks)
{
	const double most = most_of(blocks, "norm");

	if (!json_array_size(blocks))
		return;
	buffer_adds(out, "<h2>Blocks</h2>\n<p class=\"soft\">Norm: the root of the sum of the squares of its modules' "
		    "norms. Effective rank: the mean over its modules.</p>\n<div class=\"wide\"><table>\n"
		    "<tr><th>block</th>"
		    "<th class=\"n\">modules</th><th class=\"n\">eff. rank</th><th class=\"n\">norm</th><th></th>"
		    "</tr>\n");
	for (size_t i = 0; i < json_array_size(blocks); i++) {
		const json_t *b = json_array_get(blocks, i);

		buffer_adds(out, "<tr>");
		add_text(out, "", text(b, "block"));
		add_number(out, number(b, "modules"));
		add_number(out, number(b, "effective_rank"));
		add_number(out, number(b, "norm"));
		add_bar(out, number(b, "norm"), most);
		buffer_adds(out, "</tr>\n");
	}
	buffer_adds(out, "</table></div>\n");
}

/* ---- the spectrum ---- */

/* Over modules: the mean of value k over the first, 0 where a module has no more. */
struct curve { double x[CURVE], y[CURVE]; size_t n, modules; };

static void add_module(struct curve *c, const json_t *values)
{
	const double first = json_number_value(json_array_get(values, 0));
	const size_t n = json_array_size(values) < CURVE ? json_array_size(values) : CURVE;

	if (!(first > 0))
		return;
	c->modules++;
	for (size_t k = 0; k < n; k++)
		c->y[k] += json_number_value(json_array_get(values, k)) / first;
	if (n > c->n)
		c->n = n;
}

static struct chart_line line_of(struct curve *c, const char *label, const char *colour)
{
	for (size_t k = 0; k < c->n; k++) {
		c->x[k] = k + 1;
		c->y[k] /= c->modules;
	}
	return (struct chart_line){ label, colour, c->x, c->y, c->n, 1, 1, false, false };
}

/* Text encoders' blocks are TE1 and TE2. */
static void add_spectrum(struct buffer *out, const json_t *spectrum)
{
	struct curve *curve = xcalloc(2, sizeof(*curve));
	struct chart_line line[2];
	size_t lines = 0;

	for (size_t i = 0; i < json_array_size(spectrum); i++) {
		const json_t *m = json_array_get(spectrum, i);
		const char *block = text(m, "block");

		add_module(&curve[block && !strncmp(block, "TE", 2)], json_object_get(m, "singular_values"));
	}
	if (curve[0].modules)
		line[lines++] = line_of(&curve[0], "UNet", "#3f7fc4");
	if (curve[1].modules)
		line[lines++] = line_of(&curve[1], "text encoders", "#d1651c");
	if (lines) {
		buffer_adds(out, "<h2>Spectrum</h2>\n<div class=\"one\">\n");
		chart_svg(out, &(struct chart){ "Singular values over the first, mean of the modules", line, lines,
						true });
		buffer_adds(out, "</div>\n");
	}
	free(curve);
}

/* ---- tags ---- */

static void add_tags(struct buffer *out, const json_t *metadata)
{
	struct tag *tag;
	const size_t n = tags_read(text(metadata, "ss_tag_frequency"), &tag);

	if (n)
		buffer_addf(out, "<h2>Tags</h2>\n<p class=\"soft\">Of %zu, the most frequent.</p>\n<table>\n", n);
	for (size_t i = 0; i < n && i < TAGS; i++) {
		buffer_adds(out, "<tr>");
		add_text(out, " class=\"long\"", tag[i].name);
		add_number(out, tag[i].count);
		add_bar(out, tag[i].count, tag[0].count);
		buffer_adds(out, "</tr>\n");
	}
	buffer_adds(out, n ? "</table>\n" : "");
	counted_tags_free(tag, n);
}

/* ---- words that the text encoders see otherwise ---- */

static double change(const json_t *word, const char *key)
{
	return number(json_object_get(word, key), "change");
}

static double most_change(const json_t *word)
{
	return fmax(change(word, "te1"), change(word, "te2"));
}

static void add_words(struct buffer *out, const json_t *words)
{
	double most = 0;

	if (!json_array_size(words))
		return;
	for (size_t i = 0; i < json_array_size(words); i++)
		most = fmax(most, most_change(json_array_get(words, i)));
	buffer_adds(out, "<h2>Words</h2>\n<p class=\"soft\">How far each one's state moves, of its length; the bar is "
		    "the larger of both encoders'.</p>\n<div class=\"wide\"><table>\n<tr><th>word</th>"
		    "<th class=\"n\">encoder 1</th><th class=\"n\">encoder 2</th><th class=\"n\">pooled</th><th></th>"
		    "</tr>\n");
	for (size_t i = 0; i < json_array_size(words); i++) {
		const json_t *w = json_array_get(words, i);
		const char *says = text(w, "word");

		buffer_adds(out, "<tr>");
		add_text(out, " class=\"long\"", says && *says ? says : "(no words)");
		add_number(out, change(w, "te1"));
		add_number(out, change(w, "te2"));
		add_number(out, change(w, "pooled"));
		add_bar(out, most_change(w), most);
		buffer_adds(out, "</tr>\n");
	}
	buffer_adds(out, "</table></div>\n");
}

/* ---- modules and metadata ---- */

/* The spectrum's entry of a module: both lists are in the same order, and the spectrum lacks some. */
static const json_t *spectrum_of(const json_t *spectrum, const json_t *module, size_t *at)
{
	const json_t *s = json_array_get(spectrum, *at);
	const char *name = text(s, "module");

	if (!name || strcmp(name, text(module, "module")))
		return NULL;
	++*at;
	return s;
}

static void add_modules(struct buffer *out, const json_t *norms, const json_t *spectrum)
{
	size_t at = 0;

	if (!json_array_size(norms))
		return;
	buffer_addf(out, "<h2>Modules</h2>\n<details><summary>All %zu</summary>\n<div class=\"wide\"><table>\n<tr>"
		    "<th>module</th><th>block</th><th class=\"n\">rank</th><th class=\"n\">alpha</th>"
		    "<th class=\"n\">norm</th><th class=\"n\">of |W|</th><th class=\"n\">largest</th>"
		    "<th class=\"n\">eff. rank</th></tr>\n", json_array_size(norms));
	for (size_t i = 0; i < json_array_size(norms); i++) {
		const json_t *m = json_array_get(norms, i), *s = spectrum_of(spectrum, m, &at);
		const json_t *first = json_array_get(json_object_get(s, "singular_values"), 0);

		buffer_adds(out, "<tr>");
		add_text(out, " class=\"long\"", text(m, "module"));
		add_text(out, "", text(m, "block"));
		add_number(out, number(m, "rank"));
		add_number(out, number(m, "alpha"));
		add_number(out, number(m, "norm"));
		add_number(out, number(m, "relative"));
		add_number(out, first ? json_number_value(first) : NAN);
		add_number(out, number(s, "effective_rank"));
		buffer_adds(out, "</tr>\n");
	}
	buffer_adds(out, "</table></div></details>\n");
}

static void add_metadata(struct buffer *out, json_t *metadata)
{
	const char *key;
	json_t *value;

	if (!json_object_size(metadata))
		return;
	buffer_addf(out, "<h2>Metadata</h2>\n<details><summary>All %zu</summary>\n<div class=\"wide\"><table>\n",
		    json_object_size(metadata));
	json_object_foreach(metadata, key, value)
		if (strcmp(key, "modelspec.thumbnail") || !is_picture(json_string_value(value)))
			add_fact(out, key, value);
	buffer_adds(out, "</table></div></details>\n");
}

/* As data, where no "<" may end it early. */
static void add_object(struct buffer *out, const char *json)
{
	buffer_adds(out, "<script type=\"application/json\" id=\"facts\">");
	for (; *json; json++)
		if (*json == '<')
			buffer_adds(out, "\\u003c");
		else
			buffer_add(out, json, 1);
	buffer_adds(out, "</script>\n");
}

static void add_page(struct buffer *out, const char *json, json_t *facts)
{
	json_t *metadata = json_object_get(facts, "metadata");
	const char *file = text(facts, "file"), *slash = file ? strrchr(file, '/') : NULL,
		   *title = slash && slash[1] ? slash + 1 : file;

	html_begin(out, title ? title : "");
	buffer_adds(out, "<h1>");
	html_escaped(out, title ? title : "");
	buffer_adds(out, "</h1>\n");
	add_thumbnail(out, metadata);
	add_facts(out, facts);
	add_blocks(out, json_object_get(facts, "blocks"));
	add_spectrum(out, json_object_get(facts, "spectrum"));
	add_tags(out, metadata);
	add_words(out, json_object_get(facts, "tokens"));
	add_modules(out, json_object_get(facts, "norms"), json_object_get(facts, "spectrum"));
	add_metadata(out, metadata);
	add_object(out, json);
	html_end(out);
}

int page_write(const char *path, const struct buffer *json, struct error *e)
{
	json_t *facts = json_parse(path, json->data, json->len, e);
	struct buffer out = { 0 };
	int status;

	if (!facts)
		return -1;
	add_page(&out, json->data, facts);
	json_decref(facts);
	status = publish_bytes(path, out.data, out.len, e);
	buffer_free(&out);
	return status;
}
