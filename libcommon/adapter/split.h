/*
 * split.h - a width as a product of two, as LyCORIS splits it for LoKr and OFT.
 */
#ifndef ADAPTER_SPLIT_H
#define ADAPTER_SPLIT_H

/* small <= large, small * large = n.  A factor above 0 that divides n is one of the two; else small is as near to large as
 * it can be without being above the factor, where that is above 0. */
struct split { int small, large; };
struct split split_width(int n, int factor);

#endif
