/*
 * rotation.h - small rotations from free numbers: the Cayley transform of skew-symmetric matrices, or its Neumann
 * series, and their gradients.
 *
 * Owns the formulas of OFT (arXiv 2306.07280) in double precision.  Must not know adapters or devices.
 */
#ifndef BASE_ROTATION_H
#define BASE_ROTATION_H

#include <stdbool.h>
#include <stddef.h>

/* Matrices R of skew-symmetric matrices A, all of one size.  R is (I + A)(I - A)^-1, which is a rotation; or, with a
 * number of terms, I + 2A + 2A^2 + ... + A^(terms-1) (PEFT's use_cayley_neumann), which is nearly one. */
struct rotations {
	int blocks, size;
	/* the numbers b are A's upper triangles, row by row; else whole matrices B, and A = B - B^T */
	bool triangle;
	bool inverse;           /* -A in the place of A */
	int terms;              /* 0: the rotation itself */
	/* the largest norm of A, over all matrices, to which a larger one is scaled down; below 0: no limit */
	float limit;
};

/* Free numbers of one matrix; elements of all matrices. */
size_t rotation_numbers(const struct rotations *s);
size_t rotation_elements(const struct rotations *s);

/* The norm of A before the limit, and what A is multiplied with. */
struct rotation_limit { double norm, factor; };
struct rotation_limit rotation_limit(const struct rotations *s, const float *b);
/* a [size,size]: matrix k's A, times factor */
void rotation_skew(const struct rotations *s, double *a, const float *b, double factor, int k);
/* r [size,size]: R of a.  room: size * size */
void rotation_matrix(const struct rotations *s, double *r, const double *a, double *room);
/* backward of R of a: da from dr, which is overwritten.  room: 3 size * size */
void rotation_matrix_back(const struct rotations *s, double *da, double *dr, const double *a, const double *r,
			  double *room);

/* c [n,n] = alpha a b + (add ? c : 0); c is neither a nor b */
void square_product(double *c, const double *a, const double *b, int n, double alpha, bool add);

#endif
