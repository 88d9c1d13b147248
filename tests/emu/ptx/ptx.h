/*
 * ptx.h - nvcc's code for a kernel, ready to run, and the warp that runs it.
 *
 * A warp runs in step: an instruction is carried out for all its lanes at once.  Lanes that branch apart become fronts
 * of their own; the one that is furthest behind goes first, and fronts that meet are one again.  A register of n bytes
 * has 32 places of n bytes in the warp's file, a predicate is 32 bits; constants, indices and addresses of shared
 * arrays have registers too.  So an operand is an offset in the file.
 */
#ifndef EMU_PTX_PTX_H
#define EMU_PTX_PTX_H

#include <immintrin.h>
#include <string>
#include <unordered_map>
#include <vector>
#include "../emu_internal.h"
#include "source.h"

namespace emu::ptx {

enum { LANES = 32, MOST_OPERANDS = 14 };
enum : uint32_t { ALL_LANES = ~0u, NO_GUARD = ~0u };

struct warp;
struct instruction;
typedef void (*operation)(warp &w, const instruction &i, uint32_t lanes);

struct instruction {
	operation run;
	const statement *text;
	uint32_t at[MOST_OPERANDS];             /* braces and bars do not count: {a,b}, c has three */
	uint32_t guard;                         /* predicate, or NO_GUARD */
	bool guard_not;
	int target;                             /* of a branch */
	int64_t number;                         /* what is added to an address; an operand that is always a number */
};

/* Registers that somebody has to fill. */
struct constant { uint32_t at; int bytes; uint64_t value; };
struct special { uint32_t at; int which; };                     /* of special_names */
struct shared_address { uint32_t at; int variable; };

struct kernel {
	source text;
	std::vector<instruction> code;
	std::vector<constant> constants;
	std::vector<special> specials;
	std::vector<shared_address> addresses;
	size_t file_bytes;
};

/* One row for each instruction that we know.  A letter of `shape` an operand: 1 2 4 8 bytes of a register or constant,
 * p predicate, a an address [64-bit register + n], s one in shared memory, m a parameter, o the place of one,
 * i a number, l a label. */
struct row { const char *shape; operation run; };
typedef std::unordered_multimap<std::string, row> table;
void add_arithmetic(table &t);
void add_logic(table &t);
void add_conversions(table &t);
void add_memory(table &t);
void add_control(table &t);

kernel decode(const source &text);

enum { TID, NTID = 3, CTAID = 6, NCTAID = 9, SPECIALS = 12 };           /* x, y, z each */
extern const char *const special_names[SPECIALS];

struct front { size_t pc; uint32_t lanes; bool waits; };
struct range { char *at; size_t bytes; };

/* What the warps of a block share. */
struct block {
	const kernel *k;
	const char *parameters;
	std::vector<range> shared;              /* arrays, in the order of k->text.shared */
};

struct warp {
	block *b;
	char *file;
	unsigned number;
	size_t pc;
	uint32_t lanes;                         /* that run */
	uint32_t all, alive;                    /* at the beginning; that have not ended */
	size_t limit;                           /* there another front may be nearer; 0: look now */
	bool at_barrier;
	std::vector<front> others;

	template <class T> T *reg(uint32_t at) { return (T *)(file + at); }
	uint32_t &predicate(uint32_t at) { return *(uint32_t *)(file + at); }
	void set_predicate(uint32_t at, uint32_t value, uint32_t of)
	{
		predicate(at) = (predicate(at) & ~of) | (value & of);
	}
	void be_lane(int lane);                 /* for what the rest of the stand-in knows of the thread that runs */
	/* Ends the program in the name of a lane. */
	[[noreturn]] void complain(const instruction &i, int lane, const char *what, const void *address);
	/* Whether all lanes of `wanted` are here; else these stop until the others come. */
	bool together(const instruction &i, uint32_t lanes, uint32_t wanted);
	void run();                             /* to the next __syncthreads or the end */
private:
	void meet();
};

void run_block(const kernel &k, const char *parameters, size_t dynamic);

#ifdef __clang__
#define PTX_EACH_LANE
#else
#define PTX_EACH_LANE _Pragma("GCC ivdep")
#endif

/* f(lane); of a full warp in a loop that compilers turn into vector instructions: registers are the same or apart */
template <class F> static inline __attribute__((always_inline)) void each(uint32_t lanes, F f)
{
	if (lanes == ALL_LANES) {
		PTX_EACH_LANE
		for (int lane = 0; lane < LANES; lane++)
			f(lane);
	} else {
		for (uint32_t left = lanes; left; left &= left - 1)
			f(__builtin_ctz(left));
	}
}

}

#endif
