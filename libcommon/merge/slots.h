/*
 * slots.h - the blocks of a UNet as lists of block weights number them: sd-scripts' --lbws, the web UI's lbw.
 *
 * BASE stands for the text encoders, then IN00 to IN11, MID and OUT00 to OUT11; SDXL lacks the last three of both.
 * Must not know weights.
 */
#ifndef MERGE_SLOTS_H
#define MERGE_SLOTS_H

#include <stdbool.h>
#include "../adapter/adapter_file.h"

enum { SLOTS = 26 };

/* -1: in none */
int slot_of_module(const struct adapter_file *a, const struct file_module *m);
/* "BASE", "IN04", "MID", "OUT11"; of -1 "other" */
struct slot_name { char text[8]; };
struct slot_name slot_name(int slot);

/* A list that has a number for each slot with a 1. */
struct slot_list { size_t count; bool sdxl; const char *slots, *are; };
const struct slot_list *slot_list(size_t count);        /* NULL: there is none of so many numbers */
bool slot_list_is_for(const struct slot_list *l, const struct family *f);

#endif
