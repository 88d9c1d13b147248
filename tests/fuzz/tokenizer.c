/* Ids of the vocabulary between begin and end; padding adds only padding; blanks around a text change nothing. */
#include "fuzz.h"
#include "../../libcommon/data/caption.h"
#include "../../libcommon/model/tokenizer.h"

enum { LENGTH = 77 };

static void check(const struct tokenizer *t, const char *text)
{
	int32_t ids[LENGTH], padded[LENGTH], other[LENGTH];
	char *blank = xprintf("  %s\t ", text);
	struct error e = { 0 };
	int whole, whole_blank, n = tokenizer_encode(t, text, LENGTH, ids, &whole, &e);

	HOLDS((n < 0) == (utf8_prefix(text, strlen(text)) < strlen(text)));
	if (n >= 0) {
		HOLDS(n >= 2 && n <= LENGTH && whole >= n && (whole == n || n == LENGTH));
		HOLDS(ids[0] == tokenizer_bos(t) && ids[n - 1] == tokenizer_eos(t));
		for (int i = 0; i < n; i++)
			HOLDS(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(t));
		HOLDS(tokenizer_encode_padded(t, text, LENGTH, padded, &e) == 0 &&
		      !memcmp(ids, padded, n * sizeof(*ids)));
		for (int i = n; i < LENGTH; i++)
			HOLDS(padded[i] == tokenizer_pad(t));
		HOLDS(tokenizer_encode(t, blank, LENGTH, other, &whole_blank, &e) == n && whole_blank == whole);
		HOLDS(!memcmp(ids, other, n * sizeof(*ids)));
	}
	free(blank);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct tokenizer *t;
	char *text = xstrndup((const char *)bytes, strnlen((const char *)bytes, n));
	struct error e;

	if (!t)
		t = tokenizer_open_clip(&e);
	HOLDS(t);
	check(t, text);
	free(text);
	return 0;
}
