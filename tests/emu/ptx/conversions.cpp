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

/* A register may be wider than what is read of it. */
void low_half(warp &w, const instruction &i, uint32_t lanes)
{
	int64_t *d = w.reg<int64_t>(i.at[0]);
	const int64_t *a = w.reg<int64_t>(i.at[1]);

	each(lanes, [=](int l) { d[l] = (int32_t)a[l]; });
}

}

void add_conversions(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "cvt.f64.f32", "84", plainly<double, float> },
		{ "cvt.rn.f32.f64", "48", plainly<float, double> },
		{ "cvt.rn.f32.s32", "44", plainly<float, int32_t> },
		{ "cvt.rn.f64.s32", "84", plainly<double, int32_t> },
		{ "cvt.rn.f64.u64", "88", plainly<double, uint64_t> },
		{ "cvt.s64.s32", "84", plainly<int64_t, int32_t> },
		{ "cvt.s64.s32", "88", low_half },
		{ "cvt.u32.u64", "48", plainly<uint32_t, uint64_t> },
		{ "cvt.u64.u32", "84", plainly<uint64_t, uint32_t> },
		{ "cvt.sat.f32.f32", "44", converted<float, float, saturated> },
		{ "cvt.rna.tf32.f32", "44", converted<uint32_t, float, tf32> },
		{ "cvt.rn.f16.f32", "24", converted<uint16_t, float, to_half> },
		{ "cvt.f32.f16", "42", converted<float, uint16_t, from_half> },
		{ "cvt.rn.bf16.f32", "24", converted<uint16_t, float, to_bfloat> },
		/* global addresses are generic ones as they are */
		{ "cvta.to.global.u64", "88", plainly<uint64_t, uint64_t> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

}
