/*
 * TOML: our own table of what is read and what is refused where, and the 334 cases of the toml-test suite that Debian's
 * golang-github-burntsushi-toml-dev carries (valid ones with their meaning as tagged JSON).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fts.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/toml.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

#define SUITE "/usr/share/gocode/src/github.com/BurntSushi/toml/internal/toml-test/tests"
#define VALID_CASES 100
#define INVALID_CASES 234

static struct toml *parse(const char *text, struct error *e)
{
	return toml_parse("f.toml", text, strlen(text), e);
}

/* ---- our own cases ---- */

static const struct { const char *text, *say; } refused[] = {
	{ "a = 1\nb == 2\n", "f.toml:2: column 4: a value is missing" },
	{ "a 1", "f.toml:1: column 3: no '=' after 'a'; write a = VALUE" },
	{ "a = \n", "f.toml:1: column 5: a value is missing" },
	{ "a = 1 b = 2", "f.toml:1: column 7: unexpected 'b' after a value; begin a new line" },
	{ "a = 1\na = 2", "f.toml:2: column 1: 'a' was given in line 1 already" },
	{ "a = { b = 1, b = 2 }", "f.toml:1: column 14: 'b' is given twice in this line" },
	{ "[a]\n[b]\n[a]\n", "f.toml:3: column 2: 'a' was given in line 1 already" },
	{ "[a\n", "f.toml:1: column 3: the table's name is not closed; write ]" },
	{ "[[a]\n", "f.toml:1: column 4: the table's name is not closed; write ]]" },
	{ "[a] x = 1\n", "f.toml:1: column 5: unexpected 'x' after a table's name" },
	{ "[a.b]\n[a]\nb.c = 1\n", "f.toml:3: column 1: 'b' was finished in line 1 already" },
	{ "a.b = 1\n[a]\n", "f.toml:2: column 2: 'a' was given in line 1 already" },
	{ "a = 1\n[a.b]\n", "f.toml:2: column 2: 'a' is a value since line 1" },
	{ "a = []\n[[a]]\n", "f.toml:2: column 3: 'a' was given in line 1 already" },
	{ "a = {}\na.b = 1\n", "f.toml:2: column 1: 'a' was finished in line 1 already" },
	{ "a = \"x\n", "f.toml:1: column 5: this string is not closed; add a \" before" },
	{ "a = 'x\n", "f.toml:1: column 5: this string is not closed; add a ' before" },
	{ "a = \"\"\"x\n\ny", "f.toml:3: column 2: the string that begins in line 1 is not closed" },
	{ "p = \"C:\\pictures\"", "f.toml:1: column 8: unknown escape '\\p'; write \\\\" },
	{ "p = \"C:\\users\"", "f.toml:1: column 8: \\u needs 4 hexadecimal digits" },
	{ "p = \"\\ud800\"", "f.toml:1: column 6: U+D800 is not a character" },
	{ "p = \"a\001\"", "f.toml:1: column 7: control character 0x01 in a string" },
	{ "# a\001\n", "f.toml:1: column 4: control character 0x01 in a comment" },
	{ "a = 1\n\xc3\xa9 = 2\n", "f.toml:2: column 1: a key is missing here" },
	{ "\"\xc3\xa9\xc3\xa9\" = 2 x\n", "f.toml:1: column 10: unexpected 'x'" },
	{ "a = 1 \xc3\xa9\n", "f.toml:1: column 7: unexpected '\xc3\xa9'" },
	{ "a = '\xff'\n", "f.toml:1: column 6: byte 0xff is not UTF-8" },
	{ "a = '\xed\xa0\x80'\n", "f.toml:1: column 6: byte 0xed is not UTF-8" },
	{ "a = 012\n", "f.toml:1: column 5: '012' begins with 0" },
	{ "a = 1__0\n", "f.toml:1: column 5: '1__0' is not a value" },
	{ "a = 1.\n", "f.toml:1: column 5: '1.' is not a value" },
	{ "a = .5\n", "f.toml:1: column 5: '.5' is not a value" },
	{ "a = 9223372036854775808\n", "f.toml:1: column 5: '9223372036854775808' does not fit 64 bits with a sign" },
	{ "a = True\n", "f.toml:1: column 5: 'True' has capitals; write true" },
	{ "a = fp16\n", "f.toml:1: column 5: 'fp16' is not a value; put text in quotes" },
	{ "a = 2026-02-30\n", "f.toml:1: column 5: '2026-02-30' is not a date or time that exists" },
	{ "a = [1 2]\n", "f.toml:1: column 8: unexpected '2' in an array" },
	{ "a = [1,\n2\n", "f.toml:3: column 1: the array that begins in line 1 is not closed" },
	{ "a = { b = 1,\n c = 2 }\n", "f.toml:1: column 13: a key is missing here" },
	{ "\"\"\"a\"\"\" = 1\n", "f.toml:1: column 1: a key cannot be a string of several lines" },
	{ "\"a\\u0000\" = 1\n", "f.toml:1: column 1: a key with a NUL character" },
	{ "a = 1\rb = 2\n", "f.toml:1: column 6: unexpected '\r' after a value" },
};

