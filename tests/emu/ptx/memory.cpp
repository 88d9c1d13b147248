/* Loads and stores, ldmatrix, cp.async.  Each access must be aligned and lie in one live allocation or one shared
 * array. */
#include "ptx.h"

namespace emu::ptx {

namespace {

enum space { GLOBAL, SHARED_SPACE, GENERIC };

bool in_array(const warp &w, const char *p, size_t bytes)
{
	for (const range &r : w.b->shared)
		if (p >= r.at && p + bytes <= r.at + r.bytes)
			return true;
	return false;
}

bool sound(const warp &w, space in, const char *p, size_t bytes)
{
	if (in == SHARED_SPACE || (in == GENERIC && in_shared(p, 1)))
		return in_array(w, p, bytes);
	return inside_allocation(p, bytes);
}

char *address(warp &w, const instruction &i, space in, uint32_t base, int lane)
{
	if (in == SHARED_SPACE)
		return shared_base() + (uint32_t)(w.reg<uint32_t>(base)[lane] + i.number);
	return (char *)(w.reg<uint64_t>(base)[lane] + i.number);
}

/* Where the lanes' accesses go.  All at once are sound if what is between the first and the last is. */
void places(warp &w, const instruction &i, uint32_t lanes, space in, uint32_t base, size_t bytes, char **at)
{
	char *first = (char *)UINTPTR_MAX, *last = NULL;
	uintptr_t low = 0;

	for (uint32_t left = lanes; left; left &= left - 1) {
		const int l = __builtin_ctz(left);

		at[l] = address(w, i, in, base, l);
		first = std::min(first, at[l]);
		last = std::max(last, at[l]);
		low |= (uintptr_t)at[l];
	}
	if (low % bytes == 0 && last >= first && sound(w, in, first, last - first + bytes))
		return;
	for (uint32_t left = lanes; left; left &= left - 1) {
		const int l = __builtin_ctz(left);

		if ((uintptr_t)at[l] % bytes)
			w.complain(i, l, "not a multiple of the access' size", at[l]);
		if (!sound(w, in, at[l], bytes))
			w.complain(i, l, "in no live allocation and no shared array", at[l]);
	}
}

template <space IN, class M, class R, int N> void load(warp &w, const instruction &i, uint32_t lanes)
{
	char *at[LANES];

	places(w, i, lanes, IN, i.at[N], N * sizeof(M), at);
	for (int n = 0; n < N; n++) {
		R *d = w.reg<R>(i.at[n]);

		each(lanes, [=](int l) { d[l] = (R)((const M *)at[l])[n]; });
	}
}

template <space IN, class M, class R, int N> void store(warp &w, const instruction &i, uint32_t lanes)
{
	char *at[LANES];

	places(w, i, lanes, IN, i.at[0], N * sizeof(M), at);
	for (int n = 0; n < N; n++) {
		const R *a = w.reg<R>(i.at[1 + n]);

		for (uint32_t left = lanes; left; left &= left - 1) {
			const int l = __builtin_ctz(left);

			((M *)at[l])[n] = (M)a[l];
		}
	}
}

template <class M, class R, int N> void load_parameter(warp &w, const instruction &i, uint32_t lanes)
{
	if (i.number < 0 || i.number + N * sizeof(M) > w.b->k->text.parameter_bytes || i.number % sizeof(M))
		w.complain(i, 0, "outside of the parameters", NULL);
	for (int n = 0; n < N; n++) {
		R *d = w.reg<R>(i.at[n]);
		M v;

		memcpy(&v, w.b->parameters + i.number + n * sizeof(M), sizeof(v));
		each(lanes, [=](int l) { d[l] = (R)v; });
	}
}

/* The same by an address that a register holds: its place among the parameters. */
template <class M, class R, int N> void load_parameter_at(warp &w, const instruction &i, uint32_t lanes)
{
	const uint64_t *at = w.reg<uint64_t>(i.at[N]);

	each(lanes, [&](int l) {
		const uint64_t from = at[l] + i.number;

		if (from + N * sizeof(M) > w.b->k->text.parameter_bytes || from % sizeof(M))
			w.complain(i, l, "outside of the parameters", NULL);
		for (int n = 0; n < N; n++) {
			M v;

			memcpy(&v, w.b->parameters + from + n * sizeof(M), sizeof(v));
			w.reg<R>(i.at[n])[l] = (R)v;
		}
	});
}

void place_of_parameter(warp &w, const instruction &i, uint32_t lanes)
{
	uint64_t *d = w.reg<uint64_t>(i.at[0]);

	each(lanes, [=](int l) { d[l] = i.number; });
}

template <bool TRANSPOSED> void load_matrices(warp &w, const instruction &i, uint32_t lanes)
{
	char *row[LANES];

	if (!w.together(i, lanes, ALL_LANES))
		return;
	places(w, i, lanes, SHARED_SPACE, i.at[4], 16, row);
	stats.ldmatrix += 4;
	for (int m = 0; m < 4; m++)
		for (int l = 0; l < LANES; l++) {
			const uint16_t *const *of = (const uint16_t *const *)row + m * 8;
			const int g = l / 4, t = l % 4 * 2;

			w.reg<uint32_t>(i.at[m])[l] = TRANSPOSED ?
				of[t][g] | (uint32_t)of[t + 1][g] << 16 : of[g][t] | (uint32_t)of[g][t + 1] << 16;
		}
}

void copy(warp &w, const instruction &i, uint32_t lanes)
{
	const uint32_t bytes = 16;

	if (i.number != bytes)
		w.complain(i, 0, "an address with a number, or not 16 bytes", NULL);
	for (uint32_t left = lanes; left; left &= left - 1) {
		const int l = __builtin_ctz(left);
		char *to = shared_base() + w.reg<uint32_t>(i.at[0])[l];
		const uint32_t valid = w.reg<uint32_t>(i.at[3])[l];

		if (!in_array(w, to, bytes))
			w.complain(i, l, "in no shared array", to);
		if (valid > bytes)
			w.complain(i, l, "more bytes than 16", NULL);
		w.be_lane(l);
		cp_async(to, (const void *)w.reg<uint64_t>(i.at[1])[l], bytes, valid,
			 { w.b->k->text.name.c_str(), i.text->line });
	}
}

void commit(warp &w, const instruction &, uint32_t lanes)
{
	for (uint32_t left = lanes; left; left &= left - 1) {
		w.be_lane(__builtin_ctz(left));
		cp_async_commit();
	}
}

void wait(warp &w, const instruction &i, uint32_t lanes)
{
	for (uint32_t left = lanes; left; left &= left - 1) {
		w.be_lane(__builtin_ctz(left));
		cp_async_wait(i.number);
	}
}

}

template <class M, class R, int N> static void add_vector(table &t, const std::string &type)
{
	static const std::string registers(N, '0' + sizeof(R));
	const std::string v = N == 1 ? "." : ".v" + std::to_string(N) + ".";
	static const std::string from_global = registers + "a", from_shared = registers + "s";
	static const std::string from_parameter = registers + "m";
	static const std::string to_global = "a" + registers, to_shared = "s" + registers;

	t.emplace("ld" + v + type, row{ from_global.c_str(), load<GENERIC, M, R, N> });
	t.emplace("ld.global" + v + type, row{ from_global.c_str(), load<GLOBAL, M, R, N> });
	t.emplace("ld.shared" + v + type, row{ from_shared.c_str(), load<SHARED_SPACE, M, R, N> });
	t.emplace("ld.param" + v + type, row{ from_parameter.c_str(), load_parameter<M, R, N> });
	t.emplace("ld.param" + v + type, row{ from_global.c_str(), load_parameter_at<M, R, N> });
	t.emplace("st" + v + type, row{ to_global.c_str(), store<GENERIC, M, R, N> });
	t.emplace("st.global" + v + type, row{ to_global.c_str(), store<GLOBAL, M, R, N> });
	t.emplace("st.shared" + v + type, row{ to_shared.c_str(), store<SHARED_SPACE, M, R, N> });
}

template <class M, class R> static void add_type(table &t, const std::string &type)
{
	add_vector<M, R, 1>(t, type);
	add_vector<M, R, 2>(t, type);
	if constexpr (sizeof(R) < 8)
		add_vector<M, R, 4>(t, type);
}

void add_memory(table &t)
{
	add_type<uint8_t, uint16_t>(t, "u8");
	add_type<uint8_t, uint32_t>(t, "u8");
	add_type<int8_t, uint16_t>(t, "s8");
	add_type<int8_t, uint32_t>(t, "s8");
	add_type<uint16_t, uint16_t>(t, "u16");
	add_type<uint16_t, uint32_t>(t, "u16");
	for (const char *type : { "b32", "u32", "s32", "f32" })
		add_type<uint32_t, uint32_t>(t, type);
	add_type<int32_t, uint64_t>(t, "s32");
	add_type<uint32_t, uint64_t>(t, "u32");
	for (const char *type : { "b64", "u64", "s64", "f64" })
		add_type<uint64_t, uint64_t>(t, type);
	t.emplace("mov.b64", row{ "8o", place_of_parameter });
	t.emplace("ldmatrix.sync.aligned.m8n8.x4.shared.b16", row{ "4444s", load_matrices<false> });
	t.emplace("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", row{ "4444s", load_matrices<true> });
	t.emplace("cp.async.cg.shared.global", row{ "sai4", copy });
	t.emplace("cp.async.commit_group", row{ "", commit });
	t.emplace("cp.async.wait_group", row{ "i", wait });
}

}
