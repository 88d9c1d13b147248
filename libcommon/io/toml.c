/*
 * TOML: tables, keys and arrays.
 *
 * Who may add to a table depends on how it came to be (enum origin); most of what is invalid in TOML is a table opened
 * a second time.  Keys are found through one hash over (number of the table, key), so that a file with a million keys
 * is read in one pass.
 */
#include <stdlib.h>
#include <string.h>
#include "../base/lines.h"
#include "../base/map.h"
#include "publish.h"
#include "kind.h"
#include "toml_reader.h"

#define DEPTH_CAP 64
#define VALUES_CAP 1000000      /* a node is fifty times the two bytes that can ask for it */

enum origin {
	IMPLIED,                /* only named on the way to another: [a] of [a.b] */
	BY_HEADER,              /* [a], or an element of [[a]] */
	BY_DOTTED_KEY,          /* a of a.b = 1: open to dotted keys of the same section only */
	BY_VALUE,               /* { ... } or [ ... ]: closed when it ends */
	ARRAY_OF_TABLES,        /* [[a]] */
};

struct node {
	struct toml t;          /* first: a struct toml * of the tree is a struct node * */
	struct node *last;      /* of the children */
	char *name;             /* number of the parent, then the key: what the map holds; t.key points into it */
	uint32_t number;
	int depth;
	enum origin origin;
	int section;            /* BY_DOTTED_KEY: the header or inline table that it belongs to */
};

struct builder {
	struct toml_reader r;
	struct map *map;
	struct node **node;
	size_t count, capacity;
	int sections;
	struct buffer text;
};

static int take_value(struct builder *b, struct node *into);

/* ---- the tree ---- */

static struct node *new_node(struct builder *b, struct node *parent, enum toml_kind kind, enum origin origin)
{
	struct node *n = xcalloc(1, sizeof(*n));

	n->t.kind = kind;
	n->origin = origin;
	n->number = (uint32_t)b->count;
	GROW(b->node, b->count, b->capacity);
	b->node[b->count++] = n;
	n->t.line = b->r.line;
	if (!parent)
		return n;
	n->depth = parent->depth + 1;
	if (parent->last)
		parent->last->t.next = &n->t;
	else
		parent->t.child = &n->t;
	parent->last = n;
	return n;
}

/* One more value may be added below the parent. */
static int room_below(struct builder *b, const struct node *parent, const char *where)
{
	if (parent->depth >= DEPTH_CAP)
		return toml_complain(&b->r, where, "nested more than %d deep; flatten it", DEPTH_CAP);
	if (b->count >= VALUES_CAP)
		return toml_complain(&b->r, where, "more than %d values; this is no configuration file", VALUES_CAP);
	return 0;
}

static char *full_name(const struct node *parent, const char *key, size_t n)
{
	char *name = xmalloc(sizeof(parent->number) + n + 1);

	memcpy(name, &parent->number, sizeof(parent->number));
	memcpy(name + sizeof(parent->number), key, n);
	name[sizeof(parent->number) + n] = 0;
	return name;
}

struct key {
	char *text;
	size_t length;
	const char *where;
};

static struct node *find(const struct builder *b, const struct node *parent, const struct key *k)
{
	char *name = full_name(parent, k->text, k->length);
	long index = map_get(b->map, name, sizeof(parent->number) + k->length);

	free(name);
	return index < 0 ? NULL : b->node[index];
}

/* NULL: no room.  The caller has looked: the key is not there yet. */
static struct node *add_key(struct builder *b, struct node *parent, const struct key *k, enum toml_kind kind,
			    enum origin origin)
{
	struct node *n;

	if (room_below(b, parent, k->where))
		return NULL;
	n = new_node(b, parent, kind, origin);
	n->name = full_name(parent, k->text, k->length);
	n->t.key = n->name + sizeof(parent->number);
	n->t.column = toml_column(&b->r, k->where);
	map_put(b->map, n->name, sizeof(parent->number) + k->length, n->number);
	return n;
}

static struct node *add_element(struct builder *b, struct node *array, enum toml_kind kind, enum origin origin)
{
	struct node *n;

	if (room_below(b, array, b->r.at))
		return NULL;
	n = new_node(b, array, kind, origin);
	n->t.column = toml_column(&b->r, b->r.at);
	return n;
}

/* ---- keys ---- */

static bool is_bare(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
}

static int take_simple_key(struct builder *b, struct key *k)
{
	struct toml_reader *r = &b->r;
	const char *start = k->where = r->at;

	if (r->at < r->end && (*r->at == '"' || *r->at == '\'')) {
		if (toml_take_string(r, true, &b->text))
			return -1;
		k->text = b->text.data;
		k->length = b->text.len;
		if (memchr(k->text, 0, k->length))
			return toml_complain(r, start, "a key with a NUL character; remove it");
		return 0;
	}
	while (r->at < r->end && is_bare(*r->at))
		r->at++;
	if (r->at == start)
		return toml_complain(r, start, "a key is missing here; "
					       "write NAME = VALUE, with letters, digits, _ and - in NAME");
	buffer_clear(&b->text);
	buffer_add(&b->text, start, (size_t)(r->at - start));
	k->text = b->text.data;
	k->length = b->text.len;
	return 0;
}

