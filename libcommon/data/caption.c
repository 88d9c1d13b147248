/* Finding a picture's caption file, and reading it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/utf8.h"
#include "../io/kind.h"
#include "../io/publish.h"
#include "caption.h"

static const char blanks[] = " \t\r\v\f";

size_t utf8_prefix(const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	size_t at = 0, step;

	while (at < n && (step = utf8_length(p + at, n - at)))
		at += step;
	return at;
}

static int find_fault(const char *name, const char *bytes, size_t n, struct error *e)
{
	size_t valid = utf8_prefix(bytes, n);
	const char *nul = memchr(bytes, 0, n);

	if (n >= 2 && (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2)))
		return fail(e, EXIT_INPUT, "%s: the caption is UTF-16; save it as UTF-8", name);
	if (nul && (size_t)(nul - bytes) < valid)
		return fail(e, EXIT_INPUT, "%s: a NUL at byte %zu of the caption; save it as UTF-8 text", name,
			    (size_t)(nul - bytes));
	if (valid < n)
		return fail(e, EXIT_INPUT, "%s: byte %zu of the caption is not UTF-8; save it as UTF-8", name, valid);
	return 0;
}

static int check_text(const char *name, const char *bytes, size_t n, struct error *e)
{
	return find_fault(name, bytes, n, e) < 0 ? kind_tell(name, bytes, n, NULL, "a text in UTF-8", e) : 0;
}

static size_t line_length(const char *bytes, size_t n)
{
	const char *end = bytes;

	while (end < bytes + n && *end != '\n' && *end != '\r')
		end++;
	return end - bytes;
}

int caption_clean(const char *name, const char *bytes, size_t n, struct caption *c, struct error *e)
{
	const char *start = bytes, *end = bytes + n, *stop;

	*c = (struct caption){ 0 };
	if (n > CAPTION_CAP)
		return fail(e, EXIT_INPUT, "%s: a caption of %zu bytes; the limit is %zu; shorten it", name, n,
			    CAPTION_CAP);
	if (check_text(name, bytes, n, e) < 0)
		return -1;
	if (n >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3))
		start += 3;
	stop = start + line_length(start, end - start);
	for (const char *p = stop; p < end; p++)
		c->more_lines |= *p != '\n' && !strchr(blanks, *p);
	while (start < stop && strchr(blanks, *start))
		start++;
	while (stop > start && strchr(blanks, stop[-1]))
		stop--;
	c->text = xstrndup(start, stop - start);
	return 0;
}

int caption_clean_lines(const char *name, const char *bytes, size_t n, struct caption *c, struct error *e)
{
	struct buffer lines = { 0 };
	struct caption line;
	size_t at = 0;

	if (caption_clean(name, bytes, n, c, e) < 0)
		return -1;
	free(c->text);
	for (; at < n; at += line_length(bytes + at, n - at) + 1) {
		if (caption_clean(name, bytes + at, line_length(bytes + at, n - at), &line, e) < 0) {
			buffer_free(&lines);
			return -1;
		}
		if (*line.text)
			buffer_addf(&lines, "%s%s", lines.len ? "\n" : "", line.text);
		free(line.text);
	}
	*c = (struct caption){ .text = buffer_steal(&lines) };
	return 0;
}

/* The length of NAME in a name that kohya's face cutter made, NAME_1_20_30_40.png, which shares the caption of NAME; 0:
 * not such a name. */
static int without_numbers(const char *picture, int from, int stem)
{
	for (int words = 0; stem > from; stem--)
		if (picture[stem] == '_' && ++words == 4)
			return stem;
	return 0;
}

/* The picture's path with another extension, malloced.  of_face: the path of the picture that the face was cut from;
 * NULL: it is no face. */
static char *beside(const char *picture, const char *extension, bool of_face)
{
	const char *slash = strrchr(picture, '/'), *dot = strrchr(picture, '.'), *name = slash ? slash + 1 : picture;
	int stem = dot && dot > name ? (int)(dot - picture) : (int)strlen(picture);

	if (of_face && !(stem = without_numbers(picture, (int)(name - picture), stem)))
		return NULL;
	return xprintf("%.*s%s%s", stem, picture, *extension == '.' || !*extension ? "" : ".", extension);
}

