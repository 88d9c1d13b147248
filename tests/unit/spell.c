/* Text of any script in ASCII. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include "../../libcommon/base/utf8.h"
#include "../../libcommon/sample/spell.h"
#include <cmocka.h>     /* last: it takes the name fail */

static void scripts_become_ascii(void **state)
{
	static const struct { const char *text, *spelled; } cases[] = {
		{ "a big robot ~ 100 %", "a big robot ~ 100 %" },
		{ "größe, naïve, Łódź, Ærø, œuvre, ﬂ", "grosse, naive, Lodz, AEro, oeuvre, \\ufb02" },
		{ "“quoted” – it’s…", "\"quoted\" - it's..." },
		{ "e\u0301te\u0301", "ete" },
		{ "Việt Nam", "Viet Nam" },
		{ "Ρομπότ και ψάρι", "Rompot kai psari" },
		{ "Маленький робот, щука, Ёж, Київ", "Malenkiy robot, shchuka, Yozh, Kiyiv" },
		{ "שלום", "shlvm" },
		{ "روبوت؟", "rwbwt?" },
		{ "ロボット、ガラス ﾟ", "robotsuto,garasu \\uff9f" },
		{ "ねこ。ヴァ", "neko.vua" },
		{ "로봇 고양이", "robos goyangi" },
		{ "ＡＢＣ！\u3000ｘ", "ABC! x" },
		{ "猫🤖", "\\u732b\\U0001f916" },
		{ "one\ntwo\tthree\u00a0four\u200bfive", "one\ntwo three four" "five" },
		{ "a\xff" "b\xc3", "a\\xffb\\xc3" },
		{ "\x01", "\\u0001" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *s = spell(cases[i].text);
		assert_string_equal(s, cases[i].spelled);
		free(s);
	}
}

/* Whatever comes in, printable ASCII and line ends come out. */
static void every_character_is_spelled(void **state)
{
	for (uint32_t code = 1; code < 0x30000; code++) {
		char text[5] = { 0 }, *s;
		utf8_encode(code, text);
		s = spell(text);
		for (const char *c = s; *c; c++)
			assert_true((*c >= ' ' && *c <= '~') || *c == '\n');
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scripts_become_ascii),
		cmocka_unit_test(every_character_is_spelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
