/* Booleans, numbers and dates of TOML. */
#include <math.h>
#include <stdlib.h>
#include "toml_reader.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* n digits as a number, -1 if one of them is none. */
static int digits(const char *s, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!is_digit(s[i]))
			return -1;
		value = value * 10 + s[i] - '0';
	}
	return value;
}

static bool valid_date(const char *s)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year = digits(s, 4), month = digits(s + 5, 2), day = digits(s + 8, 2);
	bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0;

	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leap && month == 2);
}

static bool looks_like_date(const char *s, size_t n)
{
	return n >= 10 && digits(s, 4) >= 0 && s[4] == '-' && digits(s + 5, 2) >= 0 && s[7] == '-' &&
		digits(s + 8, 2) >= 0;
}

/* hh:mm:ss[.f...]; returns how many characters that is, 0 if it is no time of day.  60 is a leap second. */
static size_t time_length(const char *s, size_t n)
{
	size_t i = 8;

	if (n < 8 || s[2] != ':' || s[5] != ':')
		return 0;
	if (digits(s, 2) < 0 || digits(s, 2) > 23 || digits(s + 3, 2) < 0 || digits(s + 3, 2) > 59 ||
	    digits(s + 6, 2) < 0 || digits(s + 6, 2) > 60)
		return 0;
	if (i == n || s[i] != '.')
		return i;
	for (i++; i < n && is_digit(s[i]); i++)
		;
	return i > 9 ? i : 0;
}

static bool valid_offset(const char *s, size_t n)
{
	if (n == 1)
		return *s == 'Z' || *s == 'z';
	return n == 6 && (*s == '+' || *s == '-') && s[3] == ':' && digits(s + 1, 2) >= 0 && digits(s + 1, 2) <= 23 &&
	       digits(s + 4, 2) >= 0 && digits(s + 4, 2) <= 59;
}

static bool valid_datetime(const char *s, size_t n)
{
	size_t length;

	if (!looks_like_date(s, n)) {
		length = time_length(s, n);
		return length && length == n;
	}
	if (!valid_date(s))
		return false;
	if (n == 10)
		return true;
	if (s[10] != 'T' && s[10] != 't' && s[10] != ' ')
		return false;
	s += 11;
	n -= 11;
	length = time_length(s, n);
	return length && (length == n || valid_offset(s + length, n - length));
}

