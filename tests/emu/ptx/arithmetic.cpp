/* Sums, products, quotients, extremes; floats are IEEE's, subnormal numbers too. */
#include <math.h>
#include <functional>
#include <limits>
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
/* 16 bits would become an int, whose product may overflow. */
template <class T> struct sum { T operator()(T a, T b) const { return (T)(a + b); } };
template <class T> struct difference { T operator()(T a, T b) const { return (T)(a - b); } };
template <class T> struct low_product { T operator()(T a, T b) const { return (T)((uint64_t)a * b); } };
template <class T> struct product_sum { T operator()(T a, T b, T c) const { return (T)((uint64_t)a * b + c); } };
template <class T> struct opposite { T operator()(T a) const { return (T)(0 - a); } };
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
		{ "mul.rn.f32", "444", with_two<float, std::multiplies<float>> },
		{ "mul.rn.f64", "888", with_two<double, std::multiplies<double>> },
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
		{ "min.f64", "888", with_two<double, least> },
		{ "max.f64", "888", with_two<double, most> },
		{ "neg.f64", "88", with_one<double, std::negate<double>> },
		{ "neg.f32", "44", with_one<float, std::negate<float>> },
		{ "abs.f32", "44", with_one<float, magnitude> },
		{ "abs.f64", "88", with_one<double, magnitude> },
		{ "copysign.f32", "444", with_two<uint32_t, signed_as> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

/* U: the same without sign, whose sums may wrap around */
template <class T, class U> static void add_integers(table &t, const std::string &type)
{
	static const std::string one(2, '0' + sizeof(T)), two(3, '0' + sizeof(T)), three(4, '0' + sizeof(T));
	const struct { const char *name; const std::string &shape; operation run; } rows[] = {
		{ "add.", two, with_two<U, sum<U>> },
		{ "sub.", two, with_two<U, difference<U>> },
		{ "mul.lo.", two, with_two<U, low_product<U>> },
		{ "mad.lo.", three, with_three<U, product_sum<U>> },
		{ "min.", two, with_two<T, least> },
		{ "max.", two, with_two<T, most> },
		{ "div.", two, divided<T, false> },
		{ "rem.", two, divided<T, true> },
		{ "neg.", one, with_one<U, opposite<U>> },
	};

	for (auto &r : rows)
		t.emplace(r.name + type, row{ r.shape.c_str(), r.run });
}

static void add_long_products(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "mul.wide.u16", "422", long_product<uint16_t, uint32_t, 0, uint32_t> },
		{ "mul.wide.s16", "422", long_product<int16_t, int32_t, 0, int32_t> },
		{ "mul.wide.u32", "844", long_product<uint32_t, uint64_t, 0, uint64_t> },
		{ "mul.wide.s32", "844", long_product<int32_t, int64_t, 0, int64_t> },
		{ "mul.hi.u32", "444", long_product<uint32_t, uint64_t, 32, uint32_t> },
		{ "mul.hi.s32", "444", long_product<int32_t, int64_t, 32, int32_t> },
		{ "mul.hi.u64", "888", long_product<uint64_t, unsigned __int128, 64, uint64_t> },
		{ "mul.hi.s64", "888", long_product<int64_t, __int128, 64, int64_t> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

void add_arithmetic(table &t)
{
	add_floats(t);
	add_integers<int16_t, uint16_t>(t, "s16");
	add_integers<uint16_t, uint16_t>(t, "u16");
	add_integers<int32_t, uint32_t>(t, "s32");
	add_integers<uint32_t, uint32_t>(t, "u32");
	add_integers<int64_t, uint64_t>(t, "s64");
	add_integers<uint64_t, uint64_t>(t, "u64");
	add_long_products(t);
}

}