static void refusals_name_place_and_remedy(void **state)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		struct error e = { 0 };
		struct toml *t = parse(refused[i].text, &e);

		if (t || strncmp(e.text, refused[i].say, strlen(refused[i].say)) || !strchr(e.text, ';'))
			fail_msg("case %zu: wanted '%s...; ...', got '%s'", i, refused[i].say, t ? "a table" : e.text);
		assert_int_equal(e.code, EXIT_USAGE);
	}
}

static void positions_are_remembered(void **state)
{
	struct error e = { 0 };
	struct toml *t = parse("\xef\xbb\xbf# comment\r\n[train]\r\n  \xc3\xa9t.rank = 1\r\n"
			       "\"\xc3\xa9t\xc3\xa9\" = [\r\n 10, # ten\r\n   20 ]\r\n", &e);

	assert_null(t);         /* a bare key is ASCII */
	t = parse("\xef\xbb\xbf# comment\r\n[train]\r\n  et.rank = 1\r\n\"\xc3\xa9\" = [\r\n 10, # ten\r\n   20 ]\r\n",
		  &e);
	assert_non_null(t);
	const struct toml *train = toml_get(t, "train"), *list = toml_get(train, "\xc3\xa9");
	const struct toml *rank = toml_get(toml_get(train, "et"), "rank");
	assert_int_equal(train->line, 2);
	assert_int_equal(train->column, 2);
	assert_int_equal(rank->line, 3);
	assert_int_equal(rank->column, 6);
	assert_int_equal(list->line, 4);
	assert_true(list->inline_value);
	assert_false(train->inline_value);
	assert_int_equal(list->child->line, 5);
	assert_int_equal(list->child->column, 2);
	assert_int_equal(list->child->next->line, 6);
	assert_int_equal(list->child->next->column, 4);
	toml_free(t);
}

static void values_keep_their_order_and_exact_bits(void **state)
{
	struct error e = { 0 };
	struct toml *t = parse("z = 1e-4\na = -0x0\n", &e);
	assert_null(t);         /* no sign before 0x */
	t = parse("z = 1e-4\nm = -9223372036854775808\na = 0xDEAD_BEEF\ns = 'a\\b'\nn = \"a\\u0000b\"\n", &e);
	assert_non_null(t);
	assert_string_equal(t->child->key, "z");
	assert_true(toml_get(t, "z")->number == 1e-4);
	assert_true(toml_get(t, "m")->integer == INT64_MIN);
	assert_true(toml_get(t, "a")->integer == 0xdeadbeef);
	assert_true(toml_get(t, "a")->number == 3735928559.0);
	assert_string_equal(toml_get(t, "s")->text, "a\\b");
	assert_int_equal(toml_get(t, "n")->length, 3);
	assert_null(toml_get(t, "b"));
	toml_free(t);
}

static void check_nesting(const char *open, const char *close, int depth, bool accepted)
{
	struct buffer b = { 0 };
	struct error e = { 0 };
	struct toml *t;

	buffer_adds(&b, "a = ");
	for (int i = 0; i < depth; i++)
		buffer_adds(&b, open);
	buffer_adds(&b, "1");
	for (int i = 0; i < depth; i++)
		buffer_adds(&b, close);
	t = toml_parse("f.toml", b.data, b.len, &e);
	assert_int_equal(t != NULL, accepted);
	if (!t)
		assert_non_null(strstr(e.text, "nested more than 64 deep; flatten it"));
	toml_free(t);
	buffer_free(&b);
}

