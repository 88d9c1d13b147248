/*
 * rotation.h - small rotations from free numbers: Cayley's map of skew matrices, or the series that stands for it, and
 * the way back.
 *
 * Owns the formulas of OFT (arXiv 2306.07280) in double precision.  Must not know adapters or devices.
 */
#ifndef BASE_ROTATION_H
#define BASE_ROTATION_H

#include <stdbool.h>
#include <stddef.h>

/* Matrices R of skew matrices A, all of one size.  R is (I + A)(I - A)^-1, which is a rotation; or, of some terms,
 * I + 2A + 2A^2 + ... with A^(terms-1) once (PEFT's use_cayley_neumann): nearly one. */
struct rotations {
	int blocks, size;
	bool triangle;          /* the numbers b are A's upper triangles, row by row; else whole matrices B, and A = B - B^T */
	bool inverse;           /* -A in the place of A */
	int terms;              /* 0: the rotation itself */
	float limit;            /* the norm that A has at most, over all matrices: it is scaled down to it.  Below 0: none */
};

/* Numbers of a matrix; elements of all of them. */
size_t rotation_numbers(const struct rotations *s);
size_t rotation_elements(const struct rotations *s);

/* The norm of A before the limit, and what A is multiplied with. */
struct rotation_limit { double norm, factor; };
struct rotation_limit rotation_limit(const struct rotations *s, const float *b);
/* a [size,size]: matrix k's A, times factor */
void rotation_skew(const struct rotations *s, double *a, const float *b, double factor, int k);
/* r [size,size]: R of a.  room: size * size */
void rotation_matrix(const struct rotations *s, double *r, const double *a, double *room);
/* da from dr, which is overwritten.  room: 3 size * size */
void rotation_matrix_back(const struct rotations *s, double *da, double *dr, const double *a, const double *r,
			  double *room);

/* c [n,n] = alpha op(a) op(b) + (add ? c : 0); ta: a is read transposed */
void square_product(double *c, const double *a, bool ta, const double *b, bool tb, int n, double alpha, bool add);

#endif
