/*
 * memory_room.h - the memory that this process may still take: what the machine has available, within the process's
 * limits.
 *
 * A container's limit kills without a word, so all of them are asked beforehand: MemAvailable, the memory limits of the
 * control group and of those around it (versions 1 and 2), ulimit -v and -d.  Swap does not count.
 */
#ifndef BASE_MEMORY_ROOM_H
#define BASE_MEMORY_ROOM_H

#include <stddef.h>

/* In bytes, without what is to stay free: a sixteenth.  0: nothing is known.  processes: so many share the machine and
 * the control group, and take the same; ulimits are each one's own. */
size_t memory_room(int processes);
/* The same with /proc and /sys below this folder. */
size_t memory_room_below(const char *root, int processes);

#endif
