/* Bits, moves, comparisons, predicates. */
#include <functional>
#include "ptx.h"

namespace emu::ptx {

namespace {

template <class T, class F> void bits(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);

	each(lanes, [=](int l) { d[l] = F()(a[l], b[l]); });
}

template <class T> void inverted(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]);

	each(lanes, [=](int l) { d[l] = ~a[l]; });
}

template <class F> void predicates(warp &w, const instruction &i, uint32_t lanes)
{
	w.set_predicate(i.at[0], F()(w.predicate(i.at[1]), w.predicate(i.at[2])), lanes);
}

void predicate_inverted(warp &w, const instruction &i, uint32_t lanes)
{
	w.set_predicate(i.at[0], ~w.predicate(i.at[1]), lanes);
}

void predicate_moved(warp &w, const instruction &i, uint32_t lanes)
{
	w.set_predicate(i.at[0], w.predicate(i.at[1]), lanes);
}

/* Shifts by more than there is leave 0, or the sign. */
template <class T> struct left { T operator()(T a, uint32_t n) const { return n < sizeof(T) * 8 ? (T)(a << n) : 0; } };
template <class T> struct right {
	T operator()(T a, uint32_t n) const
	{
		const uint32_t most = sizeof(T) * 8 - 1;

		return std::is_signed_v<T> ? a >> (n < most ? n : most) : n <= most ? a >> n : 0;
	}
};

template <class T, class F> void shifted(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]);
	const uint32_t *n = w.reg<uint32_t>(i.at[2]);

	each(lanes, [=](int l) { d[l] = F()(a[l], n[l]); });
}

/* b, with the low bits of a in place of `length` of its bits */
void bit_field(warp &w, const instruction &i, uint32_t lanes)
{
	uint32_t *d = w.reg<uint32_t>(i.at[0]);
	const uint32_t *a = w.reg<uint32_t>(i.at[1]), *b = w.reg<uint32_t>(i.at[2]);
	const uint32_t *from = w.reg<uint32_t>(i.at[3]), *length = w.reg<uint32_t>(i.at[4]);

	each(lanes, [=](int l) {
		const uint64_t mask = ((1ull << std::min(length[l] & 255, 32u)) - 1) << std::min(from[l] & 255, 32u);

		d[l] = (uint32_t)((b[l] & ~mask) | (((uint64_t)a[l] << std::min(from[l] & 255, 32u)) & mask));
	});
}

/* Four of the eight bytes of a and b, each chosen by four bits of the last operand, of which the highest spreads the
 * byte's sign. */
void bytes_chosen(warp &w, const instruction &i, uint32_t lanes)
{
	uint32_t *d = w.reg<uint32_t>(i.at[0]);
	const uint32_t *a = w.reg<uint32_t>(i.at[1]), *b = w.reg<uint32_t>(i.at[2]), *c = w.reg<uint32_t>(i.at[3]);

	each(lanes, [=](int l) {
		const uint64_t both = (uint64_t)b[l] << 32 | a[l];
		uint32_t made = 0;

		for (int k = 0; k < 4; k++) {
			const uint32_t choice = c[l] >> 4 * k & 15;
			const uint8_t byte = both >> 8 * (choice & 7);

			made |= (uint32_t)(uint8_t)(choice & 8 ? (int8_t)byte >> 7 : byte) << 8 * k;
		}
		d[l] = made;
	});
}

template <class T> void chosen(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);
	const uint32_t first = w.predicate(i.at[3]);

	each(lanes, [=](int l) { d[l] = first >> l & 1 ? a[l] : b[l]; });
}

template <class T> void moved(warp &w, const instruction &i, uint32_t lanes)
{
	T *d = w.reg<T>(i.at[0]);
	const T *a = w.reg<T>(i.at[1]);

	each(lanes, [=](int l) { d[l] = a[l]; });
}

/* The first half is the low one. */
template <class HALF, class WHOLE> void joined(warp &w, const instruction &i, uint32_t lanes)
{
	WHOLE *d = w.reg<WHOLE>(i.at[0]);
	const HALF *low = w.reg<HALF>(i.at[1]), *high = w.reg<HALF>(i.at[2]);

	each(lanes, [=](int l) { d[l] = low[l] | (WHOLE)high[l] << sizeof(HALF) * 8; });
}

template <class HALF, class WHOLE> void split(warp &w, const instruction &i, uint32_t lanes)
{
	HALF *low = w.reg<HALF>(i.at[0]), *high = w.reg<HALF>(i.at[1]);
	const WHOLE *a = w.reg<WHOLE>(i.at[2]);

	each(lanes, [=](int l) {
		const WHOLE v = a[l];

		low[l] = (HALF)v;
		high[l] = (HALF)(v >> sizeof(HALF) * 8);
	});
}

template <class T, class F> void compared(warp &w, const instruction &i, uint32_t lanes)
{
	alignas(32) uint8_t yes[LANES] = {};
	const T *a = w.reg<T>(i.at[1]), *b = w.reg<T>(i.at[2]);

	each(lanes, [&](int l) { yes[l] = F()(a[l], b[l]) ? 0xff : 0; });
	w.set_predicate(i.at[0], _mm256_movemask_epi8(*(__m256i *)yes), lanes);
}

/* True of what is no number. */
template <class F> struct or_unordered {
	template <class T> bool operator()(T a, T b) const { return a != a || b != b || F()(a, b); }
};

}