static void depth_and_size_are_capped(void **state)
{
	struct buffer b = { 0 };
	struct error e = { 0 };

	check_nesting("[", "]", 63, true);
	check_nesting("[", "]", 64, false);
	check_nesting("[", "]", 100000, false);
	check_nesting("{ x = ", "}", 64, false);
	for (int i = 0; i < 70; i++)
		buffer_adds(&b, i ? ".a" : "a");
	buffer_adds(&b, " = 1");
	assert_null(toml_parse("f.toml", b.data, b.len, &e));
	assert_non_null(strstr(e.text, "nested more than 64 deep"));
	buffer_clear(&b);
	buffer_adds(&b, "a = [");
	for (int i = 0; i < 1000001; i++)
		buffer_adds(&b, "1,");
	assert_null(toml_parse("f.toml", b.data, b.len, &e));
	assert_non_null(strstr(e.text, "more than 1000000 values"));
	buffer_free(&b);
	char *big = xmalloc((16u << 20) + 1);
	memset(big, ' ', (16u << 20) + 1);
	struct toml *t = toml_parse("f.toml", big, 16u << 20, &e);
	assert_non_null(t);
	toml_free(t);
	assert_null(toml_parse("f.toml", big, (16u << 20) + 1, &e));
	free(big);
}

/* Every prefix of a text that uses everything: no read past the end (the copy has no NUL), no crash. */
static void cut_files_are_refused_or_read(void **state)
{
	static const char text[] = "# c\n[a.b]\nc = [ 1, { d.e = 'x' } ] # d\ns = \"\"\"a\\\n  b\\u00e9\"\"\"\n"
				   "t = '''\n''''\n"
				   "[[l]]\nd = 1979-05-27 07:32:00.5+01:00\nf = -1_0.5e+3\ni = inf\nx = 0x1F\n"
				   "q.\"r\" = true\n";
	size_t readable = 0;

	for (size_t n = 0; n < sizeof(text); n++) {
		struct error e = { 0 };
		char *copy = xmalloc(n);
		memcpy(copy, text, n);
		struct toml *t = toml_parse("f.toml", copy, n, &e);
		if (!t)
			assert_int_equal(e.code, EXIT_USAGE);
		readable += t != NULL;
		toml_free(t);
		free(copy);
	}
	assert_true(readable > 20 && readable < sizeof(text));
}

/* ---- the toml-test suite ---- */

static const char *datetime_type(const char *s)
{
	size_t n = strlen(s);

	if (n < 10 || s[4] != '-')
		return "time-local";
	if (n == 10)
		return "date-local";
	return strpbrk(s + 11, "Zz+-") ? "datetime" : "datetime-local";
}

/* One spelling for one moment: capital letters, T between date and time, no zeros at the end of a fraction. */
static char *normal_datetime(const char *s)
{
	struct buffer b = { 0 };
	bool fraction = false;

	for (; *s; s++) {
		char c = *s == ' ' || *s == 't' ? 'T' : *s == 'z' ? 'Z' : *s;
		if (fraction && (c < '0' || c > '9')) {
			while (b.data[b.len - 1] == '0')
				b.len--;
			if (b.data[b.len - 1] == '.')
				b.len--;
			fraction = false;
		}
		fraction |= c == '.';
		buffer_add(&b, &c, 1);
	}
	while (fraction && (b.data[b.len - 1] == '0' || b.data[b.len - 1] == '.'))
		b.len--;
	b.data[b.len] = 0;
	return buffer_steal(&b);
}

/* The suite's JSON compares values: it does not tell -nan from nan, nor -0 from 0. */
static void print_float(char *text, size_t size, double d)
{
	snprintf(text, size, "%.17g", isnan(d) ? NAN : d + 0.0);
}

static json_t *tagged(const char *type, const char *value)
{
	return json_pack("{s:s, s:s}", "type", type, "value", value);
}

