/* PTX's grammar, as much as nvcc makes of our kernels. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "source.h"

namespace emu::ptx {

using std::string;

void not_understood(const string &kernel, int line, const string &what)
{
	fprintf(stderr, "PTX: %s, line %d: not understood: %s\n", kernel.c_str(), line, what.c_str());
	fflush(NULL);
	_exit(43);
}

static string trimmed(const string &s)
{
	const size_t from = s.find_first_not_of(" \t\n"), to = s.find_last_not_of(" \t\n");

	return from == string::npos ? "" : s.substr(from, to - from + 1);
}

std::vector<string> pieces(const string &list)
{
	std::vector<string> all;
	string piece;
	int depth = 0;

	for (char c : list) {
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		if (c == ',' && !depth) {
			all.push_back(trimmed(piece));
			piece.clear();
		} else {
			piece += c;
		}
	}
	piece = trimmed(piece);
	if (!piece.empty() || !all.empty())
		all.push_back(piece);
	return all;
}

static bool begins(const string &s, const char *with) { return s.rfind(with, 0) == 0; }

static int bytes_of_type(const string &type)
{
	const size_t digits = type.find_first_of("0123456789");

	if (type == "pred")
		return 0;
	return digits == string::npos ? -1 : atoi(type.c_str() + digits) / 8;
}

/* Text without comments, and where in it we are. */
struct reader {
	string s;
	size_t i = 0;
	int line = 1;
	source *kernel = nullptr;

	[[noreturn]] void refuse(const string &what)
	{
		not_understood(kernel ? kernel->name : "(outside of kernels)", line, what);
	}
	void blanks();
	string until(const char *stops);        /* what comes before the next of these, which is taken too */
};

void reader::blanks()
{
	while (i < s.size() && isspace((unsigned char)s[i]))
		line += s[i++] == '\n';
}

string reader::until(const char *stops)
{
	const size_t end = s.find_first_of(stops, i);
	string part;

	if (end == string::npos)
		refuse("an end that is missing");
	part = s.substr(i, end - i);
	for (char c : part)
		line += c == '\n';
	i = end + 1;
	return trimmed(part);
}

/* ".param .align 8 .b8 name[16]", ".extern .shared .align 16 .b8 name[]", ".param .u32 name" */
static variable variable_of(reader &r, const string &text)
{
	variable v = {};
	string words = text, word;
	const size_t bracket = text.find('[');
	size_t count = 1, i = 0;
	int element = -1;

	if (bracket != string::npos) {
		count = strtoul(text.c_str() + bracket + 1, NULL, 10);
		words.resize(bracket);
	}
	for (words += ' '; i < words.size(); i++) {
		if (!isspace((unsigned char)words[i])) {
			word += words[i];
			continue;
		}
		if (word[0] == '.' && bytes_of_type(word) > 0)
			element = bytes_of_type(word);
		else if (isdigit((unsigned char)word[0]))
			v.align = atoi(word.c_str());
		else if (!word.empty() && word[0] != '.')
			v.name = word;
		word.clear();
	}
	if (element < 0 || v.name.empty())
		r.refuse(text);
	v.bytes = count * element;
	v.align = v.align ? v.align : element;
	return v;
}

/* ".reg .b32 %r<92>" */
static void registers(reader &r, const string &text)
{
	const size_t type = text.find('.', 1), name = text.find('%'), count = text.find('<');

	if (type == string::npos || name == string::npos || count == string::npos || text.find(',') != string::npos)
		r.refuse(text);
	r.kernel->registers[text.substr(name, count - name)] =
		bytes_of_type(trimmed(text.substr(type + 1, name - type - 1)));
}

/* Hints that change no result: loops that stay loops, and which bytes of the next load are used. */
static bool is_hint(const string &text)
{
	return begins(text, ".pragma \"nounroll\"") || begins(text, ".pragma \"used_bytes_mask ");
}

static void declaration(reader &r, const string &text)
{
	if (begins(text, ".reg"))
		registers(r, text);
	else if (begins(text, ".shared"))
		r.kernel->shared.push_back(variable_of(r, text));
	else if (!is_hint(text))
		r.refuse(text);
}

static void instruction_of(reader &r, const string &text, int line)
{
	statement st = {};
	string rest = text;
	size_t blank;

	st.line = line;
	if (rest[0] == '@') {
		blank = rest.find_first_of(" \t");
		st.guard = rest.substr(1, blank - 1);
		rest = trimmed(rest.substr(blank));
	}
	blank = rest.find_first_of(" \t");
	st.name = rest.substr(0, blank);
	if (blank != string::npos)
		st.operands = pieces(rest.substr(blank));
	r.kernel->code.push_back(st);
}

static bool label(reader &r)
{
	size_t end = r.i;

	while (isalnum((unsigned char)r.s[end]) || r.s[end] == '_' || r.s[end] == '$')
		end++;
	if (r.s[end] != ':')
		return false;
	r.kernel->labels[r.s.substr(r.i, end - r.i)] = r.kernel->code.size();
	r.i = end + 1;
	return true;
}

/* From behind its brace to behind the closing one.  Blocks within it declare nothing, so their braces say nothing. */
static void body(reader &r)
{
	int depth = 1;

	while (depth) {
		string text;
		int line;

		r.blanks();
		line = r.line;
		if (r.s[r.i] == '{' || r.s[r.i] == '}') {
			depth += r.s[r.i++] == '{' ? 1 : -1;
		} else if (!label(r)) {
			text = r.until(";");
			if (text[0] != '.')
				instruction_of(r, text, line);
			else if (depth > 1)
				r.refuse("a declaration in a block: " + text);
			else
				declaration(r, text);
		}
	}
}

static source entry(reader &r, const std::vector<variable> &outside)
{
	source k = {};
	string directives;

	k.name = r.until("(");
	k.shared = outside;
	r.kernel = &k;
	for (const string &text : pieces(r.until(")"))) {
		variable v = variable_of(r, text);

		v.at = (k.parameter_bytes + v.align - 1) / v.align * v.align;
		k.parameter_bytes = v.at + v.bytes;
		k.parameters.push_back(v);
	}
	directives = r.until("{");
	k.most_threads = 1024;
	if (begins(directives, ".maxntid")) {
		unsigned x, y, z;

		if (sscanf(directives.c_str(), ".maxntid %u, %u, %u", &x, &y, &z) != 3)
			r.refuse(directives);
		k.most_threads = x * y * z;
	} else if (!directives.empty()) {
		r.refuse(directives);
	}
	body(r);
	r.kernel = nullptr;
	return k;
}

static string without_comments(const string &text)
{
	string s;

	for (size_t i = 0; i < text.size(); i++) {
		if (text.compare(i, 2, "//") == 0)
			while (i + 1 < text.size() && text[i + 1] != '\n')
				i++;
		else
			s += text[i];
	}
	return s;
}

std::vector<source> parse(const string &text)
{
	std::vector<source> kernels;
	std::vector<variable> shared;
	reader r;

	r.s = without_comments(text);
	for (r.blanks(); r.i < r.s.size(); r.blanks()) {
		if (r.s.compare(r.i, 15, ".visible .entry") == 0) {
			r.i += 15;
			kernels.push_back(entry(r, shared));
		} else if (r.s.compare(r.i, 15, ".extern .shared") == 0) {
			shared.push_back(variable_of(r, r.until(";")));
		} else {
			const string line = r.until("\n");

			r.line++;
			if (!begins(line, ".version") && !begins(line, ".target") && !begins(line, ".address_size"))
				r.refuse(line);
		}
	}
	return kernels;
}

}
