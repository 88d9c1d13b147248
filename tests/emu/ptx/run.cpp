/* Warps, and the blocks that they make. */
#include <stdlib.h>
#include <algorithm>
#include "ptx.h"

namespace emu::ptx {

void warp::be_lane(int lane)
{
	const unsigned n = number * LANES + lane;

	cur = { make_uint3(n % block_dim.x, n / block_dim.x % block_dim.y, n / block_dim.x / block_dim.y),
		(unsigned)lane, number, n };
}

void warp::complain(const instruction &i, int lane, const char *what, const void *address)
{
	be_lane(lane);
	if (address)
		fault({ "PTX line", i.text->line }, "%s: %p is %s", i.text->name.c_str(), address, what);
	fault({ "PTX line", i.text->line }, "%s: %s", i.text->name.c_str(), what);
}

bool warp::together(const instruction &i, uint32_t here, uint32_t wanted)
{
	if (here == wanted)
		return true;
	if (here != lanes)
		complain(i, __builtin_ctz(here), "some lanes of the warp pass it by", NULL);
	if (here & ~wanted)
		complain(i, __builtin_ctz(here & ~wanted), "the lane is not in its own mask", NULL);
	if (wanted & ~alive)
		complain(i, __builtin_ctz(here), "waits for lanes that have ended, or never were", NULL);
	pc--;
	others.push_back({ pc, lanes, true });
	lanes = 0;
	limit = 0;
	return false;
}

/* Fronts at the same place become one; the one furthest behind goes on. */
void warp::meet()
{
	front *next = nullptr;

	if (lanes)
		others.push_back({ pc, lanes, false });
	std::sort(others.begin(), others.end(), [](const front &a, const front &b) { return a.pc < b.pc; });
	for (size_t n = 1; n < others.size(); n++)
		if (others[n].pc == others[n - 1].pc) {
			others[n - 1].lanes |= others[n].lanes;
			others[n - 1].waits = false;
			others.erase(others.begin() + n--);
		}
	for (front &f : others)
		if (!f.waits && !next)
			next = &f;
	if (!next && !others.empty())
		complain(b->k->code[others[0].pc], __builtin_ctz(others[0].lanes),
			 "waits for lanes that are elsewhere, or have ended", NULL);
	lanes = 0;
	if (!next)
		return;
	pc = next->pc;
	lanes = next->lanes;
	others.erase(others.begin() + (next - others.data()));
	limit = SIZE_MAX;
	for (const front &f : others)
		if (f.pc > pc)
			limit = std::min(limit, f.pc);
}

void warp::run()
{
	const instruction *code = b->k->code.data();

	meet();
	while (lanes) {
		const instruction &i = code[pc++];
		uint32_t on = lanes;

		if (i.guard != NO_GUARD)
			on &= i.guard_not ? ~predicate(i.guard) : predicate(i.guard);
		if (on)
			i.run(*this, i, on);
		if (pc < limit)
			continue;
		if (at_barrier)
			return;
		meet();
	}
}

/* ---- blocks ---- */

template <class T> static void fill(warp &w, uint32_t at, T value)
{
	for (int l = 0; l < LANES; l++)
		w.reg<T>(at)[l] = value;
}

static uint32_t component(const uint3 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : v.z; }

static void fill_special(warp &w, const special &s)
{
	const uint3 same[] = { {}, block_dim, block_idx, grid_dim };

	if (s.which >= NTID) {
		fill(w, s.at, component(same[s.which / 3], s.which % 3));
		return;
	}
	for (int l = 0; l < LANES; l++) {
		w.be_lane(l);
		w.reg<uint32_t>(s.at)[l] = component(cur.tid, s.which);
	}
}

/* Registers as they are before the first instruction: what nobody wrote is NaN. */
static void prepare(warp &w)
{
	const kernel &k = *w.b->k;

	memset(w.file, 0xff, k.file_bytes);
	for (const constant &c : k.constants)
		switch (c.bytes) {
		case 0: w.predicate(c.at) = c.value ? ALL_LANES : 0; break;
		case 2: fill(w, c.at, (uint16_t)c.value); break;
		case 4: fill(w, c.at, (uint32_t)c.value); break;
		case 8: fill(w, c.at, c.value); break;
		}
	for (const special &s : k.specials)
		fill_special(w, s);
	for (const shared_address &a : k.addresses)
		fill(w, a.at, (uint32_t)(w.b->shared[a.variable].at - shared_base()));
}

/* All have stopped: at the same barrier, from which they go on, or at their end. */
static bool go_on(std::vector<warp> &warps)
{
	const warp *first = nullptr;

	for (const warp &w : warps)
		if (w.at_barrier && !first)
			first = &w;
	if (!first)
		return false;
	stats.barriers++;
	for (warp &w : warps) {
		const instruction &i = w.b->k->code[first->pc - 1];

		if (!w.at_barrier || w.alive != w.all)
			w.complain(i, 0, "__syncthreads() while a thread of the block has ended", NULL);
		if (w.pc != first->pc)
			w.complain(i, 0, "divergent __syncthreads(): other threads of the block wait at another", NULL);
		w.at_barrier = false;
	}
	return true;
}

void run_block(const kernel &k, const char *parameters, size_t dynamic)
{
	const unsigned threads = block_dim.x * block_dim.y * block_dim.z, count = (threads + LANES - 1) / LANES;
	const size_t file = (k.file_bytes + 63) / 64 * 64;
	const thread_id was = cur;
	char *files = (char *)aligned_alloc(64, file * count);
	block b = { &k, parameters, {} };
	std::vector<warp> warps(count);
	unsigned turn = 0;

	for (const variable &v : k.text.shared)
		b.shared.push_back(v.bytes ?
				   range{ (char *)shared_static(&v, v.bytes, v.align, { k.text.name.c_str(), 0 }),
					  v.bytes } :
					     range{ (char *)shared_dynamic(), dynamic });
	for (unsigned n = 0; n < count; n++) {
		const unsigned there = std::min(threads - n * LANES, (unsigned)LANES);

		warps[n] = {};
		warps[n].b = &b;
		warps[n].file = files + n * file;
		warps[n].number = n;
		warps[n].all = warps[n].alive = warps[n].lanes = there < LANES ? (1u << there) - 1 : ALL_LANES;
		prepare(warps[n]);
	}
	do {
		turn = opt().random ? draw() % count : 0;
		for (unsigned n = 0; n < count; n++)
			warps[(n + turn) % count].run();
	} while (go_on(warps));
	free(files);
	cur = was;
}

}
