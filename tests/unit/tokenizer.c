/* The tokenizer against Hugging Face's ids. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/utf8.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/model/tokenizer_parts.h"
#include "../../libcommon/model/unicode.h"
#include <cmocka.h>             /* last: its fail() is a macro */

#define CLIP "tests/golden/clip-bpe"
#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))

/* ---- a folder with a tokenizer of a few tokens ---- */

#define VOCAB "{\"a\": 3, \"b\": 4, \"a</w>\": 5, \"b</w>\": 6, \"ab\": 7, \"ab</w>\": 8, \"aab</w>\": 12, " \
	      "\"aa\": 9, \"<S>\": 10, \"<E>\": 11}"
#define MERGES "#version: 0.2\na b\r\n\na b</w>\na ab</w>\na a\n"
#define CONFIG "{\"bos_token\": \"<S>\", \"eos_token\": {\"content\": \"<E>\", \"normalized\": false}, " \
	       "\"pad_token\": \"a\", \"unk_token\": null, \"model_max_length\": 9}"

static void put(const char *folder, const char *name, const char *text)
{
	char *path = path_join(folder, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	free(path);
}

static char folder[64];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/tokenizer-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
					     "special_tokens_map.json" };

	for (int i = 0; i < COUNT(names); i++) {
		char *path = path_join(folder, names[i]);
		unlink(path);
		free(path);
	}
	return rmdir(folder);
}

static void put_small(void)
{
	put(folder, "vocab.json", VOCAB);
	put(folder, "merges.txt", MERGES);
	put(folder, "tokenizer_config.json", CONFIG);
}

static struct tokenizer *opened(const char *where)
{
	struct error e = { 0 };
	struct tokenizer *t = tokenizer_open(where, &e);

	if (!t)
		fail_msg("%s", e.text);
	return t;
}

static void gives(const struct tokenizer *t, const char *text, const int32_t *want, int count)
{
	int32_t ids[77];
	struct error e = { 0 };
	int n = tokenizer_encode(t, text, 77, ids, NULL, &e);

	if (n != count || memcmp(ids, want, count * sizeof(*ids))) {
		fprintf(stderr, "\"%s\":", text);
		for (int i = 0; i < n; i++)
			fprintf(stderr, " %d", ids[i]);
		fail_msg("%d ids, %d expected, or other ones", n, count);
	}
}
#define GIVES(t, text, ...) do { \
	const int32_t want[] = { __VA_ARGS__ }; \
	gives(t, text, want, COUNT(want)); \
} while (0)

static void refuses(const char *part)
{
	struct error e = { 0 };
	struct tokenizer *t = tokenizer_open(folder, &e);

	assert_null(t);
	assert_int_equal(e.code, EXIT_INPUT);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" says nothing of \"%s\"", e.text, part);
}

/* ---- CLIP's own vocabulary ---- */

static void same_ids(const struct tokenizer *t, const char *line, size_t n, int number)
{
	struct error e = { 0 };
	json_t *record = json_parse("captions.jsonl", line, n, &e), *ids;
	int32_t got[77];
	int count;

	assert_non_null(record);
	ids = json_object_get(record, "ids");
	count = tokenizer_encode(t, json_string_value(json_object_get(record, "text")), 77, got, NULL, &e);
	if (count != (int)json_array_size(ids))
		fail_msg("line %d: %d ids, %zu expected", number, count, json_array_size(ids));
	for (int i = 0; i < count; i++)
		if (got[i] != json_integer_value(json_array_get(ids, i)))
			fail_msg("line %d: id %d is %d", number, i, got[i]);
	json_decref(record);
}

static void same_captions(struct tokenizer *t)
{
	struct buffer file = { 0 };
	struct error e = { 0 };
	int lines = 0;

	assert_int_equal(read_file(CLIP "/captions.jsonl", 1 << 24, &file, &e), 0);
	for (char *s = file.data, *end; (end = strchr(s, '\n')); s = end + 1)
		same_ids(t, s, end - s, ++lines);
	assert_int_equal(lines, 1600);
	buffer_free(&file);
	tokenizer_free(t);
}

static struct tokenizer *built_in(void)
{
	struct error e = { 0 };

	return tokenizer_open_clip(&e);
}

static void every_caption(void **state)
{
	same_captions(opened(CLIP));
}

static void every_caption_built_in(void **state)
{
	same_captions(built_in());
}

