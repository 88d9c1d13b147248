/* CLIP's own vocabulary, which is part of the program. */
#include <string.h>
#include "../base/memory.h"
#include "tokenizer_parts.h"

/* OpenAI's merges (MIT), by tests/tools/clip_merges.py.  The path is from where make runs, the repository's root. */
__asm__(".section .rodata\n"
	".globl clip_merges\n"
	".hidden clip_merges\n"
	"clip_merges:\n"
	".incbin \"libcommon/model/clip_merges.bin\"\n"
	".previous\n");

static struct special special(const char *text, int id)
{
	return (struct special){ .text = xstrdup(text), .length = strlen(text), .id = id };
}

struct tokenizer *tokenizer_open_clip(struct error *e)
{
	struct tokenizer *t = xcalloc(1, sizeof(*t));
	int bos = 2 * BPE_BYTES + CLIP_MERGES, eos = bos + 1;

	t->bpe = bpe_new_pairs(clip_merges, CLIP_MERGES);
	t->special[BOS] = special(CLIP_BOS, bos);
	t->special[EOS] = special(CLIP_EOS, eos);
	t->special[UNKNOWN] = special(CLIP_EOS, eos);
	t->special[PAD] = special(CLIP_EOS, eos);
	t->length = CLIP_LENGTH;
	t->vocab_size = eos + 1;
	return t;
}
