/* A tokenizer's folder with one file of the input's; the first byte says which.
 * A tokenizer that opens gives ids below its size. */
#include "fuzz.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/model/tokenizer.h"

enum { LENGTH = 20 };

/* Small and sound: what the other files are.  With tokenizer.json alone, vocab.json and merges.txt are absent. */
static const struct { const char *name, *text; } files[] = {
	{ "tokenizer.json", NULL },
	{ "vocab.json", "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4,\"<|startoftext|>\":5,"
			"\"<|endoftext|>\":6}" },
	{ "merges.txt", "#version: 0.2\na b</w>\n" },
	{ "special_tokens_map.json", NULL },
	{ "tokenizer_config.json", NULL },
};
enum { FILES = sizeof(files) / sizeof(*files) };

static void put(const char *folder, int i, const void *bytes, size_t n)
{
	char *path = path_join(folder, files[i].name);
	FILE *f;

	unlink(path);
	if (bytes) {
		f = fopen(path, "w");
		HOLDS(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
	}
	free(path);
}

static void check(const struct tokenizer *t)
{
	static const char *const texts[] = { "", "ab b a", "<|endoftext|> ab", "it's 12 \xc3\xa9",
					     "aaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbb" };
	int32_t ids[LENGTH];
	struct error e;

	HOLDS(tokenizer_length(t) > 0 && tokenizer_vocab_size(t) > 0 && tokenizer_pad(t) >= 0 &&
	      tokenizer_pad(t) < tokenizer_vocab_size(t));
	for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
		HOLDS(tokenizer_encode_padded(t, texts[k], LENGTH, ids, &e) == 0);
		for (int i = 0; i < LENGTH; i++)
			HOLDS(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(t));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char folder[] = "/dev/shm/fuzz-tokenizer-XXXXXX";
	static bool made;
	struct tokenizer *t;
	struct error e = { 0 };

	if (!made)
		HOLDS(mkdtemp(folder));
	made = true;
	if (n == 0)
		return 0;
	for (int i = 0, which = bytes[0] % FILES; i < FILES; i++)
		if (i == which)
			put(folder, i, bytes + 1, n - 1);
		else
			put(folder, i, which ? files[i].text : NULL, files[i].text ? strlen(files[i].text) : 0);
	t = tokenizer_open(folder, &e);
	HOLDS(t || e.code == EXIT_INPUT);
	if (t)
		check(t);
	tokenizer_free(t);
	return 0;
}
