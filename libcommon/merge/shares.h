/*
 * shares.h - how much of an adapter's weight each of its modules gets, and which modules are left out.
 *
 * Owns --block, --only and --without, and what is said about them.  A module has four names for a pattern: the
 * model's ("unet.mid_block.attentions.0.proj_in", "te1.text_model..."), kohya's, its own file's, and its block's as
 * slots.h has it ("IN04").  Must not know what is done with the modules.
 */
#ifndef MERGE_SHARES_H
#define MERGE_SHARES_H

#include "../adapter/adapter_file.h"
#include "../base/names.h"

struct shares;

/* As options give them.  only, without: a word of names[] in shares.c, or a pattern.  block: "PATTERN=W", or a list of
 * slots.h; behind "N:" for the Nth adapter alone. */
struct share_texts { const char *const *block, *const *only, *const *without; size_t blocks, onlys, withouts; };

struct names share_names(void);         /* "unet|te|..." of names[] */
/* adapters: how many there are.  The texts must outlive it. */
struct shares *shares_new(const struct share_texts *t, size_t adapters, struct error *e) MUST_CHECK;
void shares_free(struct shares *s);             /* accepts NULL */

/* What the weight of a module of adapter number i is times: the product of all that say something of it.
 * *kept false: it is left out, *share is then 0.  Of no shares (NULL): 1 */
int share_of(struct shares *s, size_t i, const struct adapter_file *a, const struct file_module *m, double *share,
	     bool *kept, struct error *e) MUST_CHECK;
/* After that of every module of every adapter.  EXIT_USAGE: a pattern fits none, so it is misspelt or says nothing.
 * What any adapter may lack is no such pattern: a word of names[], the name of a block. */
int shares_check(const struct shares *s, struct error *e) MUST_CHECK;

/* Notes what each block of the adapter gets, where anything was said; weight: the adapter's own. */
int shares_tell(struct shares *s, size_t i, const struct adapter_file *a, double weight,
		struct error *e) MUST_CHECK;

#endif