static json_t *dump(const struct toml *t)
{
	char text[64];
	json_t *j, *s;
	char *moment;

	switch (t->kind) {
	case TOML_TABLE:
		j = json_object();
		for (const struct toml *c = t->child; c; c = c->next)
			json_object_set_new(j, c->key, dump(c));
		return j;
	case TOML_ARRAY:
		j = json_array();
		for (const struct toml *c = t->child; c; c = c->next)
			json_array_append_new(j, dump(c));
		return j;
	case TOML_STRING:
		j = tagged("string", "");
		s = json_stringn(t->text, t->length);
		json_object_set_new(j, "value", s);
		return j;
	case TOML_INTEGER:
		snprintf(text, sizeof(text), "%lld", (long long)t->integer);
		return tagged("integer", text);
	case TOML_FLOAT:
		print_float(text, sizeof(text), t->number);
		return tagged("float", text);
	case TOML_BOOLEAN:
		return tagged("bool", t->boolean ? "true" : "false");
	case TOML_DATETIME:
		moment = normal_datetime(t->text);
		j = tagged(datetime_type(t->text), moment);
		free(moment);
		return j;
	}
	return NULL;
}

/* Bring numbers and moments of the expected JSON into the spelling that dump() uses. */
static void normalise(json_t *j)
{
	const char *key, *type = json_string_value(json_object_get(j, "type"));
	const char *value = json_string_value(json_object_get(j, "value"));
	json_t *child;
	size_t i;

	if (type && value && json_object_size(j) == 2) {
		char text[64];
		char *moment = NULL;
		if (!strcmp(type, "float")) {
			print_float(text, sizeof(text), strtod(value, NULL));
			json_object_set_new(j, "value", json_string(text));
		} else if (strstr(type, "date") || strstr(type, "time")) {
			moment = normal_datetime(value);
			json_object_set_new(j, "value", json_string(moment));
		}
		free(moment);
		return;
	}
	json_object_foreach(j, key, child)
		normalise(child);
	json_array_foreach(j, i, child)
		normalise(child);
}

static void check_valid(const char *path)
{
	char *json_path = xprintf("%.*s.json", (int)strlen(path) - 5, path);
	json_error_t problem;
	json_t *want = json_load_file(json_path, JSON_ALLOW_NUL, &problem);
	struct error e = { 0 };
	struct toml *t = toml_read(path, &e);
	json_t *got = t ? dump(t) : NULL;

	if (!want)
		fail_msg("%s: %s", json_path, problem.text);
	if (!t)
		fail_msg("refused: %s", e.text);
	normalise(want);
	if (!json_equal(want, got)) {
		json_dumpf(want, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
		json_dumpf(got, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
		fail_msg("%s: read as something else (wanted first, then what was read)", path);
	}
	json_decref(want);
	json_decref(got);
	toml_free(t);
	free(json_path);
}

static void check_invalid(const char *path)
{
	struct error e = { 0 };
	struct toml *t = toml_read(path, &e);
	size_t n = strlen(path);

	if (t)
		fail_msg("%s: accepted, and is invalid", path);
	if (strncmp(e.text, path, n) || e.text[n] != ':' || atoi(e.text + n + 1) < 1 || !strstr(e.text, ": column "))
		fail_msg("%s: the message has no place: %s", path, e.text);
}

static int for_each_toml(const char *folder, void (*check)(const char *))
{
	char *roots[] = { (char *)folder, NULL };
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *f;
	int count = 0;

	while ((f = fts_read(walk))) {
		size_t n = f->fts_namelen;
		if (f->fts_info != FTS_F || n < 5 || strcmp(f->fts_name + n - 5, ".toml"))
			continue;
		check(f->fts_path);
		count++;
	}
	fts_close(walk);
	return count;
}

static void suite_valid(void **state)
{
	assert_int_equal(for_each_toml(SUITE "/valid", check_valid), VALID_CASES);
}

static void suite_invalid(void **state)
{
	assert_int_equal(for_each_toml(SUITE "/invalid", check_invalid), INVALID_CASES);
}

int main(void)
{
	const struct CMUnitTest own[] = {
		cmocka_unit_test(refusals_name_place_and_remedy),
		cmocka_unit_test(positions_are_remembered),
		cmocka_unit_test(values_keep_their_order_and_exact_bits),
		cmocka_unit_test(depth_and_size_are_capped),
		cmocka_unit_test(cut_files_are_refused_or_read),
	};
	const struct CMUnitTest suite[] = {
		cmocka_unit_test(suite_valid),
		cmocka_unit_test(suite_invalid),
	};
	int failed = cmocka_run_group_tests_name("toml", own, NULL, NULL);

	if (access(SUITE, R_OK)) {
		printf("toml-test suite: skipped: package golang-github-burntsushi-toml-dev not installed\n");
		return failed;
	}
	return failed + cmocka_run_group_tests_name("toml-test suite", suite, NULL, NULL);
}