/* 1: another part of the dotted key follows, and the reader stands on it. */
static int take_dot(struct toml_reader *r)
{
	toml_skip_blanks(r);
	if (r->at == r->end || *r->at != '.')
		return 0;
	r->at++;
	toml_skip_blanks(r);
	return 1;
}

/* ---- key = value ---- */

static int twice(struct builder *b, const struct key *k, const struct node *first)
{
	if (first->t.line == b->r.line)
		return toml_complain(&b->r, k->where, "'%s' is given twice in this line; remove one", k->text);
	return toml_complain(&b->r, k->where, "'%s' was given in line %d already; remove one", k->text, first->t.line);
}

static struct node *step_by_dotted_key(struct builder *b, struct node *table, const struct key *k, int section)
{
	struct node *next = find(b, table, k);

	if (!next) {
		next = add_key(b, table, k, TOML_TABLE, BY_DOTTED_KEY);
		if (next)
			next->section = section;
		return next;
	}
	if (next->t.kind == TOML_TABLE && next->origin == IMPLIED) {
		next->origin = BY_DOTTED_KEY;
		next->section = section;
		return next;
	}
	if (next->t.kind == TOML_TABLE && next->origin == BY_DOTTED_KEY && next->section == section)
		return next;
	toml_complain(&b->r, k->where, "'%s' was finished in line %d already; add its keys there", k->text,
		      next->t.line);
	return NULL;
}

static int take_pair(struct builder *b, struct node *table, int section)
{
	struct node *twin, *n;
	struct key k;

	for (;;) {
		if (take_simple_key(b, &k))
			return -1;
		if (!take_dot(&b->r))
			break;
		table = step_by_dotted_key(b, table, &k, section);
		if (!table)
			return -1;
	}
	twin = find(b, table, &k);
	if (twin)
		return twice(b, &k, twin);
	if (b->r.at == b->r.end || *b->r.at != '=')
		return toml_complain(&b->r, b->r.at, "no '=' after '%s'; write %s = VALUE", k.text, k.text);
	n = add_key(b, table, &k, TOML_TABLE, BY_VALUE);
	if (!n)
		return -1;
	b->r.at++;
	toml_skip_blanks(&b->r);
	return take_value(b, n);
}

static int take_array(struct builder *b, struct node *array)
{
	struct toml_reader *r = &b->r;

	array->t.kind = TOML_ARRAY;
	array->t.inline_value = true;
	r->at++;
	for (;;) {
		struct node *n;
		if (toml_skip_lines(r))
			return -1;
		if (r->at == r->end)
			return toml_complain(r, r->at, "the array that begins in line %d is not closed; add ]",
					     array->t.line);
		if (*r->at == ']')
			break;
		n = add_element(b, array, TOML_TABLE, BY_VALUE);
		if (!n || take_value(b, n) || toml_skip_lines(r))
			return -1;
		if (r->at < r->end && *r->at == ',')
			r->at++;
		else if (r->at < r->end && *r->at != ']')
			return toml_unexpected(r, "in an array; put , between elements and ] at the end");
	}
	r->at++;
	return 0;
}

static int take_inline_table(struct builder *b, struct node *table)
{
	struct toml_reader *r = &b->r;
	int section = ++b->sections;

	table->t.kind = TOML_TABLE;
	table->t.inline_value = true;
	r->at++;
	toml_skip_blanks(r);
	if (r->at < r->end && *r->at == '}') {
		r->at++;
		return 0;
	}
	for (;;) {
		toml_skip_blanks(r);
		if (take_pair(b, table, section))
			return -1;
		toml_skip_blanks(r);
		if (r->at == r->end || (*r->at != ',' && *r->at != '}'))
			return toml_complain(r, r->at, "an inline table { ... } ends in its line; "
						       "put , between pairs and } at the end");
		if (*r->at++ == '}')
			return 0;
	}
}

static int take_value(struct builder *b, struct node *into)
{
	struct toml_reader *r = &b->r;
	char c = r->at < r->end ? *r->at : 0;

	if (c == '[')
		return take_array(b, into);
	if (c == '{')
		return take_inline_table(b, into);
	if (c != '"' && c != '\'')
		return toml_take_scalar(r, &into->t);
	into->t.kind = TOML_STRING;
	if (toml_take_string(r, false, &b->text))
		return -1;
	into->t.length = b->text.len;
	into->t.text = buffer_steal(&b->text);
	return 0;
}

/* ---- [headers] ---- */

static struct node *step_by_header(struct builder *b, struct node *table, const struct key *k)
{
	struct node *next = find(b, table, k);

