/* What a denoiser reads beside latent and timestep: names, and rows in host memory. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "conditioning.h"

static const struct { const char *name; bool text, tokens; } conditions[CONDITIONS] = {
	[CONDITION_CONTEXT] = { "context", true, true },
	[CONDITION_POOLED] = { "pooled", true, false },
	[CONDITION_TIME_IDS] = { "time_ids", false, false },
};

const char *condition_name(int condition)
{
	return condition < CONDITIONS ? conditions[condition].name : NULL;
}

bool condition_is_text(int condition)
{
	return conditions[condition].text;
}

bool condition_has_tokens(int condition)
{
	return conditions[condition].tokens;
}

size_t condition_size(const struct conditioning *c, int condition)
{
	return (size_t)c->of[condition].length * c->of[condition].width;
}

bool conditioning_alike(const struct conditioning *a, const struct conditioning *b)
{
	for (int i = 0; i < CONDITIONS; i++)
		if (a->of[i].length != b->of[i].length || a->of[i].width != b->of[i].width)
			return false;
	return true;
}

void conditioning_reserve(struct conditioning *c, int rows)
{
	c->rows = rows;
	for (int i = 0; i < CONDITIONS; i++)
		if (condition_size(c, i))
			c->of[i].data = xrealloc(c->of[i].data, condition_size(c, i) * rows * sizeof(float));
}

struct conditioning conditioning_shape(const struct conditioning *c)
{
	struct conditioning shape = { 0 };

	for (int i = 0; i < CONDITIONS; i++) {
		shape.of[i].length = c->of[i].length;
		shape.of[i].width = c->of[i].width;
	}
	return shape;
}

struct conditioning conditioning_like(const struct conditioning *c, int rows)
{
	struct conditioning new = conditioning_shape(c);

	conditioning_reserve(&new, rows);
	return new;
}

struct conditioning conditioning_at(const struct conditioning *c, int row)
{
	struct conditioning at = *c;

	at.rows -= row;
	for (int i = 0; i < CONDITIONS; i++)
		if (at.of[i].data)
			at.of[i].data += row * condition_size(c, i);
	return at;
}

void conditioning_copy(struct conditioning *to, int row, const struct conditioning *from, int from_row)
{
	for (int i = 0; i < CONDITIONS; i++) {
		const size_t n = condition_size(to, i);

		if (to->of[i].data && from->of[i].data)
			memcpy(to->of[i].data + row * n, from->of[i].data + from_row * n, n * sizeof(float));
	}
}

void conditioning_zero(struct conditioning *c, int row)
{
	for (int i = 0; i < CONDITIONS; i++)
		if (c->of[i].data && conditions[i].text)
			memset(c->of[i].data + row * condition_size(c, i), 0, condition_size(c, i) * sizeof(float));
}

void conditioning_sizes(struct conditioning *c, int row, const int original[2], const int crop[2], const int target[2])
{
	const float numbers[TIME_IDS] = { original[1], original[0], crop[1], crop[0], target[1], target[0] };

	if (c->of[CONDITION_TIME_IDS].data)
		memcpy(c->of[CONDITION_TIME_IDS].data + row * TIME_IDS, numbers, sizeof(numbers));
}

void conditioning_free(struct conditioning *c)
{
	for (int i = 0; i < CONDITIONS; i++)
		free(c->of[i].data);
	*c = (struct conditioning){ 0 };
}
