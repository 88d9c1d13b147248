/* From one type to another. */
#include "ptx.h"
#include "../emu_half.h"
#include "../emu_ptx.h"

namespace emu::ptx {

namespace {

template <class TO, class FROM> struct plain { static TO of(FROM x) { return (TO)x; } };

struct saturated { static float of(float x) { return x > 0 ? x < 1 ? x : 1 : 0; } };       /* NaN is 0 */
struct tf32 { static uint32_t of(float x) { return round_to_tf32(x); } };
struct to_half { static uint16_t of(float x) { return __float2half_rn(x).bits; } };
struct from_half { static float of(uint16_t x) { return __half2float({ x }); } };
struct to_bfloat { static uint16_t of(float x) { return __float2bfloat16_rn(x).bits; } };

template <class TO, class FROM, class F> void converted(warp &w, const instruction &i, uint32_t lanes)
{
	TO *d = w.reg<TO>(i.at[0]);
	const FROM *a = w.reg<FROM>(i.at[1]);

	each(lanes, [=](int l) { d[l] = F::of(a[l]); });
}

template <class TO, class FROM> void plainly(warp &w, const instruction &i, uint32_t lanes)
{
	converted<TO, FROM, plain<TO, FROM>>(w, i, lanes);
}

/* Registers may be wider than what is read of them and written to them, which then is extended. */
template <class TO, class TO_REGISTER, class FROM, class FROM_REGISTER>
void resized(warp &w, const instruction &i, uint32_t lanes)
{
	TO_REGISTER *d = w.reg<TO_REGISTER>(i.at[0]);
	const FROM_REGISTER *a = w.reg<FROM_REGISTER>(i.at[1]);

	each(lanes, [=](int l) { d[l] = (TO_REGISTER)(TO)(FROM)a[l]; });
}

/* The first operand becomes the upper half. */
void halves(warp &w, const instruction &i, uint32_t lanes)
{
	uint32_t *d = w.reg<uint32_t>(i.at[0]);
	const float *a = w.reg<float>(i.at[1]), *b = w.reg<float>(i.at[2]);

	each(lanes, [=](int l) { d[l] = (uint32_t)to_half::of(a[l]) << 16 | to_half::of(b[l]); });
}

template <class T, class REGISTER> struct integer { typedef T type; typedef REGISTER reg; std::string name; };

template <class TO, class FROM> void add_resize(table &t, const TO &to, const FROM &from)
{
	typedef typename TO::reg d;
	typedef typename FROM::reg a;
	static const std::string shape = { '0' + sizeof(d), '0' + sizeof(a) };

	t.emplace("cvt." + to.name + "." + from.name,
		  row{ shape.c_str(), resized<typename TO::type, d, typename FROM::type, a> });
}

/* f(each integer type in each register that may hold it) */
template <class F> void each_integer(F f)
{
	f(integer<uint8_t, uint16_t>{ "u8" }), f(integer<uint8_t, uint32_t>{ "u8" });
	f(integer<int8_t, int16_t>{ "s8" }), f(integer<int8_t, int32_t>{ "s8" });
	f(integer<uint16_t, uint16_t>{ "u16" }), f(integer<uint16_t, uint32_t>{ "u16" });
	f(integer<int16_t, int16_t>{ "s16" }), f(integer<int16_t, int32_t>{ "s16" });
	f(integer<uint32_t, uint32_t>{ "u32" }), f(integer<uint32_t, uint64_t>{ "u32" });
	f(integer<int32_t, int32_t>{ "s32" }), f(integer<int32_t, int64_t>{ "s32" });
	f(integer<uint64_t, uint64_t>{ "u64" });
	f(integer<int64_t, int64_t>{ "s64" });
}

}

void add_conversions(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "cvt.f64.f32", "84", plainly<double, float> },
		{ "cvt.rn.f32.f64", "48", plainly<float, double> },
		{ "cvt.rn.f32.s16", "42", plainly<float, int16_t> },
		{ "cvt.rn.f32.s32", "44", plainly<float, int32_t> },
		{ "cvt.rn.f32.u32", "44", plainly<float, uint32_t> },
		{ "cvt.rn.f32.s64", "48", plainly<float, int64_t> },
		{ "cvt.rn.f32.u64", "48", plainly<float, uint64_t> },
		{ "cvt.rn.f64.s32", "84", plainly<double, int32_t> },
		{ "cvt.rn.f64.u32", "84", plainly<double, uint32_t> },
		{ "cvt.rn.f64.s64", "88", plainly<double, int64_t> },
		{ "cvt.rn.f64.u64", "88", plainly<double, uint64_t> },
		{ "cvt.sat.f32.f32", "44", converted<float, float, saturated> },
		{ "cvt.rna.tf32.f32", "44", converted<uint32_t, float, tf32> },
		{ "cvt.rn.f16.f32", "24", converted<uint16_t, float, to_half> },
		{ "cvt.rn.f16x2.f32", "444", halves },
		{ "cvt.f32.f16", "42", converted<float, uint16_t, from_half> },
		{ "cvt.rn.bf16.f32", "24", converted<uint16_t, float, to_bfloat> },
		/* global addresses are generic ones as they are */
		{ "cvta.to.global.u64", "88", plainly<uint64_t, uint64_t> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
	each_integer([&](auto to) { each_integer([&](auto from) { add_resize(t, to, from); }); });
}

}
