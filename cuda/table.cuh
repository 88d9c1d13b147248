/*
 * table.cuh - runs a rule over all elements of all parameters in a table, in one launch, and adds up what it is asked
 * for in another.
 *
 * A rule is a class made of a row and its step.  operator()(i, here, sum) is called by all threads of a block together,
 * so it may wait for them; `here` says if there is an element i for this one.  SUMS: how many sums it adds to; ROOM:
 * floats of shared memory.  A thread takes every THREADS-th element of the block's run: the order of a sum depends on
 * the row's size alone.
 */
#ifndef CUDA_TABLE_CUH
#define CUDA_TABLE_CUH

#include "dev.cuh"
#include "kernels.h"

enum { TABLE_THREADS = 256 };

template <class Rule> __global__ void __launch_bounds__(TABLE_THREADS) table_kernel(table t)
{
	SHARED(double, tmp, [32]);
	SHARED(float, room, [Rule::ROOM]);
	const unsigned row = t.row_of[blockIdx.x];
	const table_row &r = t.row[row];
	const size_t first = r.each * (blockIdx.x - r.first), end = min(r.n, first + r.each);
	Rule rule(r.of, t.steps + row * t.step_size, room);
	double sum[Rule::SUMS + 1] = {};

	for (size_t at = first; at < end; at += TABLE_THREADS)
		rule(at + threadIdx.x, at + threadIdx.x < end, sum);
	for (int k = 0; k < Rule::SUMS; k++) {
		const double s = block_sum(sum[k], tmp);

		if (threadIdx.x == 0)
			t.part[(size_t)blockIdx.x * Rule::SUMS + k] = s;
	}
}

/* A block a row. */
template <int SUMS> __global__ void __launch_bounds__(TABLE_THREADS) total_kernel(double *sum, table t)
{
	SHARED(double, tmp, [32]);
	const table_row &r = t.row[blockIdx.x];

	for (int k = 0; k < SUMS; k++) {
		double s = 0;

		for (unsigned i = threadIdx.x; i < r.blocks; i += TABLE_THREADS)
			s += t.part[((size_t)r.first + i) * SUMS + k];
		s = block_sum(s, tmp);
		if (threadIdx.x == 0)
			sum[(size_t)blockIdx.x * SUMS + k] = s;
	}
}

template <class Rule> static cudaError_t run_rule(cudaStream_t st, const table *t, double *sum)
{
	LAUNCH(table_kernel<Rule>, t->blocks, TABLE_THREADS, 0, st, *t);
	if constexpr (Rule::SUMS > 0)
		LAUNCH(total_kernel<Rule::SUMS>, t->rows, TABLE_THREADS, 0, st, sum, *t);
	return cudaGetLastError();
}

/* The beginning of a rule: what it reads, and its constructor.  No const members: g++ 12 then takes what their pointers
 * are written through for dead. */
#define RULE(name, step_type, sums, room_floats) \
	enum { SUMS = sums, ROOM = room_floats }; \
	trained of; \
	step_type s; \
	float *room; \
	__device__ name(const trained &of, const void *step, float *room) \
		: of(of), s(*(const step_type *)step), room(room)

#define LAUNCHER(name, rule) \
	extern "C" cudaError_t name(cudaStream_t st, const struct table *t, double *sum) \
	{ \
		return run_rule<rule>(st, t, sum); \
	}

/* fresh x + keep y, rounded as axpby does; keep 0 overwrites what may be NaN */
DEV float mixed(mix s, float x, float y)
{
	const float fresh = __fmul_rn(s.fresh, x);

	return s.keep != 0 ? fmaf(s.keep, y, fresh) : fresh;
}

DEV float mixed_square(mix s, float x, float y)
{
	return mixed(s, x * x, y);
}

/* Writes a weight, and adds up the squares of what weights changed by. */
DEV void put_weight(float *p, float value, double *moved)
{
	const float way = value - *p;

	*moved += (double)way * way;
	*p = value;
}

#endif
