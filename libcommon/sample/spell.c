/* Spelling text in ASCII: tables, and one pass over the text. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/utf8.h"
#include "../model/unicode.h"
#include "spell.h"

/* Words for consecutive characters, from the first one on; "_" stands for nothing.  A letter composed with marks is
 * looked up by the letter. */
static const struct { uint32_t first; const char *words; } spellings[] = {
	{ 0xa1, "! c GBP $ YEN | S _ (c) a << - - (r) _ deg +- 2 3 ' u P . _ 1 o >> 1/4 1/2 3/4 ?" },
	{ 0xc6, "AE" }, { 0xd0, "D" }, { 0xd7, "x O" }, { 0xde, "Th ss" }, { 0xe6, "ae" }, { 0xf0, "d" },
	{ 0xf7, "/ o" }, { 0xfe, "th" }, { 0x110, "D d" }, { 0x126, "H h" }, { 0x131, "i" }, { 0x138, "k" },
	{ 0x13f, "L l L l" }, { 0x149, "'n N n" }, { 0x152, "OE oe" }, { 0x166, "T t" }, { 0x17f, "s" },
	{ 0x391, "A V G D E Z I Th I K L M N X O P R" }, { 0x3a3, "S T Y F Ch Ps O" },
	{ 0x3b1, "a v g d e z i th i k l m n x o p r s s t y f ch ps o" },
	{ 0x401, "Yo Dj" }, { 0x404, "Ye Dz I Yi" }, { 0x408, "J Lj Nj C" }, { 0x40f, "Dz" },
	{ 0x410, "A B V G D E Zh Z I Y K L M N O P R S T U F Kh Ts Ch Sh Shch _ Y _ E Yu Ya" },
	{ 0x430, "a b v g d e zh z i y k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya" },
	{ 0x451, "yo dj" }, { 0x454, "ye dz i yi" }, { 0x458, "j lj nj c" }, { 0x45f, "dz" }, { 0x490, "G g" },
	{ 0x5d0, "' b g d h v z kh t y k k l m m n n s ' p p ts ts q r sh t" },
	{ 0x60c, "," }, { 0x61b, ";" }, { 0x61f, "?" },
	{ 0x621, "' a a w i y a b h t th j h kh d dh r z s sh s d t z ' gh" }, { 0x640, "_ f q k l m n h w a y" },
	{ 0x660, "0 1 2 3 4 5 6 7 8 9" },
	{ 0x1100, "g kk n d tt r m b pp s ss _ j jj ch k t p h" },
	{ 0x1161, "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i" },
	{ 0x11a8, "k kk ks n nj nh d l lg lm lb ls lt lp lh m b bs s ss ng j ch k t p h" },
	{ 0x200b, "_ _ _ _ _ - - - - - -" }, { 0x2018, "' ' , '" }, { 0x201c, "\" \" \" \"" }, { 0x2022, "*" },
	{ 0x2026, "..." }, { 0x202a, "_ _ _ _ _" }, { 0x2039, "< >" }, { 0x2060, "_" }, { 0x2066, "_ _ _ _" },
	{ 0x20ac, "EUR" }, { 0x2122, "(tm)" }, { 0x2190, "<- ^ ->" }, { 0x2212, "-" }, { 0x3001, ", ." },
	{ 0x3008, "< > << >>" }, { 0x300c, "\" \" \" \" [ ]" },
	{ 0x3041, "a a i i u u e e o o ka ga ki gi ku gu ke ge ko go sa za shi ji su zu se ze so zo ta da chi ji tsu "
		  "tsu zu te de to do na ni nu ne no ha ba pa hi bi pi fu bu pu he be pe ho bo po ma mi mu me mo ya ya "
		  "yu yu yo yo ra ri ru re ro wa wa wi we wo n vu ka ke" },
	{ 0x30f7, "va vi ve vo . -" },
	{ 0xfe0e, "_ _" }, { 0xfeff, "_" },
};

/* Blocks of characters that repeat another block in the same order. */
static const struct { uint32_t first, last, same_as; } repeated[] = {
	{ 0x30a1, 0x30f6, 0x3041 },     /* katakana */
	{ 0xff01, 0xff5e, '!' },        /* full width */
};

/* The n-th word of a list, with its length; NULL: there are not so many. */
static const char *word_at(const char *words, uint32_t n, size_t *length)
{
	for (; n; n--) {
		const char *space = strchr(words, ' ');

		if (!space)
			return NULL;
		words = space + 1;
	}
	*length = strcspn(words, " ");
	return words;
}

static bool add_spelling(struct buffer *out, uint32_t code)
{
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		size_t length;
		const char *word = code < spellings[i].first ? NULL :
			word_at(spellings[i].words, code - spellings[i].first, &length);

		if (!word)
			continue;
		if (*word != '_')
			buffer_add(out, word, length);
		return true;
	}
	return false;
}

static bool add_simple(struct buffer *out, uint32_t code)
{
	for (size_t i = 0; i < sizeof(repeated) / sizeof(repeated[0]); i++)
		if (code >= repeated[i].first && code <= repeated[i].last)
			code += repeated[i].same_as - repeated[i].first;
	if (unicode_class(code) == UNICODE_SPACE && code != '\n')
		code = ' ';
	if (code == '\n' || (code >= ' ' && code <= '~'))
		buffer_addf(out, "%c", (int)code);
	else
		return unicode_is_mark(code) || add_spelling(out, code);
	return true;
}

static void add_character(struct buffer *out, uint32_t code)
{
	uint32_t parts[4];
	int n, i;

	if (add_simple(out, code))
		return;
	n = unicode_decompose(code, parts);
	for (i = 0; i < n; i++)
		if (!add_simple(out, parts[i]))
			buffer_addf(out, parts[i] > 0xffff ? "\\U%08x" : "\\u%04x", parts[i]);
}

char *spell(const char *text)
{
	struct buffer out = { 0 };
	size_t n = strlen(text);

	while (n) {
		uint32_t code;
		int used = utf8_read(text, n, &code);

		if (used)
			add_character(&out, code);
		else
			buffer_addf(&out, "\\x%02x", (unsigned char)*text);
		used += !used;
		text += used;
		n -= used;
	}
	return buffer_steal(&out);
}