/* A pair of the program's against a line of merges.txt, by the ids that vocab.json gives its two tokens. */
static void same_merge(json_t *vocabulary, char *line, int rank)
{
	const unsigned char *pair = clip_merges + rank * BPE_PAIR;
	const char *left = strtok(line, " "), *right = strtok(NULL, " ");

	assert_non_null(right);
	if (json_integer_value(json_object_get(vocabulary, left)) != (pair[0] | pair[1] << 8) ||
	    json_integer_value(json_object_get(vocabulary, right)) != (pair[2] | pair[3] << 8))
		fail_msg("merge %d is not \"%s\" and \"%s\"", rank, left, right);
}

static void built_in_merges(void **state)
{
	struct buffer file = { 0 };
	struct error e = { 0 };
	json_t *vocabulary = json_read(CLIP "/vocab.json", 1 << 24, &e);
	int rank = 0;

	assert_non_null(vocabulary);
	assert_int_equal(read_file(CLIP "/merges.txt", 1 << 24, &file, &e), 0);
	for (char *s = strchr(file.data, '\n') + 1, *end; (end = strchr(s, '\n')); s = end + 1) {
		*end = 0;
		assert_true(rank < CLIP_MERGES);
		same_merge(vocabulary, s, rank++);
	}
	assert_int_equal(rank, CLIP_MERGES);
	buffer_free(&file);
	json_decref(vocabulary);
}

/* Every byte, inside a word and at its end: captions have few that are no letters. */
static void built_in_bytes(void **state)
{
	struct tokenizer *a = opened(CLIP), *b = built_in();

	for (int byte = 0; byte < 256; byte++) {
		char word[2] = { (char)byte, (char)byte };
		int32_t one[2], two[2];
		size_t n = bpe_word(a->bpe, word, 2, one);

		assert_int_equal(bpe_word(b->bpe, word, 2, two), n);
		assert_memory_equal(one, two, n * sizeof(*one));
		assert_int_equal(bpe_word(a->bpe, word, 1, one), bpe_word(b->bpe, word, 1, two));
		assert_int_equal(one[0], two[0]);
	}
	tokenizer_free(a);
	tokenizer_free(b);
}

/* Ids by transformers 5.24, tokenizers 0.23. */
static void special_ids(struct tokenizer *t)
{
	GIVES(t, "", 49406, 49407);
	GIVES(t, " \t\n\xe3\x80\x80", 49406, 49407);
	GIVES(t, "hello!", 49406, 3306, 256, 49407);
	GIVES(t, "a<|endoftext|>b", 49406, 320, 49407, 321, 49407);
	GIVES(t, "a<|ENDOFTEXT|>!!", 49406, 320, 27, 347, 40786, 4160, 91, 285, 748, 49407);
	GIVES(t, "!!<|ENDOFTEXT|>!! x", 49406, 1443, 27, 347, 40786, 4160, 91, 29, 748, 343, 49407);
	GIVES(t, "<|startoftext|>!\xe2\x84\xaa<|EndOfText|>", 49406, 49406, 256, 330, 27, 347, 40786, 4160, 91, 285,
	      49407);
	tokenizer_free(t);
}

static void special_tokens_in_text(void **state)
{
	special_ids(opened(CLIP));
	special_ids(built_in());
}

static void has_defaults(struct tokenizer *t)
{
	assert_int_equal(tokenizer_bos(t), 49406);
	assert_int_equal(tokenizer_eos(t), 49407);
	assert_int_equal(tokenizer_pad(t), 49407);
	assert_false(tokenizer_pad_known(t));
	assert_int_equal(tokenizer_length(t), 77);
	assert_int_equal(tokenizer_vocab_size(t), 49408);
	tokenizer_set_pad(t, 0);
	assert_int_equal(tokenizer_pad(t), 0);
	tokenizer_free(t);
}

static void defaults_without_configs(void **state)
{
	has_defaults(opened(CLIP));
	has_defaults(built_in());
}

static void cut_and_padding(void **state)
{
	struct tokenizer *t = opened(CLIP);
	struct error e = { 0 };
	int32_t ids[77];
	int whole;

	assert_int_equal(tokenizer_encode(t, "a a a a", 4, ids, &whole, &e), 4);
	assert_int_equal(ids[0], 49406);
	assert_int_equal(ids[2], 320);
	assert_int_equal(ids[3], 49407);
	assert_int_equal(whole, 6);
	assert_int_equal(tokenizer_encode(t, "a a a a", 2, ids, NULL, &e), 2);
	assert_int_equal(ids[1], 49407);
	tokenizer_set_pad(t, 0);
	assert_int_equal(tokenizer_encode_padded(t, "a", 77, ids, &e), 0);
	assert_int_equal(ids[2], 49407);
	for (int i = 3; i < 77; i++)
		assert_int_equal(ids[i], 0);
	tokenizer_free(t);
}

