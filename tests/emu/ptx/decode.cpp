/* From statements to instructions: operands become places in the register file. */
#include <ctype.h>
#include <stdlib.h>
#include "ptx.h"

namespace emu::ptx {

using std::string;

const char *const special_names[SPECIALS] = {
	"%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x",
	"%nctaid.y", "%nctaid.z",
};

static const table &known()
{
	static const table *all = [] {
		table *t = new table;

		add_arithmetic(*t);
		add_logic(*t);
		add_conversions(*t);
		add_memory(*t);
		add_control(*t);
		return t;
	}();

	return *all;
}

namespace {

struct decoder {
	kernel &k;
	std::unordered_map<string, uint32_t> slots;
	const statement *st;

	[[noreturn]] void refuse(const string &why);
	uint32_t room(int bytes);
	bool place(const string &name, int bytes, uint32_t *at);
	bool number(const string &text, int bytes, uint32_t *at);
	bool shared(const string &name, uint32_t *at);
	bool address(char letter, const string &text, instruction *i, uint32_t *at);
	bool operand(char letter, const string &text, instruction *i, uint32_t *at);
	bool fits(const row &r, const std::vector<string> &operands, instruction *i);
	instruction decode(const statement &s);
};

void decoder::refuse(const string &why)
{
	string all = st->name;

	for (size_t i = 0; i < st->operands.size(); i++)
		all += (i ? ", " : " ") + st->operands[i];
	not_understood(k.text.name, st->line, all + " (" + why + ")");
}

uint32_t decoder::room(int bytes)
{
	const uint32_t at = k.file_bytes;

	k.file_bytes += bytes ? bytes * LANES : 32;
	return at;
}

/* A register, declared or special, of so many bytes. */
bool decoder::place(const string &name, int bytes, uint32_t *at)
{
	const size_t digits = name.find_last_not_of("0123456789") + 1;
	const auto declared = k.text.registers.find(name.substr(0, digits));
	const bool is_special = declared == k.text.registers.end();
	int which = 0;

	if (name[0] != '%' || (is_special ? 4 : declared->second) != bytes)
		return false;
	while (is_special && name != special_names[which])
		if (++which == SPECIALS)
			refuse(name);
	if (!slots.count(name)) {
		slots[name] = room(bytes);
		if (is_special)
			k.specials.push_back({ slots[name], which });
	}
	*at = slots[name];
	return true;
}

/* 12, -1, 0f3F800000, 0d3FF0000000000000 */
bool decoder::number(const string &text, int bytes, uint32_t *at)
{
	const bool bits = text[0] == '0' && (text[1] == 'f' || text[1] == 'd');
	const string key = text + (bytes ? "#" + std::to_string(bytes) : "#p");
	char *end;
	uint64_t value;

	if (text[0] != '-' && !isdigit((unsigned char)text[0]))
		return false;
	value = bits ? strtoull(text.c_str() + 2, &end, 16) :
		text[0] == '-' ? strtoll(text.c_str(), &end, 0) : strtoull(text.c_str(), &end, 0);
	if (*end || (bits && bytes != (text[1] == 'f' ? 4 : 8)))
		return false;
	if (!slots.count(key)) {
		slots[key] = room(bytes);
		k.constants.push_back({ slots[key], bytes, value });
	}
	*at = slots[key];
	return true;
}

bool decoder::shared(const string &name, uint32_t *at)
{
	for (size_t v = 0; v < k.text.shared.size(); v++) {
		if (k.text.shared[v].name != name)
			continue;
		if (!slots.count(name)) {
			slots[name] = room(4);
			k.addresses.push_back({ slots[name], (int)v });
		}
		*at = slots[name];
		return true;
	}
	return false;
}

/* [base + number].  The number goes with the instruction, so of two addresses one has none. */
bool decoder::address(char letter, const string &text, instruction *i, uint32_t *at)
{
	const size_t plus = text.find('+');
	const string base = text.substr(1, std::min(plus, text.size() - 1) - 1);
	const int64_t more = plus == string::npos ? 0 : strtoll(text.c_str() + plus + 1, NULL, 0);

	if (text[0] != '[' || (more && i->number))
		return false;
	i->number += more;
	if (letter == 'a')
		return place(base, 8, at);
	if (letter == 's')
		return shared(base, at) || place(base, 4, at);
	for (const variable &v : k.text.parameters)
		if (v.name == base) {
			i->number += v.at;
			return true;
		}
	return false;
}

bool decoder::operand(char letter, const string &text, instruction *i, uint32_t *at)
{
	const int bytes = letter == 'p' ? 0 : letter - '0';

	switch (letter) {
	case 'l':
		if (!k.text.labels.count(text))
			return false;
		i->target = k.text.labels.at(text);
		return true;
	case 'i':
		i->number = strtoll(text.c_str(), NULL, 0);
		return isdigit((unsigned char)text[0]);
	case 'o':
		for (const variable &v : k.text.parameters)
			if (v.name == text) {
				i->number = v.at;
				return true;
			}
		return false;
	case 'a': case 's': case 'm':
		return address(letter, text, i, at);
	default:
		return place(text, bytes, at) || number(text, bytes, at) || (bytes == 4 && shared(text, at));
	}
}

bool decoder::fits(const row &r, const std::vector<string> &operands, instruction *i)
{
	if (operands.size() != strlen(r.shape))
		return false;
	i->run = r.run;
	i->number = 0;
	for (size_t n = 0; n < operands.size(); n++)
		if (!operand(r.shape[n], operands[n], i, &i->at[n]))
			return false;
	return true;
}

/* {a,b} and a|b count as two. */
static std::vector<string> flattened(const std::vector<string> &operands)
{
	std::vector<string> flat;

	for (const string &o : operands) {
		const size_t bar = o.find('|');

		if (o[0] == '{') {
			for (const string &part : pieces(o.substr(1, o.size() - 2)))
				flat.push_back(part);
		} else if (bar != string::npos) {
			flat.push_back(o.substr(0, bar));
			flat.push_back(o.substr(bar + 1));
		} else {
			flat.push_back(o);
		}
	}
	return flat;
}

instruction decoder::decode(const statement &s)
{
	const std::vector<string> operands = flattened(s.operands);
	const auto rows = known().equal_range(s.name);
	instruction i = {};

	st = &s;
	i.text = &s;
	i.guard = NO_GUARD;
	if (!s.guard.empty()) {
		i.guard_not = s.guard[0] == '!';
		if (!place(s.guard.substr(i.guard_not), 0, &i.guard))
			refuse("the guard");
	}
	if (rows.first == rows.second)
		refuse("no such instruction here: a row in tests/emu/ptx/");
	for (auto r = rows.first; r != rows.second; ++r)
		if (fits(r->second, operands, &i))
			return i;
	refuse("its operands");
}

}

/* Nothing comes after it: nvcc may put the end of a loop last, and the return before it. */
static bool leaves(const statement &s)
{
	return s.guard.empty() && (s.name == "ret" || s.name == "bra" || s.name == "bra.uni");
}

kernel decode(const source &text)
{
	kernel k = {};
	decoder d = { k, {}, nullptr };

	k.text = text;
	for (const statement &s : k.text.code)
		k.code.push_back(d.decode(s));
	if (k.text.code.empty() || !leaves(k.text.code.back()))
		not_understood(text.name, 0, "code that goes on behind its last line");
	return k;
}

}
