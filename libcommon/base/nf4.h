/*
 * nf4.h - the sixteen values of NF4, a type of 4 bits, and how many of them share a scale.
 *
 * They are quantiles of the normal distribution: seven below 0, 0, eight above, the largest 1 (Dettmers et al.,
 * "QLoRA", 2023).  The numbers are bitsandbytes' (bitsandbytes/functional.py, get_4bit_type()).
 */
#ifndef BASE_NF4_H
#define BASE_NF4_H

enum { NF4_VALUES = 16, NF4_BLOCK = 64, NF4_ZERO = 7 /* the code of 0 */ };

static const float nf4_values[NF4_VALUES] = {
	-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
	-0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
	0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
	0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

#endif
