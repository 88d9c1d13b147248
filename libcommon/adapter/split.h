/*
 * split.h - a width as a product of two factors, by LyCORIS' rule for LoKr and OFT.
 */
#ifndef ADAPTER_SPLIT_H
#define ADAPTER_SPLIT_H

/* small <= large, small * large = n.  A factor above 0 that divides n is one of the two.  Otherwise small is as near to
 * large as possible and, where factor is above 0, not above it. */
struct split { int small, large; };
struct split split_width(int n, int factor);

#endif
