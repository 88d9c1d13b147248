/* A stream that is accepted and then changed in one byte is refused,
 * or says exactly the same: nothing changes unnoticed. */
#include "fuzz.h"
#include "../../libcommon/base/hash.h"
#include "../../libcommon/io/tar.h"

static void add_sample(struct sha256 *hash, const struct tar_sample *s)
{
	char *json = json_dumps(s->json, JSON_SORT_KEYS);

	HOLDS(json && s->members <= TAR_MAX_MEMBERS);
	sha256_add(hash, s->key, strlen(s->key));
	sha256_add(hash, json, strlen(json));
	for (int i = 0; i < s->members; i++) {
		sha256_add(hash, s->member[i].suffix, strlen(s->member[i].suffix));
		sha256_add(hash, s->member[i].bytes.data, s->member[i].bytes.len);
	}
	free(json);
}

/* 0: accepted, and what it says is in hex. */
static int read_all(const uint8_t *bytes, size_t n, char hex[65])
{
	struct fuzz_file f = fuzz_file(bytes, n);
	struct tar_sample s = { 0 };
	struct error e = { 0 };
	struct tar_reader *r = tar_open(f.path, NULL, &e);
	struct sha256 hash;
	int status = -1;

	sha256_begin(&hash);
	while (r && (status = tar_next(r, &s, &e)) == 1)
		add_sample(&hash, &s);
	HOLDS(status == 0 || e.code == EXIT_INPUT);
	sha256_hex(&hash, hex);
	tar_close(r);
	tar_sample_free(&s);
	close(f.fd);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	char before[65], after[65];
	uint8_t *changed;
	uint32_t at;

	if (read_all(bytes, n, before) < 0 || n == 0)
		return 0;
	at = crc32c(0, bytes, n);
	changed = xmalloc(n);
	memcpy(changed, bytes, n);
	changed[at % n] ^= (uint8_t)(1 + (at >> 8) % 255);
	if (read_all(changed, n, after) == 0)
		HOLDS(!strcmp(before, after));
	free(changed);
	return 0;
}
