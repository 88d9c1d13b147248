/* The table of the CUDA backend.  Inside a step each row goes by step.h, which is told in one number what the call was
 * given; what that number leaves out must reach the card by step_value(). */
#include <string.h>
#include <type_traits>
#include <cublas_v2.h>
#include "kernels.h"
extern "C" {
#include "internal.h"
}

namespace {

/* The number of a call. */
struct digest {
	uint64_t sum = 0;
	bool whole = true;              /* false: something was given whose contents are not known here */

	void word(uint64_t w)
	{
		sum = ((sum << 7 | sum >> 57) ^ w) * 0x9e3779b97f4a7c15;
		sum ^= sum >> 32;
	}
};

/* Numbers and addresses are themselves.  An argument of another type must have a function below. */
template <class T> void say(digest &h, T v)
{
	uint64_t w = 0;

	if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
		memcpy(&w, &v, sizeof(v));
		h.word(w);
	} else if constexpr (std::is_pointer_v<T>) {
		using pointed = std::remove_cv_t<std::remove_pointer_t<T>>;

		h.whole &= std::is_arithmetic_v<pointed> || std::is_void_v<pointed>;
		h.word((uint64_t)(uintptr_t)v);
	} else {
		h.whole = false;
	}
}

template <class... T> void say_all(digest &h, T... v) { (say(h, v), ...); }

/* All members, each by name: one more does not compile. */
void say(digest &h, values v)
{
	const auto &[at, type, shift] = v;
	say_all(h, at, type, shift);
}

void say(digest &h, const weight *w)
{
	const auto &[data, dtype, out, in, kh, kw, on_host, placed, panel] = *w;
	say_all(h, data, dtype, out, in, kh, kw, on_host, placed, panel);
}

void say(digest &h, const narrow *n)
{
	h.word(n != NULL);
	if (!n)
		return;
	const auto &[z, by, rank, scale, from, first] = *n;
	say_all(h, z, by, rank, scale, from, first);
}

void say(digest &h, const stacked *s)
{
	const auto &[of, count] = *s;

	say(h, count);
	for (int i = 0; i < count; i++) {
		const auto &[w, bias, more] = of[i];
		say_all(h, w, bias, more);
	}
}

void say(digest &h, const stacked_grads *s)
{
	const auto &[of, count] = *s;

	say(h, count);
	for (int i = 0; i < count; i++) {
		const auto &[dup, ddown, add_up, add_down, dy, x, z, dz, rows, out, in, rank, ldy, scale] = of[i];
		say_all(h, dup, ddown, add_up, add_down, dy, x, z, dz, rows, out, in, rank, ldy, scale);
	}
}

void say(digest &h, const conv_shape *s)
{
	const auto &[n, height, width, oh, ow, stride, pad] = *s;
	say_all(h, n, height, width, oh, ow, stride, pad);
}

void say(digest &h, const attention_shape *s)
{
	const auto &[n, heads, d, lq, lk, ldq, ldk, ldv, ldo, causal, scale] = *s;
	say_all(h, n, heads, d, lq, lk, ldq, ldk, ldv, ldo, causal, scale);
}

void say(digest &h, const norm_shape *s)
{
	const auto &[n, hw, c, groups, eps, silu] = *s;
	say_all(h, n, hw, c, groups, eps, silu);
}

void say(digest &h, const loss_terms *s)
{
	const auto &[kind, n, pixels, channels, weight, c, mask] = *s;
	say_all(h, kind, n, pixels, channels, weight, c, mask);
}

void say(digest &h, const kronecker_shape *s)
{
	const auto &[p, q, m, n, taps] = *s;
	say_all(h, p, q, m, n, taps);
}

void say(digest &h, const rotations *s)
{
	const auto &[blocks, size, triangle, inverse, terms, limit] = *s;
	say_all(h, blocks, size, triangle, inverse, terms, limit);
}

/* ---- rows that are given host memory ---- */

/* What the host brings is another with each step: put() hands it over, in the order in which the row itself does. */
template <auto F> struct brings { template <class... A> static void put(device *, A...) { } };

template <> struct brings<cuda_upload> {
	static void put(device *d, void *, const void *host, size_t bytes) { step_value(d, host, bytes); }
};

