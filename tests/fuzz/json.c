/* What is read is written and read again as the same value; any bytes as a text make our writer produce JSON. */
#include "fuzz.h"
#include "../../libcommon/io/json.h"

static void read_write_read(const uint8_t *bytes, size_t n)
{
	struct error e = { 0 };
	json_t *value = json_parse("input", (const char *)bytes, n, &e), *again;
	char *text;

	HOLDS(value || e.code == EXIT_INPUT);
	if (!value)
		return;
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
	HOLDS(text);
	again = json_parse("again", text, strlen(text), &e);
	HOLDS(again && json_equal(value, again));
	free(text);
	json_decref(value);
	json_decref(again);
}

static void write_read(const uint8_t *bytes, size_t n)
{
	struct json_out out = { 0 };
	struct error e = { 0 };
	double number = 0;
	json_t *value, *real;

	memcpy(&number, bytes, n < sizeof(number) ? n : sizeof(number));
	json_begin(&out, NULL);
	json_text_n(&out, "text", (const char *)bytes, n);
	json_number(&out, "number", number);
	json_end(&out);
	value = memchr(bytes, 0, n) ? NULL : json_parse("ours", out.text.data, out.text.len, &e);
	HOLDS(value || memchr(bytes, 0, n));    /* the reader takes no NUL inside texts */
	real = json_object_get(value, "number");
	HOLDS(!value || json_is_null(real) || json_number_value(real) == number);
	json_decref(value);
	json_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	read_write_read(bytes, n);
	write_read(bytes, n);
	return 0;
}