static void bad_utf8(void **state)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "abc\xff", "byte 3 (0xff)" }, { "\x80", "byte 0" }, { "a\xc3", "byte 1" }, { "\xc0\xaf", "byte 0" },
		{ "ok \xed\xa0\x80", "byte 3" }, { "\xf4\x90\x80\x80", "byte 0" }, { "\xe0\x9f\xbf", "byte 0" },
		{ "\xf8\x88\x80\x80\x80", "byte 0" },
	};
	struct tokenizer *t = opened(CLIP);
	int32_t ids[77];

	for (int i = 0; i < COUNT(cases); i++) {
		struct error e = { 0 };
		assert_int_equal(tokenizer_encode(t, cases[i].text, 77, ids, NULL, &e), -1);
		assert_int_equal(e.code, EXIT_INPUT);
		assert_non_null(strstr(e.text, cases[i].says));
	}
	tokenizer_free(t);
}

/* Seconds if the time is n log n, an hour if it is quadratic. */
static void word_of_a_megabyte(void **state)
{
	struct tokenizer *t = opened(CLIP);
	size_t n = 1 << 20;
	char *text = xmalloc(n + 1);
	struct error e = { 0 };
	int32_t ids[77];
	int whole;

	for (size_t i = 0; i < n; i++)
		text[i] = (char)('a' + i % 26);
	text[n] = 0;
	assert_int_equal(tokenizer_encode(t, text, 77, ids, &whole, &e), 77);
	assert_in_range(whole, n / 26, n);
	free(text);
	tokenizer_free(t);
}

/* ---- small vocabularies ---- */

static void small_vocabulary(void **state)
{
	struct tokenizer *t;

	put_small();
	t = opened(folder);
	assert_int_equal(tokenizer_bos(t), 10);
	assert_int_equal(tokenizer_eos(t), 11);
	assert_int_equal(tokenizer_pad(t), 3);
	assert_true(tokenizer_pad_known(t));
	assert_int_equal(tokenizer_length(t), 9);
	assert_int_equal(tokenizer_vocab_size(t), 13);
	GIVES(t, "aab", 10, 12, 11);
	GIVES(t, "aaab B", 10, 3, 12, 6, 11);
	GIVES(t, "aba", 10, 7, 5, 11);
	GIVES(t, "aaa", 10, 9, 5, 11);
	GIVES(t, "a", 10, 5, 11);
	/* x is unknown: the EOS, which is unk_token where nothing else is named */
	GIVES(t, "axb", 10, 3, 11, 6, 11);
	GIVES(t, "<E>b<S>", 10, 11, 6, 10, 11);
	GIVES(t, "<e>", 10, 11, 11, 11, 11);
	tokenizer_free(t);
}

static void normalized_specials_match_any_case(void **state)
{
	struct tokenizer *t;

	put(folder, "vocab.json", "{\"a</w>\": 0, \"<s>\": 1, \"<e>\": 2}");
	put(folder, "merges.txt", "");
	put(folder, "special_tokens_map.json", "{\"bos_token\": {\"content\": \"<s>\", \"normalized\": true}, "
					       "\"eos_token\": \"<e>\"}");
	t = opened(folder);
	GIVES(t, "a<S>a<s>", 1, 0, 1, 0, 1, 2);
	GIVES(t, "<E>", 1, 2, 2, 2, 2);         /* three unknown bytes */
	tokenizer_free(t);
}

static void tokenizer_json_alone(void **state)
{
	static const char *const merges[] = { "[\"a b</w>\", \"a ab</w>\"]",
					      "[[\"a\", \"b</w>\"], [\"a\", \"ab</w>\"]]" };

	for (int i = 0; i < COUNT(merges); i++) {
		char *text = xprintf("{\"model\": {\"type\": \"BPE\", \"vocab\": " VOCAB ", \"merges\": %s}}",
				     merges[i]);
		struct tokenizer *t;

		put(folder, "tokenizer_config.json", CONFIG);
		put(folder, "tokenizer.json", text);
		free(text);
		t = opened(folder);
		GIVES(t, "aab", 10, 12, 11);
		tokenizer_free(t);
	}
}

