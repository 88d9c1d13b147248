/*
 * claims.h - which files this run reads and which it writes: none may be both.
 *
 * Owns the one table of a run's files, by device and inode, so that a link counts as the file it leads to.  An output
 * is claimed before it is opened, an input as soon as its name is known.  Where a file is claimed as both, the second
 * claim is refused (EXIT_USAGE, with both names), before the input has changed.  So is the second of two outputs of one
 * name.  Pipes and terminals are never claimed.  Must not know options, formats or tools.
 *
 * Only one thread may claim; the others may call claim_check().
 */
#ifndef IO_CLAIMS_H
#define IO_CLAIMS_H

#include <stdbool.h>
#include "../base/error.h"

/* "-" is standard input; of a folder, the files that models, their parts, tokenizers and PEFT's adapters have. */
int claim_input(const char *path, struct error *e) MUST_CHECK;
/* The same, but of a folder all that is in it, whatever it is called: it is copied. */
int claim_input_whole(const char *path, struct error *e) MUST_CHECK;
/* The folder alone: what is read in it is claimed file by file. */
int claim_input_folder(const char *path, struct error *e) MUST_CHECK;

/* as: "--report", for the message.  "-" is standard output.
 * A folder is refused where it is itself one that is read. */
int claim_output(const char *as, const char *path, struct error *e) MUST_CHECK;
/* The same of one file, which no other option may name as its output too. */
int claim_output_file(const char *as, const char *path, struct error *e) MUST_CHECK;
/* Of the files that are in the folder, those that the run will write over: ours() says which. */
int claim_outputs_in(const char *as, const char *folder, bool (*ours)(const char *name, const void *arg),
		     const void *arg, struct error *e) MUST_CHECK;
/* Is there any file yet that the run writes over?  If not, inputs need not be claimed one by one. */
bool claims_matter(void);

/* Before any file is opened for writing, claimed or not. */
int claim_check(const char *path, struct error *e) MUST_CHECK;

void claims_forget(void);               /* a second command line of one program (tests) */

#endif