/* 1: there is a file; 0: none; -1: *e.  A dangling link is an error: somebody meant a caption. */
static int look_for(const char *path, struct error *e)
{
	struct stat st;
	int there = path_stat(path, &st, e);

	if (there > 0 ? S_ISREG(st.st_mode) : there < 0 || lstat(path, &st) != 0)
		return there;
	return fail(e, EXIT_INPUT, "%s: is no file, or a link that leads nowhere; mend it or remove it", path);
}

char *caption_place(const struct caption_rules *rules, const char *picture, int i)
{
	const char *const usual[] = { ".txt", ".caption" };
	const char *const *extension = rules->extension ? &rules->extension : usual;
	const int n = rules->extension ? 1 : 2;

	return i < 2 * n ? beside(picture, extension[i % n], i >= n) : NULL;
}

/* 1: read; 0: there is no such file (path NULL: no such place), or nothing in it (*empty says so); -1: *e.
 * Takes path. */
static int read_caption(const struct caption_rules *rules, char *path, struct caption *c, bool *empty, struct error *e)
{
	int (*clean)(const char *, const char *, size_t, struct caption *, struct error *) =
		rules->all_lines ? caption_clean_lines : caption_clean;
	struct buffer file = { 0 };
	int status = path ? look_for(path, e) : 0;

	if (status > 0) {
		status = read_file(path, CAPTION_CAP, &file, e);
		if (status == 0)
			status = clean(path, file.data ? file.data : "", file.len, c, e);
		if (status == 0)
			status = *c->text != 0;
		if (status == 0) {
			free(c->text);
			*empty = true;
		}
	}
	buffer_free(&file);
	free(path);
	return status;
}

/* A run of blanks with any of `these` becomes one space; at either end it goes. */
static void join(char *text, const char *these)
{
	char *to = text;

	for (const char *at = text; *at;) {
		const size_t run = strspn(at, " \t\n\r\v\f");

		if (strcspn(at, these) >= run) {
			*to++ = *at++;
			continue;
		}
		at += run;
		if (to > text && *at)
			*to++ = ' ';
	}
	*to = 0;
}

/* A folder's name may hold every byte but '/' and NUL: none of them ends a line of a caption. */
static void fall_back(const struct caption_rules *rules, const char *folder_tokens, struct caption *c)
{
	const char *tokens = rules->class_tokens ? rules->class_tokens : folder_tokens;

	*c = (struct caption){ xstrdup(tokens ? tokens : ""), tokens ? CAPTION_CLASS : CAPTION_NONE };
	if (!rules->class_tokens)
		join(c->text, "\t\n\r\v\f");
}

/* Checks class tokens as UTF-8: they may come from a folder's name, which is any bytes. */
static int check_tokens(const struct caption *c, const char *picture, struct error *e)
{
	size_t n = strlen(c->text), valid = utf8_prefix(c->text, n);

	if (valid == n)
		return 0;
	return fail(e, EXIT_INPUT,
		    "%s: byte %zu of its folder's class name is not UTF-8; rename the folder or write a caption file",
		    picture, valid);
}

static void surround(const struct caption_rules *rules, struct caption *c)
{
	char *bare = c->text;

	c->text = xprintf("%s%s%s%s%s", rules->prefix ? rules->prefix : "", rules->prefix ? " " : "", bare,
			  rules->suffix ? " " : "", rules->suffix ? rules->suffix : "");
	free(bare);
}

int caption_find(const struct caption_rules *rules, const char *picture, const char *folder_tokens, struct caption *c,
		 struct error *e)
{
	bool empty = false;
	int found = 0;

	*c = (struct caption){ 0 };
	for (int i = 0; !found && i < CAPTION_PLACES; i++)
		found = read_caption(rules, caption_place(rules, picture, i), c, &empty, e);
	if (found < 0)
		return -1;
	if (!found) {
		bool more = c->more_lines;
		fall_back(rules, folder_tokens, c);
		c->empty_file = empty;
		c->more_lines = more;
	}
	if (!found && check_tokens(c, picture, e) < 0) {
		free(c->text);
		c->text = NULL;
		return -1;
	}
	if (rules->prefix || rules->suffix)
		surround(rules, c);
	if (!rules->all_lines)          /* of options: a file's other lines are left out already */
		join(c->text, "\n\r");
	return 0;
}