/* Copies digits of the base, with single underscores between them, to out without the underscores; out ends in NUL. */
static size_t clean_digits(const char *s, size_t n, int base, char *out)
{
	size_t i, kept = 0;

	for (i = 0; i < n; i++) {
		int value = is_digit(s[i]) ? s[i] - '0' :
			(s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f' ? (s[i] | 0x20) - 'a' + 10 : 99;
		if (s[i] == '_') {
			bool between = i && s[i - 1] != '_' && i + 1 < n;
			if (!between)
				return 0;
			continue;
		}
		if (value >= base)
			break;
		out[kept++] = s[i];
	}
	out[kept] = 0;
	return i && s[i - 1] == '_' ? 0 : i;
}

static int whole_number(const char *text, int base, bool negative, int64_t *out)
{
	uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;

	for (; *text; text++) {
		unsigned d = is_digit(*text) ? (unsigned)(*text - '0') : (unsigned)((*text | 0x20) - 'a' + 10);
		if (value > (limit - d) / (unsigned)base)
			return -1;
		value = value * (unsigned)base + d;
	}
	*out = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

enum verdict { NO_NUMBER, TOO_BIG, NUMBER };

static enum verdict prefixed_integer(const char *s, size_t n, char *scratch, struct toml *out)
{
	int base = s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : 2;

	if (clean_digits(s + 2, n - 2, base, scratch) != n - 2)
		return NO_NUMBER;
	out->kind = TOML_INTEGER;
	return whole_number(scratch, base, false, &out->integer) ? TOO_BIG : NUMBER;
}

static enum verdict special_float(const char *s, size_t n, bool negative, struct toml *out)
{
	bool inf = n == 3 && !memcmp(s, "inf", 3), nan_ = n == 3 && !memcmp(s, "nan", 3);

	if (!inf && !nan_)
		return NO_NUMBER;
	out->kind = TOML_FLOAT;
	out->number = copysign(inf ? INFINITY : NAN, negative ? -1 : 1);
	return NUMBER;
}

/* The part after the whole digits: .digits and e[+-]digits, each at most once.
 * text gathers what strtod() will read. */
static enum verdict decimal_float(const char *s, size_t n, char *scratch, struct buffer *text, struct toml *out)
{
	if (n && *s == '.') {
		size_t used = clean_digits(s + 1, n - 1, 10, scratch);
		if (!used)
			return NO_NUMBER;
		buffer_addf(text, ".%s", scratch);
		s += used + 1;
		n -= used + 1;
	}
	if (n && (*s == 'e' || *s == 'E')) {
		size_t sign = n > 1 && (s[1] == '+' || s[1] == '-'),
		       used = clean_digits(s + 1 + sign, n - 1 - sign, 10, scratch);
		if (!used)
			return NO_NUMBER;
		buffer_addf(text, "e%.*s%s", (int)sign, s + 1, scratch);
		s += 1 + sign + used;
		n -= 1 + sign + used;
	}
	if (n)
		return NO_NUMBER;
	out->kind = TOML_FLOAT;
	out->number = strtod(text->data, NULL);
	return NUMBER;
}

static enum verdict number(const char *s, size_t n, char *scratch, struct buffer *text, struct toml *out)
{
	bool sign = n && (*s == '+' || *s == '-'), negative = sign && *s == '-';
	size_t used;

	if (!sign && n > 2 && s[0] == '0' && strchr("xob", s[1]))
		return prefixed_integer(s, n, scratch, out);
	s += sign;
	n -= sign;
	if (special_float(s, n, negative, out) == NUMBER)
		return NUMBER;
	used = clean_digits(s, n, 10, scratch);
	if (!used || (*s == '0' && used > 1))
		return NO_NUMBER;
	if (used < n) {
		buffer_addf(text, "%s%s", negative ? "-" : "", scratch);
		return decimal_float(s + used, n - used, scratch, text, out);
	}
	out->kind = TOML_INTEGER;
	return whole_number(scratch, 10, negative, &out->integer) ? TOO_BIG : NUMBER;
}

static size_t token_length(const struct toml_reader *r)
{
	const char *p = r->at;

	while (p < r->end && (is_digit(*p) || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') ||
			      (*p && strchr("_+-.:", *p))))
		p++;
	/* a date and a time may be parted by a space */
	if (p - r->at == 10 && looks_like_date(r->at, 10) && r->end - p > 1 && *p == ' ' && is_digit(p[1]))
		for (p++; p < r->end && (is_digit(*p) || strchr("+-.:Zz", *p)) && *p; p++)
			;
	return (size_t)(p - r->at);
}

static int wrong_scalar(struct toml_reader *r, const char *s, size_t n)
{
	int shown = n > 40 ? 40 : (int)n;

	if (!n)
		return toml_complain(r, s, "a value is missing; write a number, true, false or text in quotes");
	if (is_digit(*s) && n > 2 && (looks_like_date(s, n) || s[2] == ':'))
		return toml_complain(r, s, "'%.*s' is not a date or time that exists; put text in quotes", shown, s);
	if (is_digit(*s) && n > 1 && *s == '0' && is_digit(s[1]))
		return toml_complain(r, s, "'%.*s' begins with 0; write it without", shown, s);
	if (n == 4 && !strncasecmp(s, "true", 4))
		return toml_complain(r, s, "'%.*s' has capitals; write true", shown, s);
	if (n == 5 && !strncasecmp(s, "false", 5))
		return toml_complain(r, s, "'%.*s' has capitals; write false", shown, s);
	return toml_complain(r, s, "'%.*s' is not a value; put text in quotes", shown, s);
}

static int take_number(struct toml_reader *r, const char *s, size_t n, struct toml *out)
{
	char *scratch = xmalloc(n + 1);
	struct buffer text = { 0 };
	enum verdict verdict = number(s, n, scratch, &text, out);

	free(scratch);
	buffer_free(&text);
	if (verdict == TOO_BIG)
		return toml_complain(r, s, "'%.*s' does not fit 64 bits with a sign; write a smaller number, or it in "
				     "quotes", n > 40 ? 40 : (int)n, s);
	if (verdict == NO_NUMBER)
		return wrong_scalar(r, s, n);
	if (out->kind == TOML_INTEGER)
		out->number = (double)out->integer;
	return 0;
}

int toml_take_scalar(struct toml_reader *r, struct toml *out)
{
	const char *s = r->at;
	size_t n = token_length(r);

	if ((n == 4 && !memcmp(s, "true", 4)) || (n == 5 && !memcmp(s, "false", 5))) {
		out->kind = TOML_BOOLEAN;
		out->boolean = n == 4;
	} else if (valid_datetime(s, n)) {
		out->kind = TOML_DATETIME;
		out->text = xstrndup(s, n);
		out->length = n;
	} else if (take_number(r, s, n, out)) {
		return -1;
	}
	r->at = s + n;
	return 0;
}
