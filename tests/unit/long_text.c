/* Captions in chunks: which id stands where, by kohya's rules for both paddings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/long_text.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

enum { LENGTH = 77, BOS = 49406, EOS = 49407, A = 320 };        /* "a</w>" */

static int32_t ids[3 * LENGTH];

static void encode(const struct tokenizer *t, int words, int chunks)
{
	struct buffer text = { 0 };
	struct error e;

	buffer_adds(&text, "");
	for (int i = 0; i < words; i++)
		buffer_adds(&text, "a ");
	assert_int_equal(chunks_encode(t, text.data, chunks, LENGTH, ids, &e), 0);
	buffer_free(&text);
}

/* A chunk: beginning, so many words, and from there up to the last what is given. */
static void expect(int chunk, int words, int after, int filling, int last)
{
	const int32_t *c = ids + chunk * LENGTH;

	assert_int_equal(c[0], BOS);
	for (int i = 1; i < LENGTH; i++) {
		int want = i <= words ? A : i == LENGTH - 1 ? last : i == words + 1 ? after : filling;
		if (c[i] != want)
			fail_msg("chunk %d, place %d: %d, not %d", chunk, i, c[i], want);
	}
}

static void padding_is_the_end(void **state)
{
	struct error e;
	struct tokenizer *t = tokenizer_open_clip(&e);

	encode(t, 80, 2);
	expect(0, 75, 0, 0, EOS);
	expect(1, 5, EOS, EOS, EOS);
	encode(t, 75, 2);
	expect(0, 75, 0, 0, EOS);
	expect(1, 0, EOS, EOS, EOS);
	encode(t, 3, 3);
	expect(0, 3, EOS, EOS, EOS);
	expect(2, 0, EOS, EOS, EOS);
	encode(t, 400, 3);
	for (int i = 0; i < 3; i++)
		expect(i, 75, 0, 0, EOS);
	encode(t, 80, 1);
	expect(0, 75, 0, 0, EOS);
	tokenizer_free(t);
}

static void padding_is_zero(void **state)
{
	struct error e;
	struct tokenizer *t = tokenizer_open_clip(&e);

	tokenizer_set_pad(t, 0);
	encode(t, 80, 2);
	expect(0, 75, 0, 0, EOS);               /* its own end, where the padding would stand */
	expect(1, 5, EOS, 0, 0);
	encode(t, 3, 3);
	expect(0, 3, EOS, 0, 0);
	expect(1, 0, EOS, 0, 0);                /* an empty chunk begins with an end */
	expect(2, 0, EOS, 0, 0);
	encode(t, 75, 2);
	expect(0, 75, 0, 0, EOS);
	expect(1, 0, EOS, 0, 0);
	encode(t, 400, 3);
	for (int i = 0; i < 3; i++)
		expect(i, 75, 0, 0, EOS);
	tokenizer_free(t);
}

/* 74 words, then "(a a a:1.5)": one of the three fills the first chunk, two begin the second;
 * what is behind the last has weight 1. */
static void weights_stand_where_their_words_do(void **state)
{
	struct error e;
	struct tokenizer *t = tokenizer_open_clip(&e);
	struct buffer text = { 0 };
	float weights[2 * LENGTH];
	int32_t plain[2 * LENGTH];

	for (int i = 0; i < 74; i++)
		buffer_adds(&text, "a ");
	buffer_adds(&text, "(a a a:1.5) [a]");
	assert_int_equal(chunks_encode_weighted(t, text.data, 2, LENGTH, ids, weights, &e), 0);
	expect(0, 75, 0, 0, EOS);
	expect(1, 3, EOS, EOS, EOS);
	for (int i = 0; i < 2 * LENGTH; i++)
		assert_float_equal(weights[i], i == 75 || i == LENGTH + 1 || i == LENGTH + 2 ? 1.5f :
				   i == LENGTH + 3 ? 1 / 1.1f : 1, 1e-6);
	/* Cut off with the words; nothing in brackets is the text as it is, \( a bracket. */
	assert_int_equal(chunks_encode_weighted(t, text.data, 1, LENGTH, ids, weights, &e), 0);
	expect(0, 75, 0, 0, EOS);
	for (int i = 0; i < LENGTH; i++)
		assert_float_equal(weights[i], i == 75 ? 1.5f : 1, 0);
	assert_int_equal(chunks_encode(t, "a (red) cat's, 7", 2, LENGTH, plain, &e), 0);
	assert_int_equal(chunks_encode_weighted(t, "a \\(red\\) cat's, 7", 2, LENGTH, ids, weights, &e), 0);
	assert_memory_equal(ids, plain, sizeof(plain));
	assert_int_equal(chunks_encode_weighted(t, "(\xff:2)", 1, LENGTH, ids, weights, &e), -1);
	buffer_free(&text);
	tokenizer_free(t);
}

static void lengths(void **state)
{
	struct error e = { 0 };
	int chunks;

	assert_int_equal(chunks_of(75, &chunks, &e), 0);
	assert_int_equal(chunks_length(chunks, LENGTH), 77);
	assert_int_equal(chunks_of(150, &chunks, &e), 0);
	assert_int_equal(chunks_length(chunks, LENGTH), 152);
	assert_int_equal(chunks_of(225, &chunks, &e), 0);
	assert_int_equal(chunks_length(chunks, LENGTH), 227);
	assert_int_equal(chunks_of(100, &chunks, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(padding_is_the_end), cmocka_unit_test(padding_is_zero),
					    cmocka_unit_test(weights_stand_where_their_words_do),
					    cmocka_unit_test(lengths) };

	return cmocka_run_group_tests_name("long_text", tests, NULL, NULL);
}