template <class T> static void add_comparisons(table &t, const std::string &type, const char *shape)
{
	t.emplace("setp.eq." + type, row{ shape, compared<T, std::equal_to<>> });
	t.emplace("setp.ne." + type, row{ shape, compared<T, std::not_equal_to<>> });
	t.emplace("setp.lt." + type, row{ shape, compared<T, std::less<>> });
	t.emplace("setp.le." + type, row{ shape, compared<T, std::less_equal<>> });
	t.emplace("setp.gt." + type, row{ shape, compared<T, std::greater<>> });
	t.emplace("setp.ge." + type, row{ shape, compared<T, std::greater_equal<>> });
}

/* Of floats, ne alone would be true of NaN in C. */
template <class T> static void add_float_comparisons(table &t, const std::string &type, const char *shape)
{
	struct differ { bool operator()(T a, T b) const { return a < b || a > b; } };

	t.emplace("setp.eq." + type, row{ shape, compared<T, std::equal_to<>> });
	t.emplace("setp.ne." + type, row{ shape, compared<T, differ> });
	t.emplace("setp.lt." + type, row{ shape, compared<T, std::less<>> });
	t.emplace("setp.le." + type, row{ shape, compared<T, std::less_equal<>> });
	t.emplace("setp.gt." + type, row{ shape, compared<T, std::greater<>> });
	t.emplace("setp.ge." + type, row{ shape, compared<T, std::greater_equal<>> });
	t.emplace("setp.equ." + type, row{ shape, compared<T, or_unordered<std::equal_to<>>> });
	t.emplace("setp.neu." + type, row{ shape, compared<T, std::not_equal_to<>> });
	t.emplace("setp.ltu." + type, row{ shape, compared<T, or_unordered<std::less<>>> });
	t.emplace("setp.leu." + type, row{ shape, compared<T, or_unordered<std::less_equal<>>> });
	t.emplace("setp.gtu." + type, row{ shape, compared<T, or_unordered<std::greater<>>> });
	t.emplace("setp.geu." + type, row{ shape, compared<T, or_unordered<std::greater_equal<>>> });
}

/* of one width: two, three operands; the choice */
template <class T>
static void add_width(table &t, const std::string &n, const char *two, const char *three, const char *choice)
{
	t.emplace("and.b" + n, row{ three, bits<T, std::bit_and<T>> });
	t.emplace("or.b" + n, row{ three, bits<T, std::bit_or<T>> });
	t.emplace("xor.b" + n, row{ three, bits<T, std::bit_xor<T>> });
	t.emplace("not.b" + n, row{ two, inverted<T> });
	for (const char *kind : { "b", "u", "s", "f" }) {
		t.emplace("mov." + (kind + n), row{ two, moved<T> });
		t.emplace("selp." + (kind + n), row{ choice, chosen<T> });
	}
}

/* The count has 32 bits whatever is shifted. */
template <class T, class SIGNED> static void add_shifts(table &t, const std::string &n, const char *shape)
{
	t.emplace("shl.b" + n, row{ shape, shifted<T, left<T>> });
	t.emplace("shr.b" + n, row{ shape, shifted<T, right<T>> });
	t.emplace("shr.u" + n, row{ shape, shifted<T, right<T>> });
	t.emplace("shr.s" + n, row{ shape, shifted<SIGNED, right<SIGNED>> });
}

static void add_bits(table &t)
{
	const struct { const char *name, *shape; operation run; } rows[] = {
		{ "and.pred", "ppp", predicates<std::bit_and<uint32_t>> },
		{ "or.pred", "ppp", predicates<std::bit_or<uint32_t>> },
		{ "xor.pred", "ppp", predicates<std::bit_xor<uint32_t>> },
		{ "not.pred", "pp", predicate_inverted },
		{ "mov.pred", "pp", predicate_moved },
		{ "mov.b32", "422", joined<uint16_t, uint32_t> },
		{ "mov.b64", "844", joined<uint32_t, uint64_t> },
		{ "mov.b32", "224", split<uint16_t, uint32_t> },
		{ "mov.b64", "448", split<uint32_t, uint64_t> },
		{ "bfi.b32", "44444", bit_field },
		{ "prmt.b32", "4444", bytes_chosen },
	};

	for (auto &r : rows)
		t.emplace(r.name, row{ r.shape, r.run });
}

void add_logic(table &t)
{
	add_width<uint16_t>(t, "16", "22", "222", "222p");
	add_width<uint32_t>(t, "32", "44", "444", "444p");
	add_width<uint64_t>(t, "64", "88", "888", "888p");
	add_shifts<uint16_t, int16_t>(t, "16", "224");
	add_shifts<uint32_t, int32_t>(t, "32", "444");
	add_shifts<uint64_t, int64_t>(t, "64", "884");
	add_bits(t);
	add_comparisons<uint16_t>(t, "b16", "p22");
	add_comparisons<int16_t>(t, "s16", "p22");
	add_comparisons<uint16_t>(t, "u16", "p22");
	add_comparisons<uint32_t>(t, "b32", "p44");
	add_comparisons<int32_t>(t, "s32", "p44");
	add_comparisons<uint32_t>(t, "u32", "p44");
	add_comparisons<uint64_t>(t, "b64", "p88");
	add_comparisons<int64_t>(t, "s64", "p88");
	add_comparisons<uint64_t>(t, "u64", "p88");
	add_float_comparisons<float>(t, "f32", "p44");
	add_float_comparisons<double>(t, "f64", "p88");
}

}
