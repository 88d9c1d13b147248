/*
 * beside.h - files that are found from where the program is: shared objects that it opens at run time.
 *
 * PREFIX/bin and PREFIX/lib; build/gcc/bin and build/gcc/lib.
 */
#ifndef BASE_BESIDE_H
#define BASE_BESIDE_H

#include "error.h"

/* "PREFIX/bin/../lib/lora-tools/NAME" of the running program.  A variable that is set names another file: the stand-in
 * of the tests.  path: PATH_MAX. */
int beside_program(char *path, const char *variable, const char *relative, struct error *e) MUST_CHECK;

#endif
