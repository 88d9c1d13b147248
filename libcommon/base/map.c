/* A hash table from text to index: SipHash with a key per process, open addressing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "map.h"
#include "memory.h"

struct slot {
	const char *key;                /* NULL: free */
	uint32_t length, hash;
	long value;
};

struct map {
	struct slot *slot;
	size_t mask, used;
	uint64_t seed[2];
};

/* ---- SipHash-1-3 (Aumasson and Bernstein; the rounds that Rust and Python settled on for tables) ---- */

static uint64_t turn(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = turn(v[1], 13) ^ v[0];
	v[0] = turn(v[0], 32);
	v[2] += v[3];
	v[3] = turn(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = turn(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = turn(v[1], 17) ^ v[2];
	v[2] = turn(v[2], 32);
}

static uint32_t hash(const struct map *m, const char *key, size_t length)
{
	uint64_t v[4] = { m->seed[0] ^ 0x736f6d6570736575, m->seed[1] ^ 0x646f72616e646f6d,
			  m->seed[0] ^ 0x6c7967656e657261, m->seed[1] ^ 0x7465646279746573 };
	uint64_t word, tail = (uint64_t)length << 56;
	size_t i;

	for (i = 0; i + 8 <= length; i += 8) {
		memcpy(&word, key + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (int shift = 0; i < length; i++, shift += 8)
		tail |= (uint64_t)(unsigned char)key[i] << shift;
	v[3] ^= tail;
	sip_round(v);
	v[0] ^= tail;
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	v[0] ^= v[1] ^ v[2] ^ v[3];
	return (uint32_t)(v[0] ^ v[0] >> 32);
}

/* ---- the table: open addressing, linear probing, at most three quarters full ---- */

/* Sixteen bytes that the kernel gives every process: no system call, no state to keep. */
static void seed(struct map *m)
{
	unsigned long at = getauxval(AT_RANDOM);

	if (at)
		memcpy(m->seed, (const void *)at, sizeof(m->seed));
}

static struct slot *place(const struct map *m, const char *key, size_t length, uint32_t h)
{
	for (size_t i = h & m->mask;; i = (i + 1) & m->mask) {
		struct slot *s = &m->slot[i];

		if (!s->key || (s->hash == h && s->length == length && !memcmp(s->key, key, length)))
			return s;
	}
}

static void grow(struct map *m)
{
	struct slot *old = m->slot;
	size_t count = m->mask + 1;

	m->mask = 2 * count - 1;
	m->slot = xcalloc(2 * count, sizeof(*m->slot));
	for (size_t i = 0; i < count; i++) {
		if (old[i].key)
			*place(m, old[i].key, old[i].length, old[i].hash) = old[i];
	}
	free(old);
}

struct map *map_new(size_t expected)
{
	struct map *m = xcalloc(1, sizeof(*m));
	size_t count = 16;

	while (count / 4 * 3 <= expected)
		count *= 2;
	m->mask = count - 1;
	m->slot = xcalloc(count, sizeof(*m->slot));
	seed(m);
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	free(m->slot);
	free(m);
}

long map_put(struct map *m, const char *key, size_t length, long value)
{
	uint32_t h = hash(m, key, length);
	struct slot *s = place(m, key, length, h);

	if (s->key)
		return s->value;
	if (length > UINT32_MAX)
		die(EXIT_MEMORY, "a key of %zu bytes", length);
	*s = (struct slot){ key, (uint32_t)length, h, value };
	if (++m->used > (m->mask + 1) / 4 * 3)
		grow(m);
	return -1;
}

long map_get(const struct map *m, const char *key, size_t length)
{
	const struct slot *s = place(m, key, length, hash(m, key, length));

	return s->key ? s->value : -1;
}