template <> struct brings<cuda_dropout> {
	template <class X> static void put(device *d, X, const struct random *r, double, int, int, int, bool)
	{
		step_value(d, r, sizeof(*r));
	}
};

struct brings_indices {
	static void put(device *d, const int32_t *index, int rows) { step_value(d, index, rows * sizeof(*index)); }
};

template <> struct brings<cuda_embedding> {
	template <class Y> static void put(device *d, Y, const weight *, const int32_t *ids, int rows)
	{
		brings_indices::put(d, ids, rows);
	}
};

template <> struct brings<cuda_gather_rows> {
	template <class Y, class X> static void put(device *d, Y, X, const int32_t *index, int rows, int)
	{
		brings_indices::put(d, index, rows);
	}
};

template <> struct brings<cuda_gather_rows_back> : brings<cuda_gather_rows> { };

void say(digest &, const struct random *) { }   /* put() */

/* Of an array of int: how many are read at once; 0: put() hands them over; below 0: not known. */
template <auto F> struct ints { enum { count = -1 }; };
template <> struct ints<cuda_embedding> { enum { count = 0 }; };
template <> struct ints<cuda_gather_rows> { enum { count = 0 }; };
template <> struct ints<cuda_gather_rows_back> { enum { count = 0 }; };
template <> struct ints<cuda_kronecker_back> { enum { count = 2 }; };
template <> struct ints<cuda_rotate_back> { enum { count = 2 }; };
template <> struct ints<cuda_attention_back> { enum { count = 3 }; };

/* Types are compared: under UBSan gcc knows no constant comparison of functions. */
template <auto F> struct function { };
template <auto F, auto G> constexpr bool is() { return std::is_same_v<function<F>, function<G>>; }

template <auto F, class T> void say_of(digest &h, T v)
{
	if constexpr (std::is_same_v<T, const int *>) {
		h.whole &= ints<F>::count >= 0;
		for (int i = 0; i < ints<F>::count; i++)
			h.word(v[i]);
	} else if constexpr (!(is<F, cuda_upload>() && std::is_same_v<T, const void *>)) {
		say(h, v);
	}
}

/* ---- the rows ---- */

/* The host reads what they give, or memory is taken or given back. */
template <auto F, class R> constexpr bool is_the_hosts()
{
	return !std::is_void_v<R> || is<F, cuda_download>() || is<F, cuda_pass>() || is<F, cuda_release>() ||
	       is<F, cuda_unprepare>();
}

/* decay: with nvcc 11.8 F is a function here, not the pointer to one. */
template <auto F, int N, class T = std::decay_t<decltype(F)>> struct row;

template <auto F, int N, class R, class... A> struct row<F, N, R (*)(device *, A...)> {
	static R call(device *d, A... a)
	{
		digest h;

		if (!d || !step_runs(d))
			return F(d, a...);
		if constexpr (is_the_hosts<F, R>()) {
			step_cannot(d, N);
			return F(d, a...);
		} else {
			h.word(N);
			(say_of<F>(h, a), ...);
			if (!h.whole)
				step_cannot(d, N);
			if (!step_runs(d) || step_call(d, N, h.sum))
				F(d, a...);
			else
				brings<F>::put(d, a...);
		}
	}
};

/* They begin and end what step_runs() tells; there is no device before open(); and another thread looks. */
template <int N, class T> struct row<cuda_open, N, T> { static constexpr auto call = cuda_open; };
template <int N> struct row<cuda_step_begin, N, decltype(&cuda_step_begin)> {
	static constexpr auto call = cuda_step_begin;
};
template <int N> struct row<cuda_step_end, N, decltype(&cuda_step_end)> { static constexpr auto call = cuda_step_end; };
template <int N> struct row<cuda_look, N, decltype(&cuda_look)> { static constexpr auto call = cuda_look; };

}

extern "C" const struct backend cuda_backend = { "cuda",
#define OP(type, name, parameters) row<cuda_##name, ROW_##name>::call,
#include "../libcommon/backend_ops.def"
};

extern "C" const size_t cuda_backend_bytes = sizeof(cuda_backend);
