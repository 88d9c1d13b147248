/* Kinds of files by their first bytes. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/memory.h"
#include "kind.h"
#include "publish.h"
#include "tensorboard.h"

/* within: what must stand behind it, anywhere in the first bytes; NULL: nothing.  The first row that fits is taken. */
static const struct kind { size_t at, n; const char *bytes, *within, *what; } kinds[] = {
	{ 0, 8, "\x89PNG\r\n\x1a\n", NULL, KIND_PNG },
	{ 0, 3, "\xff\xd8\xff", NULL, "a JPEG picture" },
	{ 8, 4, "WEBP", NULL, "a WebP picture" },
	{ 0, 4, "GIF8", NULL, "a GIF picture" },
	{ 0, 4, "II*\0", NULL, "a TIFF picture" },
	{ 0, 4, "MM\0*", NULL, "a TIFF picture" },
	{ 4, 8, "ftypavif", NULL, "an AVIF picture" },
	{ 4, 7, "ftyphei", NULL, "a HEIC picture" },
	{ 4, 8, "ftypmif1", NULL, "a HEIC picture" },
	{ 4, 4, "ftyp", NULL, "a film" },
	{ 4, 8, "JXL \r\n\x87\n", NULL, "a JPEG XL picture" },
	{ 0, 4, "8BPS", NULL, "a Photoshop picture" },
	{ 257, 5, "ustar", ".latent.safetensors", "a latent tar" },
	{ 257, 5, "ustar", "lora-image-1", "an image tar" },
	{ 257, 5, "ustar", "00000000.png", "an image tar" },
	{ 257, 5, "ustar", "00000000.jpg", "an image tar" },
	{ 257, 5, "ustar", NULL, "a tar" },
	{ 0, 4, "PK\x03\x04", "data.pkl", "a PyTorch pickle (a zip file with data.pkl)" },
	{ 0, 4, "PK\x03\x04", NULL, "a zip file" },
	{ 0, 2, "\x80\x02", NULL, "a PyTorch pickle" },
	{ 0, 2, "\x80\x03", NULL, "a PyTorch pickle" },
	{ 0, 2, "\x80\x04", NULL, "a PyTorch pickle" },
	{ 0, 2, "\x80\x05", NULL, "a PyTorch pickle" },
	{ 0, 4, "GGUF", NULL, "a GGUF file" },
	{ 0, 2, "\x1f\x8b", NULL, "a gzip file" },
	{ 0, 6, "\xfd" "7zXZ\0", NULL, "an xz file" },
	{ 0, 4, "\x28\xb5\x2f\xfd", NULL, "a zstd file" },
	{ 0, 6, "7z\xbc\xaf\x27\x1c", NULL, "a 7z file" },
	{ 0, 4, "Rar!", NULL, "a RAR file" },
	{ 0, 5, "%PDF-", NULL, "a PDF" },
	{ 0, 4, "\x7f" "ELF", NULL, "a program" },
	{ 0, 23, "version https://git-lfs", NULL, "a git-lfs pointer, not the file itself" },
};

/* Inside its header, in what stands first. */
static const struct { const char *mark, *what; } tensors[] = {
	{ "lora-state-1", "a state of lora-train" },
	{ "\"lora_unet_", "an adapter" }, { "\"lora_te", "an adapter" }, { "lora_A.", "an adapter" },
	{ "\"ss_", "an adapter" },
	{ "\"model.diffusion_model.", "a model" },
};

static bool holds(const unsigned char *bytes, size_t n, const char *mark)
{
	return memmem(bytes, n, mark, strlen(mark)) != NULL;
}

static uint64_t little(const unsigned char *b, int bytes)
{
	uint64_t x = 0;

	while (bytes--)
		x = x << 8 | b[bytes];
	return x;
}

bool kind_is_events(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	return n >= 12 && little(b + 8, 4) == tensorboard_checksum(b, 8);
}

static const char *kind_of_tensors(const unsigned char *bytes, size_t n)
{
	if (n < 10 || little(bytes, 8) > 100000000 || bytes[8] != '{')
		return NULL;
	for (size_t i = 0; i < sizeof(tensors) / sizeof(*tensors); i++)
		if (holds(bytes, n, tensors[i].mark))
			return tensors[i].what;
	return "a safetensors file";
}

static bool opens_toml(const char *p, const char *end)
{
	const char *key = p;

	if (p < end && *p == '[') {     /* "[[" opens lists of JSON too */
		p += end - p > 1 && p[1] == '[' ? 2 : 1;
		return p < end && isalpha((unsigned char)*p);
	}
	while (p < end && (isalnum((unsigned char)*p) || strchr("_-.\"", *p)) && *p)
		p++;
	if (p == key)
		return false;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p < end && *p == '=';
}

static const char *skip(const char *p, const char *end, const char *of)
{
	while (p < end && *p && strchr(of, *p))
		p++;
	return p;
}

/* A line of data/shard_list.c: name, samples and SHA-256 between tabs. */
static bool opens_list(const char *p, const char *end)
{
	const char *samples = memchr(p, '\t', (size_t)(end - p)), *hash, *behind;

	if (!samples || samples == p || memchr(p, '\n', (size_t)(samples - p)))
		return false;
	hash = skip(samples + 1, end, "0123456789");
	if (hash == samples + 1 || hash == end || *hash != '\t')
		return false;
	behind = skip(hash + 1, end, "0123456789abcdef");
	return behind - hash == 1 + 64 && (behind == end || *behind == '\n');
}

/* Behind blanks and comments. */
static const char *kind_of_text(const char *p, const char *end)
{
	if (end - p >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	while (p < end && (isspace((unsigned char)*p) || *p == '#')) {
		if (*p == '#')
			while (p < end && *p != '\n')
				p++;
		else
			p++;
	}
	if (p < end && *p == '{')
		return KIND_JSON;
	if (end - p > 1 && *p == '<' && (isalpha((unsigned char)p[1]) || p[1] == '!'))
		return KIND_HTML;
	if (opens_list(p, end))
		return "a list of latent tars (lora-train reads it as NAME.list)";
	return opens_toml(p, end) ? "a TOML file" : NULL;
}

const char *kind_of(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;
	const char *what;

	n = n < KIND_BYTES ? n : KIND_BYTES;
	if (!n)
		return NULL;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const struct kind *k = &kinds[i];

		if (n >= k->at + k->n && !memcmp(b + k->at, k->bytes, k->n) && (!k->within || holds(b, n, k->within)))
			return k->what;
	}
	if (kind_is_events(b, n))
		return "TensorBoard events";
	what = kind_of_tensors(b, n);
	return what || memchr(b, 0, n) ? what : kind_of_text(bytes, (const char *)bytes + n);
}

int kind_tell(const char *path, const void *bytes, size_t n, const char *own, const char *wanted, struct error *e)
{
	const char *what = kind_of(bytes, n);
	const size_t length = what ? strlen(what) : 0, k = own ? strlen(own) : 0;

	if (what && (!own || length < k || strcmp(what + length - k, own)))
		fail(e, e->code, "%s: is %s, not %s; name another file", path, what, wanted);
	return -1;
}

int kind_tell_file(const char *path, const char *own, const char *wanted, struct error *e)
{
	struct buffer head = { 0 };
	struct error ignored;
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && read_head(path, KIND_BYTES, &head, &ignored) == 0)
		kind_tell(path, head.data, head.len, own, wanted, e);
	buffer_free(&head);
	return -1;
}
