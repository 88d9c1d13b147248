/* Sums over gradients and optimizer steps, as rules for the table of parameters, with the formulas and the mix of float
 * and double of cpu/. */
#include "table.cuh"

struct squares {
	enum { SUMS = 1, ROOM = 1 };
	const float *x;
	__device__ squares(const trained &of, const void *, float *) : x(of.grad) { }
	__device__ void operator()(size_t i, bool here, double *sum) const
	{
		if (here)
			sum[0] += (double)x[i] * x[i];
	}
};

struct scaled_sums {
	RULE(scaled_sums, mix, 0, 1) { }
	__device__ void operator()(size_t i, bool here, double *) const
	{
		if (here)
			of.p[i] = mixed(s, of.grad[i], of.p[i]);
	}
};

/* ---- Adam and its kin: each rounding is written down, or compilers would fuse one product or another ---- */

DEV float moved_moment(float keep, float old, float share, float x)
{
	return fmaf(keep, old, __fmul_rn(share, x));
}

DEV float moved_square(float keep, float old, float share, float x)
{
	return fmaf(keep, old, __fmul_rn(__fmul_rn(share, x), x));
}

DEV void adamw_element(const trained &of, const adam_factors &f, size_t i, double *moved)
{
	float *m = (float *)of.state[0], *v = (float *)of.state[1];
	const float g = __fmul_rn(f.grad_scale, of.grad[i]), m1 = fmaf(f.share1, g - m[i], m[i]),
		v1 = moved_square(f.beta2, v[i], f.share2, g), way = f.step * m1 / (sqrtf(v1) / f.root2 + f.eps);

	m[i] = m1;
	v[i] = v1;
	put_weight(&of.p[i], __fmul_rn(f.last, __fmul_rn(f.keep, of.p[i]) - way), moved);
}

struct adamw {
	RULE(adamw, adam_factors, 1, 1) { }
	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (here)
			adamw_element(of, s, i, moved);
	}
};

struct lion {
	RULE(lion, adam_factors, 1, 1) { }
	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (here) {
			float *m = (float *)of.state[0];
			const float g = __fmul_rn(s.grad_scale, of.grad[i]),
				way = moved_moment(s.beta1, m[i], s.share1, g), sign = (way > 0) - (way < 0);

			put_weight(&of.p[i], fmaf(s.keep, of.p[i], -s.step * sign), moved);
			m[i] = moved_moment(s.beta2, m[i], s.share2, g);
		}
	}
};

/* ---- moments in bytes: a thread an element, a block of threads a block of codes ---- */

/* The entry of an ascending map that is nearest to x. */
DEV int nearest_entry(const float *map, float x)
{
	int i = 0;

	for (int bit = 128; bit; bit >>= 1)
		i += map[i + bit] <= x ? bit : 0;
	return i < 255 && x - map[i] > map[i + 1] - x ? i + 1 : i;
}

/* absmax of the block; here: this thread has an element */
DEV float encode(uint8_t *code, float x, bool here, const float *map, float *tmp)
{
	const float absmax = block_max(here ? fabsf(x) : 0, tmp);

	if (here) {
		const int c = nearest_entry(map, absmax > 0 ? x / absmax : 0);

		*code = x < 0 && map[c] >= 0 ? c - 1 : c;
	}
	return absmax;
}

enum { MAP = 256 };

/* A run begins with a block of codes.  Where absmax1 is NULL the moments are floats. */
struct adamw8bit {
	RULE(adamw8bit, adam_factors, 1, 2 * MAP + 32)
	{
		room[threadIdx.x] = s.maps[threadIdx.x];
		room[MAP + threadIdx.x] = s.maps[MAP + threadIdx.x];
		__syncthreads();
	}

