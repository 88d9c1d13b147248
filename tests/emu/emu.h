/*
 * emu.h - the CUDA device language for g++ and clang++: all that a kernel (*.cu) may name beside the wrappers of
 * emu_ptx.h.
 *
 * Every thread of a block is a fiber on one core; a block runs after the other.  Host types, enums and prototypes come
 * from NVIDIA's own headers where they are installed, so a call that compiles here compiles there; elsewhere from
 * include/.  Device names are ours.  An unknown name does not compile: what kernels do not use is not here.
 */
#ifndef EMU_H
#define EMU_H

#include "emu_core.h"
#include "emu_warp.h"
#include "emu_half.h"
#include "emu_math.h"

#endif
