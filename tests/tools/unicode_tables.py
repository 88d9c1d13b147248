#!/usr/bin/env python3
"""Writes libcommon/model/unicode_tables.h on standard output, from Debian's unicode-data 15.0.0.

    python3 tests/tools/unicode_tables.py > libcommon/model/unicode_tables.h

Run by hand only, when the rules below change; the build uses the committed header.

The header holds what CLIP's tokenizer needs and no more: which characters are letters, numbers and white space, their
lower case, and canonical decomposition, order and composition (NFC).  The reference is Hugging Face's tokenizers 0.23,
whose parts come from three ages of Unicode, and so do these tables (checked against it on every code point):

  letters, numbers   16.0   what is newer than Debian's 15.0 stands below
  lower case         17.0   the same
  NFC                 9.0   characters of a later age take no part; their decompositions and combining classes are left out
"""
import sys

FOLDER = "/usr/share/unicode/"
NFC_AGE = 9.0

# General category L and N of Unicode 15.1 and 16.0.
LATER_LETTERS = [
    (0x1C89, 0x1C8A), (0xA7CB, 0xA7CD), (0xA7DA, 0xA7DC), (0x105C0, 0x105F3), (0x10D4A, 0x10D65), (0x10D6F, 0x10D85),
    (0x10EC2, 0x10EC4), (0x11380, 0x11389), (0x1138B, 0x1138B), (0x1138E, 0x1138E), (0x11390, 0x113B5),
    (0x113B7, 0x113B7), (0x113D1, 0x113D1), (0x113D3, 0x113D3), (0x11BC0, 0x11BE0), (0x13460, 0x143FA),
    (0x16100, 0x1611D), (0x16D40, 0x16D6C), (0x18CFF, 0x18CFF), (0x1E5D0, 0x1E5ED), (0x1E5F0, 0x1E5F0),
    (0x2EBF0, 0x2EE5D)]
LATER_NUMBERS = [
    (0x10D40, 0x10D49), (0x116D0, 0x116E3), (0x11BF0, 0x11BF9), (0x16130, 0x16139), (0x16D70, 0x16D79),
    (0x1CCF0, 0x1CCF9), (0x1E5F1, 0x1E5FA)]
# Simple lower case of Unicode 16.0 and 17.0: first, last, distance.
LATER_LOWER = [
    (0x1C89, 0x1C89, 1), (0xA7CB, 0xA7CB, 0x264 - 0xA7CB), (0xA7CC, 0xA7CC, 1), (0xA7CE, 0xA7CE, 1), (0xA7D2, 0xA7D2, 1),
    (0xA7D4, 0xA7D4, 1), (0xA7DA, 0xA7DA, 1), (0xA7DC, 0xA7DC, 0x19B - 0xA7DC), (0x10D50, 0x10D65, 0x20),
    (0x16EA0, 0x16EB8, 0x1B)]


def properties(name):
    """The (first, last, fields) of a UCD file with ranges."""
    with open(FOLDER + name, encoding="utf-8") as lines:
        for line in lines:
            fields = [f.strip() for f in line.split("#")[0].split(";")]
            if len(fields) > 1:
                ends = [int(x, 16) for x in fields[0].split("..")]
                yield ends[0], ends[-1], fields[1:]


def characters():
    """The (first, last, fields) of UnicodeData.txt; its ranges are written as two lines."""
    first = None
    with open(FOLDER + "UnicodeData.txt", encoding="utf-8") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(";")
            code = int(fields[0], 16)
            if fields[1].endswith(", First>"):
                first = code
                continue
            yield (code if first is None else first), code, fields
            first = None


def runs(values):
    """{code: value} as (first, last, value) with equal neighbours joined."""
    out = []
    for code in sorted(values):
        if out and out[-1][1] == code - 1 and out[-1][2] == values[code]:
            out[-1][1] = code
        else:
            out.append([code, code, values[code]])
    return out


def lower_runs(lower):
    """{code: distance} as (first, last, step, distance); step 2 for scripts that alternate upper and lower case."""
    out = []
    for code in sorted(lower):
        distance = lower[code]
        if out and out[-1][3] == distance:
            run = out[-1]
            step = code - run[1]
            if step == run[2] or (run[0] == run[1] and step <= 2):
                run[1], run[2] = code, step
                continue
        out.append([code, code, 1, distance])
    return out


def table(declaration, rows):
    print(declaration + " = {")
    line = ""
    for row in rows:
        text = row + ","
        if len(line) + len(text) + 1 > 111:
            print("\t" + line.rstrip())
            line = ""
        line += text + " "
    print("\t" + line.rstrip())
    print("};")


def main():
    classes, lower, marks, pairs = {}, {}, {}, {}
    old = {c for first, last, (age,) in properties("DerivedAge.txt") if float(age) <= NFC_AGE
           for c in range(first, last + 1)}
    excluded = {c for first, last, fields in properties("DerivedNormalizationProps.txt")
                if fields[0] == "Full_Composition_Exclusion" for c in range(first, last + 1)}
    for first, last, f in characters():
        if f[2][0] in "LN":
            for code in range(first, last + 1):
                classes[code] = "LETTER" if f[2][0] == "L" else "NUMBER"
        if f[13]:
            lower[first] = int(f[13], 16) - first
        if f[3] != "0" and first in old:
            marks[first] = int(f[3])
        if f[5] and f[5][0] != "<" and first in old:
            parts = [int(x, 16) for x in f[5].split()]
            pairs[first] = (parts + [0])[:2]
    for kind, ranges in (("LETTER", LATER_LETTERS), ("NUMBER", LATER_NUMBERS)):
        classes.update({c: kind for first, last in ranges for c in range(first, last + 1)})
    for first, last, (name, *_) in properties("PropList.txt"):
        if name == "White_Space":
            classes.update({c: "SPACE" for c in range(first, last + 1)})
    lower.update({c: distance for first, last, distance in LATER_LOWER for c in range(first, last + 1)})
    codes = sorted(pairs)
    composing = sorted((i for i, c in enumerate(codes) if pairs[c][1] and c not in excluded), key=lambda i: pairs[codes[i]])

    print("/*\n * unicode_tables.h - written by tests/tools/unicode_tables.py from the Unicode Character Database; do not edit.\n"
          " * Included by unicode.c only.  All tables are sorted by code point, COMPOSITIONS by the pair it composes.\n */")
    print("struct range { uint32_t first, last; };")
    for kind in ("LETTER", "NUMBER", "SPACE"):
        table("static const struct range %sS[]" % kind,
              ["{0x%x,0x%x}" % (a, b) for a, b, k in runs(classes) if k == kind])
    table("static const struct lower_range { uint32_t first, last; int step, distance; } LOWER[]",
          ["{0x%x,0x%x,%d,%d}" % tuple(r) for r in lower_runs(lower)])
    table("static const struct mark_range { uint32_t first, last; int order; } MARKS[]",
          ["{0x%x,0x%x,%d}" % tuple(r) for r in runs(marks)])
    table("static const struct decomposition { uint32_t code, first, second; } DECOMPOSITIONS[]",
          ["{0x%x,0x%x,%s}" % (c, pairs[c][0], "0x%x" % pairs[c][1] if pairs[c][1] else "0") for c in codes])
    table("static const uint16_t COMPOSITIONS[]", ["%d" % i for i in composing])


sys.exit(main())
