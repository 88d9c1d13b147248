/* Run-length coded BMPs: RLE4 and RLE8. */
#include <string.h>
#include "bmp_internal.h"

struct reader {
	struct decoder *d;
	const struct bmp *b;
	const uint8_t *at, *end;
	int x, y;                       /* y counts the file's rows */
};

static void clear(const struct reader *r)
{
	for (int x = 0; x < r->d->width; x++)
		memcpy(r->b->row + 3 * x, r->b->palette[0], 3);
}

/* The row at hand is done, and so are those that are passed by. */
static void go_down(struct reader *r, int rows)
{
	for (; rows > 0 && r->y < r->d->height; rows--) {
		rows_put(r->d, bmp_row(r->b, r->d, r->y++), r->b->row);
		clear(r);
	}
}

static void put(struct reader *r, uint8_t index)
{
	if (r->x < r->d->width)
		memcpy(r->b->row + 3 * r->x++, r->b->palette[index], 3);
}

static uint8_t nibble(uint8_t byte, int i)
{
	return i & 1 ? byte & 15 : byte >> 4;
}

static void put_run(struct reader *r, int count, uint8_t value)
{
	for (int i = 0; i < count; i++)
		put(r, r->b->bits == 4 ? nibble(value, i) : value);
}

/* count pixels as they are, in whole words. */
static bool put_literals(struct reader *r, int count)
{
	const size_t bytes = r->b->bits == 4 ? (count + 1) / 2 : count, words = (bytes + 1) / 2 * 2;

	if ((size_t)(r->end - r->at) < bytes)
		return false;
	for (int i = 0; i < count; i++)
		put(r, r->b->bits == 4 ? nibble(r->at[i / 2], i) : r->at[i]);
	r->at += (size_t)(r->end - r->at) < words ? bytes : words;
	return true;
}

/* After a zero.  false: the file ends within it. */
static bool escape(struct reader *r, uint8_t what, bool *over)
{
	switch (what) {
	case 0:                         /* end of the row */
		go_down(r, 1);
		r->x = 0;
		return true;
	case 1:                         /* end of the picture */
		*over = true;
		return true;
	case 2:                         /* to the right and down */
		if (r->end - r->at < 2)
			return false;
		r->x = r->x + r->at[0] < r->d->width ? r->x + r->at[0] : r->d->width;
		go_down(r, r->at[1]);
		r->at += 2;
		return true;
	default:
		return put_literals(r, what);
	}
}

int bmp_rle(struct decoder *d, const struct bmp *b)
{
	struct reader r = { d, b, d->bytes + b->pixels, d->bytes + d->n, 0, 0 };
	bool over = false;

	clear(&r);
	while (!over && r.y < d->height) {
		uint8_t count, value;

		if (r.end - r.at < 2)
			return fail(d->e, EXIT_INPUT, "%s: truncated BMP; replace it", d->name);
		count = r.at[0];
		value = r.at[1];
		r.at += 2;
		if (count)
			put_run(&r, count, value);
		else if (!escape(&r, value, &over))
			return fail(d->e, EXIT_INPUT, "%s: truncated BMP; replace it", d->name);
	}
	go_down(&r, d->height);
	return 0;
}
