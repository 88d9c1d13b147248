/* The block before a tar's member. */
#include <stdio.h>
#include <string.h>
#include "tar_header.h"

/* POSIX.1-2017, pax, "ustar Interchange Format"; magic and version are "ustar\0" "00", GNU's older form "ustar  ". */
struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "ustar");

#define LARGEST_SIZE ((uint64_t)1 << 62)

/* Of all bytes, those of the sum itself as blanks. */
static unsigned checksum(const unsigned char *block)
{
	const size_t from = offsetof(struct ustar, checksum), to = from + sizeof(((struct ustar *)0)->checksum);
	unsigned sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= from && i < to ? ' ' : block[i];
	return sum;
}

/* ---- writing ---- */

void tar_header_write(unsigned char block[TAR_BLOCK], const char *name, uint64_t size)
{
	struct ustar u = { .mode = "000644 ", .uid = "000000 ", .gid = "000000 ", .mtime = "00000000000", .type = '0',
			   .magic = "ustar", .version = "00", .major = "000000 ", .minor = "000000 " };
	char number[16];

	memcpy(u.name, name, strnlen(name, sizeof(u.name)));
	snprintf(number, sizeof(number), "%011llo ", (unsigned long long)size);
	memcpy(u.size, number, sizeof(u.size));
	u.mtime[11] = u.checksum[7] = ' ';
	memcpy(block, &u, sizeof(u));
	snprintf(number, sizeof(number), "%06o", checksum(block));
	memcpy(block + offsetof(struct ustar, checksum), number, 7);
}

/* ---- reading ---- */

bool tar_block_is_zero(const unsigned char block[TAR_BLOCK])
{
	return !block[0] && !memcmp(block, block + 1, TAR_BLOCK - 1);
}

/* Octal digits between blanks, or GNU's binary form of large numbers, whose first byte is 0x80. */
static bool number(const char *field, size_t n, uint64_t *value)
{
	bool binary = (unsigned char)field[0] == 0x80;
	size_t i = binary;

	*value = 0;
	while (!binary && i < n && field[i] == ' ')
		i++;
	for (; i < n && (binary || (field[i] >= '0' && field[i] <= '7')); i++) {
		*value = *value * (binary ? 256 : 8) + (binary ? (unsigned char)field[i] : (unsigned)(field[i] - '0'));
		if (*value >= LARGEST_SIZE)
			return false;
	}
	return i == n || field[i] == ' ' || !field[i];
}

static enum tar_kind kind_of_type(char type)
{
	static const struct { char type; enum tar_kind kind; } types[] = {
		{ '0', TAR_FILE }, { 0, TAR_FILE }, { '7', TAR_FILE }, { 'S', TAR_SPARSE }, { 'x', TAR_PAX },
		{ 'g', TAR_PASSED }, { 'K', TAR_PASSED }, { 'L', TAR_LONG_NAME },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (types[i].type == type)
			return types[i].kind;
	}
	return TAR_OTHER;
}

const char *tar_header_read(const unsigned char block[TAR_BLOCK], struct tar_header *h)
{
	struct ustar u;
	uint64_t sum;
	bool prefixed;

	memcpy(&u, block, sizeof(u));
	if (!number(u.checksum, sizeof(u.checksum), &sum) || sum != checksum(block))
		return "no header where a member should begin";
	if (!number(u.size, sizeof(u.size), &h->size))
		return "a member's size is no number";
	h->kind = kind_of_type(u.type);
	if (h->kind == TAR_OTHER && u.type >= '1' && u.type <= '6')
		h->size = 0;            /* that of what a link points to */
	prefixed = !memcmp(u.magic, "ustar", 6) && u.prefix[0];
	snprintf(h->name, sizeof(h->name), "%.155s%s%.100s", prefixed ? u.prefix : "", prefixed ? "/" : "", u.name);
	return NULL;
}

/* ---- what is said before a member ---- */

/* Decimal digits, as many as there are: how many bytes they are.  0: none, or too large a number. */
static size_t decimal(const char *bytes, size_t n, uint64_t *value)
{
	size_t i;

	*value = 0;
	for (i = 0; i < n && bytes[i] >= '0' && bytes[i] <= '9'; i++) {
		*value = *value * 10 + (unsigned)(bytes[i] - '0');
		if (*value >= LARGEST_SIZE / 16)
			return 0;
	}
	return i;
}

static void take_name(struct tar_extension *x, const char *name, size_t n)
{
	buffer_clear(&x->name);
	buffer_add(&x->name, name, n);
}

static const char *take_record(struct tar_extension *x, const char *key, size_t n)
{
	const char *equals = memchr(key, '=', n), *value;
	size_t key_bytes, bytes;

	if (!equals)
		return "a pax record without a value";
	value = equals + 1;
	key_bytes = (size_t)(equals - key);
	bytes = n - key_bytes - 1;
	if (key_bytes == 4 && !memcmp(key, "path", 4))
		take_name(x, value, bytes);
	if (key_bytes == 4 && !memcmp(key, "size", 4)) {
		x->has_size = true;
		if (decimal(value, bytes, &x->size) != bytes || !bytes)
			return "a pax record's size is no number";
	}
	x->sparse |= key_bytes > 11 && !memcmp(key, "GNU.sparse.", 11);
	return NULL;
}

/* Records "LENGTH KEY=VALUE\n"; the length counts itself and the end of the line. */
static const char *take_records(struct tar_extension *x, const char *bytes, size_t n)
{
	const char *wrong = NULL;
	uint64_t length;

	for (; n && !wrong; bytes += length, n -= length) {
		size_t digits = decimal(bytes, n, &length);

		if (!digits || length > n || length < digits + 2 || bytes[digits] != ' ' || bytes[length - 1] != '\n')
			return "a pax record's length is wrong";
		wrong = take_record(x, bytes + digits + 1, length - digits - 2);
	}
	return wrong;
}

const char *tar_extension_read(struct tar_extension *x, enum tar_kind kind, const char *bytes, size_t n)
{
	if (kind == TAR_PAX)
		return take_records(x, bytes, n);
	if (kind == TAR_LONG_NAME)
		take_name(x, bytes, strnlen(bytes, n));
	return NULL;
}
