/* Branches, the end, barriers, and what a warp does together. */
#include "ptx.h"
#include "../emu_ptx.h"

namespace emu::ptx {

namespace {

void branch(warp &w, const instruction &i, uint32_t lanes)
{
	const uint32_t stay = w.lanes & ~lanes;

	if (stay)
		w.others.push_back({ w.pc, stay, false });
	if (!w.others.empty())
		w.limit = 0;
	w.lanes = lanes;
	w.pc = i.target;
}

void end(warp &w, const instruction &, uint32_t lanes)
{
	for (uint32_t left = lanes; left; left &= left - 1) {
		w.be_lane(__builtin_ctz(left));
		cp_async_end();
	}
	w.alive &= ~lanes;
	w.lanes &= ~lanes;
	w.limit = 0;
}

void block_barrier(warp &w, const instruction &i, uint32_t lanes)
{
	if (i.number)
		w.complain(i, 0, "a barrier that is not __syncthreads()", NULL);
	if (!w.together(i, lanes, w.alive))
		return;
	w.at_barrier = true;
	w.limit = 0;
}

/* The mask that all lanes name. */
bool all_of_mask(warp &w, const instruction &i, uint32_t lanes, uint32_t at)
{
	const uint32_t *mask = w.reg<uint32_t>(at), wanted = mask[__builtin_ctz(lanes)];

	for (uint32_t left = lanes; left; left &= left - 1)
		if (mask[__builtin_ctz(left)] != wanted)
			w.complain(i, __builtin_ctz(left), "lanes name different masks", NULL);
	return w.together(i, lanes, wanted);
}

void warp_barrier(warp &w, const instruction &i, uint32_t lanes) { all_of_mask(w, i, lanes, i.at[0]); }

/* d|p, a, b, c, mask: a of lane ^ b, where that is in the segment that c tells, else its own */
void exchange(warp &w, const instruction &i, uint32_t lanes)
{
	uint32_t *d = w.reg<uint32_t>(i.at[0]), a[LANES], inside = 0;
	const uint32_t *b = w.reg<uint32_t>(i.at[3]), *c = w.reg<uint32_t>(i.at[4]);

	if (!all_of_mask(w, i, lanes, i.at[5]))
		return;
	memcpy(a, w.reg<uint32_t>(i.at[2]), sizeof(a));
	for (uint32_t left = lanes; left; left &= left - 1) {
		const int l = __builtin_ctz(left), segment = c[l] >> 8 & 31;
		const int most = (l & segment) | (c[l] & 31 & ~segment);
		const int from = l ^ (b[l] & 31), source = from <= most ? from : l;

		if (!(lanes >> source & 1))
			w.complain(i, l, "reads a lane that is not in the mask", NULL);
		d[l] = a[source];
		inside |= (uint32_t)(source == from) << l;
	}
	w.set_predicate(i.at[1], inside, lanes);
}

/* d, a, b, c: operands of a and b are 4 and 2 registers, d and c 4 floats */
template <mma_kind K> void multiply(warp &w, const instruction &i, uint32_t lanes)
{
	struct { float d[4]; uint32_t a[4], b[2]; mma_record record; } of[LANES];
	void *records[LANES];

	if (!w.together(i, lanes, ALL_LANES))
		return;
	for (int n = 0; n < 4; n++) {
		const uint32_t *a = w.reg<uint32_t>(i.at[4 + n]);
		const float *c = w.reg<float>(i.at[10 + n]);

		for (int l = 0; l < LANES; l++) {
			of[l].a[n] = a[l];
			of[l].d[n] = c[l];
		}
	}
	for (int l = 0; l < LANES; l++) {
		of[l].b[0] = w.reg<uint32_t>(i.at[8])[l];
		of[l].b[1] = w.reg<uint32_t>(i.at[9])[l];
		of[l].record = { of[l].d, of[l].a, of[l].b };
		records[l] = &of[l].record;
	}
	mma_of_warp(K)(records, ALL_LANES);
	for (int n = 0; n < 4; n++)
		for (int l = 0; l < LANES; l++)
			w.reg<float>(i.at[n])[l] = of[l].d[n];
}

}

void add_control(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "bra", "l", branch },
		{ "bra.uni", "l", branch },
		{ "ret", "", end },
		{ "bar.sync", "i", block_barrier },
		{ "bar.warp.sync", "4", warp_barrier },
		{ "shfl.sync.bfly.b32", "4p4444", exchange },
		{ "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "44444444444444", multiply<MMA_TF32> },
		{ "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "44444444444444", multiply<MMA_F16> },
		{ "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "44444444444444", multiply<MMA_BF16> },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

}
