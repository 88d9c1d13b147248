/*
 * source.h - PTX as text, taken apart: kernels, their variables, their statements.  Knows no instruction.
 *
 * What a text has that is not foreseen here ends the program with status 43 and names the line: nothing is skipped.
 */
#ifndef EMU_PTX_SOURCE_H
#define EMU_PTX_SOURCE_H

#include <stddef.h>
#include <string>
#include <unordered_map>
#include <vector>

namespace emu::ptx {

struct statement {
	std::string guard;                      /* "%p1", "!%p1" or nothing */
	std::string name;                       /* with all that follows it: "add.s32" */
	std::vector<std::string> operands;
	int line;
};

struct variable {
	std::string name;
	size_t bytes, align;                    /* bytes 0: the dynamic part of shared memory */
	size_t at;                              /* of a parameter, among the others */
};

struct source {
	std::string name;                       /* mangled */
	unsigned most_threads;                  /* __launch_bounds__ */
	size_t parameter_bytes;
	std::vector<variable> parameters, shared;
	std::unordered_map<std::string, int> registers;         /* bytes of "%r"'s, 0 of predicates */
	std::unordered_map<std::string, size_t> labels;         /* statement that they stand before */
	std::vector<statement> code;
};

std::vector<source> parse(const std::string &text);

/* Pieces between commas that are in no brackets, without blanks. */
std::vector<std::string> pieces(const std::string &list);

[[noreturn]] void not_understood(const std::string &kernel, int line, const std::string &what);

}

#endif