	if (!next)
		return add_key(b, table, k, TOML_TABLE, IMPLIED);
	if (next->origin == ARRAY_OF_TABLES)
		return next->last;
	if (next->t.kind == TOML_TABLE && next->origin != BY_VALUE)
		return next;
	toml_complain(&b->r, k->where, "'%s' is a value since line %d and cannot hold tables; rename one", k->text,
		      next->t.line);
	return NULL;
}

static struct node *open_table(struct builder *b, struct node *parent, const struct key *k)
{
	struct node *n = find(b, parent, k);

	if (!n)
		return add_key(b, parent, k, TOML_TABLE, BY_HEADER);
	if (n->t.kind == TOML_TABLE && n->origin == IMPLIED) {
		n->origin = BY_HEADER;
		return n;
	}
	twice(b, k, n);
	return NULL;
}

static struct node *open_element(struct builder *b, struct node *parent, const struct key *k)
{
	struct node *array = find(b, parent, k);

	if (!array) {
		array = add_key(b, parent, k, TOML_ARRAY, ARRAY_OF_TABLES);
	} else if (array->origin != ARRAY_OF_TABLES) {
		twice(b, k, array);
		return NULL;
	}
	return array ? add_element(b, array, TOML_TABLE, BY_HEADER) : NULL;
}

/* [a.b] or [[a.b]]: the table that the following lines belong to, NULL after a complaint. */
static struct node *take_header(struct builder *b, struct node *root)
{
	struct toml_reader *r = &b->r;
	bool array = toml_starts(r, "[[");
	const char *close = array ? "]]" : "]";
	struct node *table = root;
	struct key k;

	r->at += strlen(close);
	toml_skip_blanks(r);
	for (;;) {
		if (take_simple_key(b, &k))
			return NULL;
		if (!take_dot(r))
			break;
		table = step_by_header(b, table, &k);
		if (!table)
			return NULL;
	}
	if (!toml_starts(r, close)) {
		toml_complain(r, r->at, "the table's name is not closed; write %s after it", close);
		return NULL;
	}
	table = array ? open_element(b, table, &k) : open_table(b, table, &k);
	r->at += strlen(close);
	return table && !toml_end_of_line(r, "after a table's name; begin a new line") ? table : NULL;
}

static int take_document(struct builder *b, struct node *root)
{
	struct toml_reader *r = &b->r;
	struct node *table = root;

	for (;;) {
		if (toml_skip_lines(r))
			return -1;
		if (r->at == r->end)
			return 0;
		if (*r->at == '[') {
			b->sections++;
			table = take_header(b, root);
			if (!table)
				return -1;
		} else if (take_pair(b, table, b->sections) || toml_end_of_line(r, "after a value; begin a new line")) {
			return -1;
		}
	}
}

struct toml *toml_parse(const char *name, const char *text, size_t n, struct error *e)
{
	struct builder b = { .r = { .name = name, .at = text, .end = text + n, .line_start = text, .line = 1,
				    .e = e } };
	struct node *root;
	int status;

	if (n > TOML_CAP) {
		fail(e, EXIT_USAGE, "%s: %zu bytes are more than a configuration file may have (%u); check the path",
		     name, n, TOML_CAP);
		return NULL;
	}
	if (toml_starts(&b.r, "\xef\xbb\xbf"))          /* Windows editors put a byte order mark here */
		b.r.line_start = b.r.at += 3;
	b.map = map_new(64);
	root = new_node(&b, NULL, TOML_TABLE, BY_HEADER);
	status = toml_check_utf8(b.r) || take_document(&b, root);
	map_free(b.map);
	free(b.node);
	buffer_free(&b.text);
	if (!status)
		return &root->t;
	toml_free(&root->t);
	kind_tell(name, text, n, "a TOML file", "a TOML file", e);
	return NULL;
}

int toml_file_text(const char *path, struct buffer *text, struct error *e)
{
	if (read_file(path, TOML_CAP, text, e))
		return -1;
	/* TOML knows no CR alone; but where no line ends otherwise, the file is an old Macintosh's. */
	if (text->len && !memchr(text->data, '\n', text->len))
		text->len = lines_unify(text->data, text->len);
	buffer_adds(text, "");
	return 0;
}

struct toml *toml_read(const char *path, struct error *e)
{
	struct buffer text = { 0 };
	struct toml *t = toml_file_text(path, &text, e) ? NULL : toml_parse(path, text.data, text.len, e);

	buffer_free(&text);
	return t;
}

void toml_free(struct toml *t)
{
	if (!t)
		return;
	while (t->child) {
		struct toml *next = t->child->next;
		toml_free(t->child);
		t->child = next;
	}
	free(t->text);
	free(((struct node *)t)->name);
	free(t);
}

const struct toml *toml_get(const struct toml *table, const char *key)
{
	for (const struct toml *t = table->child; t; t = t->next)
		if (t->key && !strcmp(t->key, key))
			return t;
	return NULL;
}
