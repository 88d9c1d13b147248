/* Noise that is not plain: offset, multires, input perturbation; formulas and draws. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "../base/philox.h"
#include "noise.h"

/* ---- formulas ---- */

void noise_offset(float *noise, const float *latent, const struct noise_shape *s, double offset, double adaptive,
		  const float *normal)
{
	const size_t pixels = (size_t)s->h * s->w;

	for (int c = 0; c < s->c; c++) {
		double mean = 0, strength;

		for (size_t i = 0; i < pixels; i++)
			mean += latent[i * s->c + c];
		strength = offset + adaptive * fabs(mean / pixels);
		if (strength <= 0)
			continue;
		for (size_t i = 0; i < pixels; i++)
			noise[i * s->c + c] += strength * normal[c];
	}
}

struct noise_shape multires_level(const struct noise_shape *s, double r, int i)
{
	const int h = s->h / plain_pow(r, i), w = s->w / plain_pow(r, i);

	return (struct noise_shape){ h > 1 ? h : 1, w > 1 ? w : 1, s->c };
}

/* Between which two of n values position i of `size` lies, and how far. */
struct between { int low, high; double part; };

static struct between locate(int i, int size, int n)
{
	const double at = fmax((i + 0.5) * n / size - 0.5, 0);
	const int low = at < n - 1 ? (int)at : n - 1;

	return (struct between){ low, low + 1 < n ? low + 1 : low, at - low };
}

static double mix(double a, double b, double part)
{
	return a + (b - a) * part;
}

void multires_add(float *noise, const struct noise_shape *s, const float *level, const struct noise_shape *l,
		  double factor)
{
	for (int y = 0; y < s->h; y++) {
		const struct between row = locate(y, s->h, l->h);
		const float *top = level + (size_t)row.low * l->w * l->c,
			*bottom = level + (size_t)row.high * l->w * l->c;

		for (int x = 0; x < s->w; x++) {
			const struct between col = locate(x, s->w, l->w);

			for (int c = 0; c < s->c; c++, noise++)
				*noise += factor * mix(mix(top[col.low * l->c + c], top[col.high * l->c + c], col.part),
						       mix(bottom[col.low * l->c + c], bottom[col.high * l->c + c],
							   col.part), row.part);
		}
	}
}

void noise_normalize(float *noise, size_t n)
{
	double mean = 0, sum = 0, deviation;

	for (size_t i = 0; i < n; i++)
		mean += noise[i];
	mean /= n;
	for (size_t i = 0; i < n; i++)
		sum += (noise[i] - mean) * (noise[i] - mean);
	deviation = n > 1 ? sqrt(sum / (n - 1)) : 1;
	for (size_t i = 0; i < n; i++)
		noise[i] /= deviation;
}

/* ---- draws ---- */

static struct random draw(const struct noise_draw *d, enum purpose purpose)
{
	return (struct random){ d->seed, purpose, d->step, d->item };
}

static double strength(const struct noise_draw *d, double most, bool by_chance, uint32_t which)
{
	const struct random r = draw(d, RANDOM_NOISE_STRENGTH);

	return by_chance ? most * random_uniform(&r, which) : most;
}

void noise_draw_plain(const struct noise_draw *d, float *noise, size_t n)
{
	const struct random r = draw(d, RANDOM_NOISE);

	random_normal(&r, noise, n);
}

static void add_offset(const struct noise_settings *n, const struct noise_draw *d, const float *latent,
		       const struct noise_shape *s, float *noise)
{
	const struct random r = draw(d, RANDOM_NOISE_OFFSET);
	float *normal = xmalloc(s->c * sizeof(*normal));

	random_normal(&r, normal, s->c);
	noise_offset(noise, latent, s, strength(d, n->offset, n->offset_random, 0), n->adaptive, normal);
	free(normal);
}

/* Adds one level of noise after the other; the first has the full size. */
static void add_levels(const struct noise_settings *n, const struct noise_draw *d, const struct noise_shape *s,
		       float *noise)
{
	const struct random ratio = draw(d, RANDOM_MULTIRES_RATIO), normal = draw(d, RANDOM_MULTIRES);
	struct noise_shape level[16];
	size_t all = 0;
	int count = 0;
	float *x, *at;

	do {
		level[count] = multires_level(s, 2 + 2 * random_uniform(&ratio, count), count);
		all += (size_t)level[count].h * level[count].w * s->c;
		count++;
	} while (count < n->multires_iterations && count < 16 && level[count - 1].h > 1 && level[count - 1].w > 1);
	x = at = xmalloc(all * sizeof(*x));
	random_normal(&normal, x, all);
	for (int i = 0; i < count; at += (size_t)level[i].h * level[i].w * s->c, i++)
		multires_add(noise, s, at, &level[i], plain_pow(n->multires_discount, i));
	noise_normalize(noise, (size_t)s->h * s->w * s->c);
	free(x);
}

void noise_change(const struct noise_settings *n, const struct noise_draw *d, const float *latent,
		  const struct noise_shape *s, float *noise)
{
	if (n->offset)
		add_offset(n, d, latent, s, noise);
	if (n->multires_iterations)
		add_levels(n, d, s, noise);
}

void noise_input(const struct noise_settings *n, const struct noise_draw *d, const float *noise, size_t count,
		 float *input)
{
	const struct random r = draw(d, RANDOM_INPUT_NOISE);
	const double gamma = strength(d, n->ip_gamma, n->ip_random, 1);

	random_normal(&r, input, count);
	for (size_t i = 0; i < count; i++)
		input[i] = noise[i] + gamma * input[i];
}