	__device__ void codes(size_t i, bool here, double *moved) const
	{
		uint8_t *code1 = (uint8_t *)of.state[0], *code2 = (uint8_t *)of.state[1];
		const size_t block = i / ADAM8_BLOCK;
		float *absmax1 = (float *)of.state[2] + block, *absmax2 = (float *)of.state[3] + block;
		const float *map1 = room, *map2 = room + MAP;
		float *tmp = room + 2 * MAP, m1 = 0, v1 = 0, most1, most2;

		if (here) {
			const float g = __fmul_rn(s.grad_scale, of.grad[i]);

			m1 = moved_moment(s.beta1, __fmul_rn(map1[code1[i]], *absmax1), s.share1, g);
			v1 = moved_square(s.beta2, __fmul_rn(map2[code2[i]], *absmax2), s.share2, g);
			put_weight(&of.p[i], __fmul_rn(s.keep, fmaf(-s.step, m1 / (sqrtf(v1) + s.eps), of.p[i])),
				   moved);
		}
		__syncthreads();                /* the old absmax was read by all */
		most1 = encode(&code1[i], m1, here, map1, tmp);
		most2 = encode(&code2[i], v1, here, map2, tmp);
		if (threadIdx.x == 0) {
			*absmax1 = most1;
			*absmax2 = most2;
		}
	}

	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (of.state[2])
			codes(i, here, moved);
		else if (here)
			adamw_element(of, s, i, moved);
	}
};

/* ---- Prodigy, D-Adaptation, schedule-free AdamW ---- */

DEV float over_root(float a, float x, float v, float eps)
{
	return a * x / (sqrtf(v) + eps);
}

struct estimate {
	RULE(estimate, estimate_step, 2, 1) { }
	__device__ void operator()(size_t i, bool here, double *sum) const
	{
		if (here) {
			float *m = (float *)of.state[0], *v = (float *)of.state[1], *sums = (float *)of.state[2];
			const float *start = (const float *)of.state[3], p = of.p[i];
			const float scaled = __fmul_rn(s.grad_scale, of.grad[i]),
				g = s.decay != 0 ? mixed({ s.decay, 1 }, p, scaled) : scaled,
				z = start ? start[i] - p : over_root(1, sums[i], v[i], s.eps),
				now = mixed(s.s, g, sums[i]);

			sum[0] += (double)g * z;
			sum[1] += fabsf(now);
			m[i] = mixed(s.m, g, m[i]);
			v[i] = mixed_square(s.v, g, v[i]);
			sums[i] = now;
		}
	}
};

struct estimate_move {
	RULE(estimate_move, root_factors, 1, 1) { }
	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (here) {
			const float *m = (const float *)of.state[0], *v = (const float *)of.state[1];
			const float way = over_root(s.a, m[i], v[i], s.eps);

			put_weight(&of.p[i], s.b != 0 ? fmaf(s.b, of.p[i], way) : way, moved);
		}
	}
};

struct schedulefree {
	RULE(schedulefree, schedulefree_step, 1, 1) { }
	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (here) {
			float *v = (float *)of.state[0], *z = (float *)of.state[1];
			const float g = __fmul_rn(s.grad_scale, of.grad[i]), p = of.p[i],
				v1 = mixed_square(s.v, g, v[i]), along = over_root(s.root, g, v1, s.eps),
				way = s.decay != 0 ? mixed({ s.decay, 1 }, p, along) : along;
			const float between = mixed(s.p, z[i], p);

			v[i] = v1;
			put_weight(&of.p[i], mixed({ s.step, 1 }, way, between), moved);
			z[i] = mixed({ s.z_step, 1 }, way, z[i]);
		}
	}
};

/* ---- for the host ---- */

LAUNCHER(k_sum_squares, squares)
LAUNCHER(k_axpby_all, scaled_sums)
LAUNCHER(k_adamw, adamw)
LAUNCHER(k_lion, lion)
LAUNCHER(k_adamw8bit, adamw8bit)
LAUNCHER(k_estimate, estimate)
LAUNCHER(k_estimate_move, estimate_move)
LAUNCHER(k_schedulefree, schedulefree)
