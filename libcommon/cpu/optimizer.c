/* Sums over gradients, and the steps of the optimizers but Adafactor, as rules for the chunks of a table. */
#include <string.h>
#include "internal.h"

/* ---- of a gradient alone ---- */

static void squares_rule(const struct chunk *c, double *sum)
{
	*sum = c->k->sum_squares(c->of.grad, c->of.n);
}

void cpu_sum_squares(struct device *d, double *sum, const struct trained *t, int count)
{
	run_table(d, &(struct table){ t, count, squares_rule, .work = 1, .sums = 1 }, sum);
}

static void axpby_rule(const struct chunk *c, double *sum)
{
	const struct mix *s = c->common;

	c->k->axpby(c->of.p, s->fresh, c->of.grad, s->keep, c->of.n);
}

void cpu_axpby_all(struct device *d, float a, float b, const struct trained *t, int count)
{
	run_table(d, &(struct table){ t, count, axpby_rule, .common = &(struct mix){ a, b }, .work = 0.5 }, NULL);
}

/* ---- Adam and its kin ---- */

static void adamw_rule(const struct chunk *c, double *moved)
{
	remember(c);
	c->k->adamw(c->of.p, c->of.state[0], c->of.state[1], c->of.grad, c->of.n, c->step);
	*moved = squares_moved(c);
}

void cpu_adamw(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s, int count)
{
	run_table(d, &(struct table){ t, count, adamw_rule, s, sizeof(*s), .work = 5, .sums = 1 }, moved);
}

static void lion_rule(const struct chunk *c, double *moved)
{
	remember(c);
	c->k->lion(c->of.p, c->of.state[0], c->of.grad, c->of.n, c->step);
	*moved = squares_moved(c);
}

void cpu_lion(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s, int count)
{
	run_table(d, &(struct table){ t, count, lion_rule, s, sizeof(*s), .work = 6, .sums = 1 }, moved);
}

/* ---- moments in bytes ---- */

static void codes_rule(const struct chunk *c)
{
	const struct trained *u = c->row;
	const float *maps = c->common;

	_Static_assert(CHUNK % ADAM8_BLOCK == 0, "a block belongs to one task");
	for (size_t at = 0; at < c->of.n; at += ADAM8_BLOCK) {
		const size_t here = c->at + at, block = here / ADAM8_BLOCK,
			     n = c->of.n - at < ADAM8_BLOCK ? c->of.n - at : ADAM8_BLOCK;
		const struct adam8_moments q = { (uint8_t *)u->state[0] + here, (uint8_t *)u->state[1] + here,
						 (float *)u->state[2] + block, (float *)u->state[3] + block, maps,
						 maps + 256 };

		c->k->adamw8bit(c->of.p + at, &q, c->of.grad + at, n, c->step);
	}
}

/* bitsandbytes decays after the update, PyTorch before it. */
static void floats_rule(const struct chunk *c)
{
	const struct adamw_step *s = c->step;
	struct adamw_step first = *s;

	first.decay = 0;
	c->k->adamw(c->of.p, c->of.state[0], c->of.state[1], c->of.grad, c->of.n, &first);
	c->k->axpby(c->of.p, 1 - (double)s->lr * s->decay, c->of.p, 0, c->of.n);
}

static void adamw8bit_rule(const struct chunk *c, double *moved)
{
	remember(c);
	if (c->row->state[2])
		codes_rule(c);
	else
		floats_rule(c);
	*moved = squares_moved(c);
}

void cpu_adamw8bit(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s,
		   const float *maps, int count)
{
	run_table(d, &(struct table){ t, count, adamw8bit_rule, s, sizeof(*s), maps, .work = 32, .sums = 1 }, moved);
}

/* ---- Prodigy, D-Adaptation ---- */

/* The gradient as it was, scaled and with the decay that is coupled to it, in room[1]. */
static const float *gradient(const struct chunk *c, float scale, float decay)
{
	c->k->axpby(c->room[1], scale, c->of.grad, 0, c->of.n);
	if (decay)
		c->k->axpby(c->room[1], decay, c->of.p, 1, c->of.n);
	return c->room[1];
}

static void estimate_rule(const struct chunk *c, double *sum)
{
	const struct estimate_step *s = c->common;
	const struct kernels *k = c->k;
	const size_t n = c->of.n;
	float *const *state = (float *const *)c->of.state, *m = state[0], *v = state[1], *sums = state[2],
		     *start = state[3], *z = c->room[2];
	const float *g = gradient(c, s->grad_scale, s->decay);

	if (start) {
		memcpy(z, start, n * sizeof(*z));
		k->axpby(z, -1, c->of.p, 1, n);
	} else {
		k->over_root(z, 1, sums, v, s->eps, 0, n);
	}
	sum[0] = k->dot(g, z, n);
	k->axpby(m, s->m.fresh, g, s->m.keep, n);
	k->axxpby(v, s->v.fresh, g, s->v.keep, n);
	k->axpby(sums, s->s.fresh, g, s->s.keep, n);
	sum[1] = k->sum_magnitudes(sums, n);
}

void cpu_estimate(struct device *d, double *sum, const struct trained *t, const struct estimate_step *s, int count)
{
	run_table(d, &(struct table){ t, count, estimate_rule, .common = s, .work = 8, .sums = 2 }, sum);
}

struct root_step { float a, eps, b; };

static void estimate_move_rule(const struct chunk *c, double *moved)
{
	const struct root_step *s = c->common;

	remember(c);
	c->k->over_root(c->of.p, s->a, c->of.state[0], c->of.state[1], s->eps, s->b, c->of.n);
	*moved = squares_moved(c);
}

void cpu_estimate_move(struct device *d, double *moved, float a, float eps, float b, const struct trained *t, int count)
{
	const struct root_step s = { a, eps, b };

	run_table(d, &(struct table){ t, count, estimate_move_rule, .common = &s, .work = 6, .sums = 1 }, moved);
}

/* ---- schedule-free AdamW ---- */

static void schedulefree_rule(const struct chunk *c, double *moved)
{
	const struct schedulefree_step *s = c->step;
	const struct kernels *k = c->k;
	const size_t n = c->of.n;
	float *p = c->of.p, *v = c->of.state[0], *z = c->of.state[1], *way = c->room[2];
	const float *g = gradient(c, s->grad_scale, 0);

	remember(c);
	k->axxpby(v, s->v.fresh, g, s->v.keep, n);
	k->over_root(way, s->root, g, v, s->eps, 0, n);
	if (s->decay)
		k->axpby(way, s->decay, p, 1, n);
	k->axpby(p, s->p.fresh, z, s->p.keep, n);
	k->axpby(p, s->step, way, 1, n);
	k->axpby(z, s->z_step, way, 1, n);
	*moved = squares_moved(c);
}

void cpu_schedulefree(struct device *d, double *moved, const struct trained *t, const struct schedulefree_step *s,
		      int count)
{
	run_table(d, &(struct table){ t, count, schedulefree_rule, s, sizeof(*s), .work = 12, .sums = 1 }, moved);
}