static void damaged_folders(void **state)
{
	static const struct { const char *vocab, *merges, *says; } cases[] = {
		{ VOCAB, "a b\nab\n", "merges.txt:2: not two tokens" },
		{ VOCAB, "#version\na b c\n", "merges.txt:2: not two tokens" },
		{ VOCAB, "a b\nb a\n", "merges.txt:2: the merge of \"b\" and \"a\" is not in the vocabulary" },
		{ VOCAB, "a z\n", "merges.txt:1: the merge" },
		{ "{\"a\": -1}", "", "vocab.json: token \"a\" has no id" },
		{ "{\"a\": \"1\"}", "", "vocab.json: token \"a\" has no id" },
		{ "{\"a\": 99999999999}", "", "vocab.json: token \"a\" has no id" },
		{ "{\"a\": 1}", "", "no token \"<S>\" (bos_token)" },
		{ "[1]", "", "vocab.json: no vocabulary" },
		{ "{\"a\": 1", "", "vocab.json" },
	};

	refuses("no tokenizer here");
	put(folder, "tokenizer_config.json", CONFIG);
	for (int i = 0; i < COUNT(cases); i++) {
		put(folder, "vocab.json", cases[i].vocab);
		put(folder, "merges.txt", cases[i].merges);
		refuses(cases[i].says);
	}
	put(folder, "tokenizer_config.json", "{");
	refuses("tokenizer_config.json");
}

/* ---- characters ---- */

static void nfc(const uint32_t *in, size_t n, const uint32_t *want, size_t want_n)
{
	size_t count;
	uint32_t *out = unicode_nfc(in, n, &count);

	assert_int_equal(count, want_n);
	assert_memory_equal(out, want, want_n * sizeof(*want));
	free(out);
}
#define NFC(in, want) nfc(in, sizeof(in) / 4 - 1, want, sizeof(want) / 4 - 1)

static void composition(void **state)
{
	NFC(U"e\u0301", U"\u00e9");
	NFC(U"q\u0307\u0323", U"q\u0323\u0307");                /* canonical order */
	NFC(U"s\u0323\u0307", U"\u1e69");
	NFC(U"a\u0327\u0301", U"\u00e1\u0327");                 /* a mark of another class does not block */
	NFC(U"a\u0305\u0301", U"a\u0305\u0301");                /* one of the same class does */
	NFC(U"\u1112\u1161\u11ab", U"\ud55c");
	NFC(U"\ud558\u11ab", U"\ud55c");
	NFC(U"\u212b\u2126", U"\u00c5\u03a9");
	NFC(U"\u0958", U"\u0915\u093c");                        /* excluded from composition */
	NFC(U"\u0301\u0301", U"\u0301\u0301");                  /* no starter */
	/* the reference's NFC does not know this mark of Unicode 14 */
	NFC(U"x\u0345\u1ac1", U"x\u0345\u1ac1");
	NFC(U"", U"");
}

static void classes_and_lower_case(void **state)
{
	uint32_t lower[2];

	assert_int_equal(unicode_class('z'), UNICODE_LETTER);
	assert_int_equal(unicode_class(0x4e00), UNICODE_LETTER);
	assert_int_equal(unicode_class(0x2ebf0), UNICODE_LETTER);
	assert_int_equal(unicode_class(0x00bd), UNICODE_NUMBER);
	assert_int_equal(unicode_class(0x2028), UNICODE_SPACE);
	assert_int_equal(unicode_class(0x200b), UNICODE_OTHER);
	assert_int_equal(unicode_class(0x0301), UNICODE_OTHER);
	assert_int_equal(unicode_class(0x10ffff), UNICODE_OTHER);
	assert_int_equal(unicode_lower(0x3a3, lower), 1);
	assert_int_equal(lower[0], 0x3c3);
	assert_int_equal(unicode_lower(0x101, lower), 1);       /* a small letter between two capitals of one range */
	assert_int_equal(lower[0], 0x101);
	assert_int_equal(unicode_lower(0x130, lower), 2);
	assert_int_equal(lower[0], 'i');
	assert_int_equal(lower[1], 0x307);
}

static void utf8_round_trip(void **state)
{
	static const uint32_t codes[] = { 1, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff };
	uint32_t back;
	char bytes[4];

	for (int i = 0; i < COUNT(codes); i++) {
		size_t n = utf8_encode(codes[i], bytes);
		assert_int_equal(utf8_read(bytes, n, &back), n);
		assert_int_equal(back, codes[i]);
		assert_int_equal(utf8_read(bytes, n - 1, &back), 0);
	}
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_caption),
		cmocka_unit_test(every_caption_built_in),
		cmocka_unit_test(built_in_merges),
		cmocka_unit_test(built_in_bytes),
		cmocka_unit_test(special_tokens_in_text),
		cmocka_unit_test(defaults_without_configs),
		cmocka_unit_test(cut_and_padding),
		cmocka_unit_test(bad_utf8),
		cmocka_unit_test(word_of_a_megabyte),
		IN_FOLDER(small_vocabulary),
		IN_FOLDER(normalized_specials_match_any_case),
		IN_FOLDER(tokenizer_json_alone),
		IN_FOLDER(damaged_folders),
		cmocka_unit_test(composition),
		cmocka_unit_test(classes_and_lower_case),
		cmocka_unit_test(utf8_round_trip),
	};

	return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
