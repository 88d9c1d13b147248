/* Sums, products, quotients, extremes; floats are IEEE's, subnormal numbers too. */
#include <math.h>
#include <functional>
#include "ptx.h"

namespace emu::ptx {

namespace {

template <class T, class F> void with_one(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]);

	each(lanes, [=](int l) { d[l] = F()(a[l]); });
}

template <class T, class F> void with_two(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);

	each(lanes, [=](int l) { d[l] = F()(a[l], b[l]); });
}

template <class T, class F> void with_three(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]), *c = w.reg<T>(i.at[3]);

	each(lanes, [=](int l) { d[l] = F()(a[l], b[l], c[l]); });
}

/* One that is no number gives the other. */
struct least { template <class T> T operator()(T a, T b) const { return a < b || b != b ? a : b; } };
struct most { template <class T> T operator()(T a, T b) const { return a > b || b != b ? a : b; } };
struct fused { template <class T> T operator()(T a, T b, T c) const { return std::fma(a, b, c); } };
struct product_sum { template <class T> T operator()(T a, T b, T c) const { return a * b + c; } };
struct reciprocal { template <class T> T operator()(T a) const { return 1 / a; } };
struct root { template <class T> T operator()(T a) const { return std::sqrt(a); } };
struct magnitude { template <class T> T operator()(T a) const { return std::fabs(a); } };

/* The greatest float that is not above a b + c: the product is exact in double, s and e together are the sum. */
struct fused_down {
	float operator()(float a, float b, float c) const
	{
		const double p = (double)a * b, s = p + c, back = s - p, e = (p - (s - back)) + (c - back);
		const float r = (float)s;

		return r > s || (r == s && e < 0) ? nextafterf(r, -INFINITY) : r;
	}
};

/* Subnormal numbers are 0, before and after. */
struct power_of_two {
	float operator()(float x) const
	{
		const float y = exp2f(fabsf(x) < 0x1p-126f ? 0 : x);

		return y < 0x1p-126f ? 0 : y;
	}
};

/* the sign of a, the rest of b */
struct signed_as {
	uint32_t operator()(uint32_t a, uint32_t b) const { return (a & 0x80000000u) | (b & 0x7fffffffu); }
};

template <class T, bool REST> void divided(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);

	for (uint32_t left = lanes; left; left &= left - 1) {
		const int l = __builtin_ctz(left);

		if (!b[l] || (std::is_signed_v<T> && b[l] == (T)-1 && a[l] == std::numeric_limits<T>::min()))
			w.complain(i, l, "a quotient that is no number", NULL);
		d[l] = REST ? a[l] % b[l] : a[l] / b[l];
	}
}

/* All bits of a product, or the upper half of them. */
template <class T, class WIDE, int SHIFT, class TO> void long_product(warp &w, const instruction &i, uint32_t lanes)
{
	TO *d = w.reg<TO>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);

	each(lanes, [=](int l) { d[l] = (TO)(((WIDE)a[l] * (WIDE)b[l]) >> SHIFT); });
}

}

static void add_floats(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "add.f32", "444", with_two<float, std::plus<float>> },
		{ "add.f64", "888", with_two<double, std::plus<double>> },
		{ "sub.f32", "444", with_two<float, std::minus<float>> },
		{ "sub.f64", "888", with_two<double, std::minus<double>> },
		{ "mul.f32", "444", with_two<float, std::multiplies<float>> },
		{ "mul.f64", "888", with_two<double, std::multiplies<double>> },
		{ "div.rn.f32", "444", with_two<float, std::divides<float>> },
		{ "div.rn.f64", "888", with_two<double, std::divides<double>> },
		{ "min.f32", "444", with_two<float, least> },
		{ "max.f32", "444", with_two<float, most> },
		{ "fma.rn.f32", "4444", with_three<float, fused> },
		{ "fma.rn.f64", "8888", with_three<double, fused> },
		{ "fma.rm.f32", "4444", with_three<float, fused_down> },
		{ "rcp.rn.f32", "44", with_one<float, reciprocal> },
		{ "rcp.rn.f64", "88", with_one<double, reciprocal> },
		{ "sqrt.rn.f32", "44", with_one<float, root> },
		{ "sqrt.rn.f64", "88", with_one<double, root> },
		{ "ex2.approx.ftz.f32", "44", with_one<float, power_of_two> },
		{ "neg.f32", "44", with_one<float, std::negate<float>> },
		{ "abs.f32", "44", with_one<float, magnitude> },
		{ "abs.f64", "88", with_one<double, magnitude> },
		{ "copysign.f32", "444", with_two<uint32_t, signed_as> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

static void add_integers(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "add.s32", "444", with_two<uint32_t, std::plus<uint32_t>> },
		{ "add.s64", "888", with_two<uint64_t, std::plus<uint64_t>> },
		{ "sub.s32", "444", with_two<uint32_t, std::minus<uint32_t>> },
		{ "sub.s64", "888", with_two<uint64_t, std::minus<uint64_t>> },
		{ "mul.lo.s32", "444", with_two<uint32_t, std::multiplies<uint32_t>> },
		{ "mul.lo.s64", "888", with_two<uint64_t, std::multiplies<uint64_t>> },
		{ "mad.lo.s32", "4444", with_three<uint32_t, product_sum> },
		{ "mul.wide.u16", "422", long_product<uint16_t, uint32_t, 0, uint32_t> },
		{ "mul.wide.s32", "844", long_product<int32_t, int64_t, 0, int64_t> },
		{ "mul.wide.u32", "844", long_product<uint32_t, uint64_t, 0, uint64_t> },
		{ "mul.hi.s32", "444", long_product<int32_t, int64_t, 32, int32_t> },
		{ "div.s32", "444", divided<int32_t, false> },
		{ "div.u32", "444", divided<uint32_t, false> },
		{ "div.u64", "888", divided<uint64_t, false> },
		{ "rem.u32", "444", divided<uint32_t, true> },
		{ "rem.u64", "888", divided<uint64_t, true> },
		{ "min.s32", "444", with_two<int32_t, least> },
		{ "max.s32", "444", with_two<int32_t, most> },
		{ "max.u32", "444", with_two<uint32_t, most> },
		{ "min.u64", "888", with_two<uint64_t, least> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

void add_arithmetic(table &t)
{
	add_floats(t);
	add_integers(t);
}

}
