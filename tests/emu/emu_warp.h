/*
 * emu_warp.h - shuffles, votes, __syncwarp, atomics.
 */
#ifndef EMU_WARP_H
#define EMU_WARP_H

#include "emu_core.h"

/* These run once for a whole warp, on memory of stopped fibers, which no race detector can know. */
#define EMU_NO_TSAN __attribute__((no_sanitize("thread")))

namespace emu {

enum shuffle_kind { XOR, DOWN, UP, IDX };

template <class T> struct shuffle_record { T in, out; int arg, width; };

static inline int shuffle_source(shuffle_kind kind, int lane, int arg, int width)
{
	const int base = lane & ~(width - 1), end = base + width;
	const int source = kind == XOR ? lane ^ arg : kind == DOWN ? lane + arg : kind == UP ? lane - arg :
		base + (arg & (width - 1));

	return source < (kind == UP ? base : 0) || source >= end ? lane : source;
}

template <class T, shuffle_kind K> EMU_NO_TSAN void shuffle_all(void **record, unsigned mask)
{
	for (int lane = 0; lane < 32; lane++) {
		auto *mine = (shuffle_record<T> *)record[lane];
		int source;

		if (!mine)
			continue;
		source = shuffle_source(K, lane, mine->arg, mine->width);
		if (!(mask >> source & 1))
			fault({ "shuffle", lane }, "lane %d reads lane %d, which is not in mask %08x", lane, source,
			      mask);
		mine->out = ((shuffle_record<T> *)record[source])->in;
	}
}

template <shuffle_kind K, class T> T shuffle(site s, unsigned mask, T v, int arg, int width = 32)
{
	static const char *const names[] = { "shfl_xor", "shfl_down", "shfl_up", "shfl" };
	shuffle_record<T> r{ v, v, arg, width };

	static_assert(sizeof(T) == 4 || sizeof(T) == 8, "what a shuffle moves");
	collective(names[K], s, mask, &r, shuffle_all<T, K>);
	return r.out;
}

enum vote_kind { BALLOT, ANY, ALL };

struct vote_record { unsigned in, out; };

template <vote_kind K> EMU_NO_TSAN void vote_all(void **record, unsigned mask)
{
	unsigned votes = 0;

	for (int lane = 0; lane < 32; lane++)
		if (record[lane] && ((vote_record *)record[lane])->in)
			votes |= 1u << lane;
	for (int lane = 0; lane < 32; lane++)
		if (record[lane])
			((vote_record *)record[lane])->out = K == BALLOT ? votes : K == ANY ? votes != 0 :
				votes == mask;
}

template <vote_kind K> unsigned vote(site s, unsigned mask, int yes)
{
	static const char *const names[] = { "ballot", "any", "all" };
	vote_record r{ yes != 0, 0 };

	collective(names[K], s, mask, &r, vote_all<K>);
	return r.out;
}

static inline void sync_warp(site s, unsigned mask = ~0u)
{
	char record;

	collective("syncwarp", s, mask, &record, nullptr);
}

/* Real ones, so that race detectors know them for what they are. */
template <class T, class F> T atomic(T *p, F f)
{
	T old, next;

	static_assert(sizeof(T) == 4 || sizeof(T) == 8, "what an atomic changes");
	__atomic_load(p, &old, __ATOMIC_RELAXED);
	do
		next = f(old);
	while (!__atomic_compare_exchange(p, &old, &next, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return old;
}

}

#define __shfl_xor_sync(...) ::emu::shuffle<::emu::XOR>(EMU_HERE, __VA_ARGS__)
#define __shfl_down_sync(...) ::emu::shuffle<::emu::DOWN>(EMU_HERE, __VA_ARGS__)
#define __shfl_up_sync(...) ::emu::shuffle<::emu::UP>(EMU_HERE, __VA_ARGS__)
#define __shfl_sync(...) ::emu::shuffle<::emu::IDX>(EMU_HERE, __VA_ARGS__)
#define __ballot_sync(mask, yes) ::emu::vote<::emu::BALLOT>(EMU_HERE, mask, yes)
#define __any_sync(mask, yes) ((int)::emu::vote<::emu::ANY>(EMU_HERE, mask, yes))
#define __all_sync(mask, yes) ((int)::emu::vote<::emu::ALL>(EMU_HERE, mask, yes))
#define __syncwarp(...) ::emu::sync_warp(EMU_HERE __VA_OPT__(,) __VA_ARGS__)

template <class T>
static inline T atomicAdd(T *p, std::common_type_t<T> v) { return emu::atomic(p, [v](T old) { return (T)(old + v); }); }
template <class T>
static inline T atomicMax(T *p, std::common_type_t<T> v)
{
	return emu::atomic(p, [v](T old) { return old > v ? old : v; });
}

#endif
