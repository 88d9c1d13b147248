"""Writes libcommon/model/clip_merges.bin from CLIP's merges.txt: python3 clip_merges.py MERGES.TXT OUT.

A merge is the ids of its two tokens, 16 bits each, least significant byte first; best first.  Ids: the 256 bytes in the
order of the vocabulary's alphabet, the same at a word's end, one a merge.
"""
import struct
import sys


def symbols():
    """The bytes' names in order of their ids: those that print, then the others, which stand at U+0100 and on."""
    printable = [b for b in range(256) if 0x20 < b < 0x7F or 0xA0 < b != 0xAD]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]


def main():
    names = symbols()
    names += [name + "</w>" for name in names]
    ids = {name: i for i, name in enumerate(names)}
    with open(sys.argv[1], encoding="utf-8") as merges, open(sys.argv[2], "wb") as out:
        for line in merges:
            if line.startswith("#version"):
                continue
            left, right = line.split()
            out.write(struct.pack("<HH", ids[left], ids[right]))
            ids[left + right] = len(ids)


main()
