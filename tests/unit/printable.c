/* What of foreign text reaches a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "../../libcommon/base/print.h"
#include "../../libcommon/base/print.h"
#include "../../libcommon/base/printable.h"
#include "../../libcommon/base/utf8.h"
#include <cmocka.h>

static void shows(const char *in, size_t n, const char *out)
{
	struct buffer b = { 0 };

	buffer_add_printable(&b, in, n);
	assert_string_equal(b.data ? b.data : "", out);
	buffer_free(&b);
}

static void forms(void **state)
{
	shows("", 0, "");
	shows("a b~", 4, "a b~");
	shows("\0\x1b[31m\n\t\r\x7f", 10, "\\x00\\x1b[31m\\x0a\\x09\\x0d\\x7f");
	shows("\xc2\x80\xc2\x9f\xc2\xa0", 6, "\\u0080\\u009f\xc2\xa0");
	shows("\x9b" "31m", 4, "\\x9b31m");                        /* an 8-bit terminal's CSI, no UTF-8 */
	shows("\xe2\x80\xae", 3, "\\u202e");
	shows("\xe2\x80\xa8\xf0\x9f\x98\x80\xc3\xa4", 9, "\xe2\x80\xa8\xf0\x9f\x98\x80\xc3\xa4");
	shows("\xe2\x80", 2, "\\xe2\\x80");                       /* cut within a character */
}

/* Every code point, as a terminal would see it. */
static void nothing_that_commands(void **state)
{
	for (uint32_t c = 0; c < 0x10000; c++) {
		struct buffer b = { 0 };
		char bytes[4];

		if (c >= 0xd800 && c < 0xe000)
			continue;
		buffer_add_printable(&b, bytes, utf8_encode(c, bytes));
		for (size_t at = 0; at < b.len;) {
			const unsigned char *p = (const unsigned char *)b.data + at;
			const size_t length = utf8_length(p, b.len - at);
			assert_true(length);
			assert_false(commands_terminal(utf8_decode(p, length)));
			at += length;
		}
		assert_true(b.len <= PRINTABLE_LONGEST);
		assert_int_equal(b.len == 4 || b.len == 6, commands_terminal(c));
		buffer_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(forms), cmocka_unit_test(nothing_that_commands) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
