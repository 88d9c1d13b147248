/*
 * linalg.h - dense linear algebra in double: products, QR, singular values.
 *
 * Owns what the algebra of adapters needs of LAPACK.  Matrices are row-major without gaps; [m,n] has m rows.  Results
 * are the same bytes on every machine: each sum has one order, whatever the vectors' width, and nothing is fused.
 * LAPACK is not used for that reason: its BLAS is whatever the system has installed, and the fast ones (OpenBLAS, MKL)
 * choose kernels by processor and number of threads, and with them the bytes.  One thread each; several may call at
 * once.
 * Squares of the numbers must be within double's range, as those of any floats and of products of two floats are.
 */
#ifndef BASE_LINALG_H
#define BASE_LINALG_H

#include <stddef.h>

/* n floats as doubles, malloced.  n may be 0. */
double *to_doubles(const float *x, size_t n);

/* product_add() of product.h for whole matrices.  c [m,n] = a [m,k] b [k,n].  c is neither a nor b. */
void matrix_product(double *c, const double *a, const double *b, int m, int n, int k);
/* c [m,n] = a^T b of a [k,m], b [k,n] */
void matrix_product_ta(double *c, const double *a, const double *b, int m, int n, int k);
/* c [m,n] = a b^T of a [m,k], b [n,k] */
void matrix_product_tb(double *c, const double *a, const double *b, int m, int n, int k);
/* b [n,m] = a^T of a [m,n] */
void matrix_transpose(double *b, const double *a, int m, int n);

/* a [m,n] = q [m,k] r [k,n] with k the smaller of m and n, by Householder's reflections.  q's columns are orthonormal
 * even where a's are not independent; r is zero below the diagonal.  q may be a; NULL: r alone. */
void qr_thin(double *q, double *r, const double *a, int m, int n);

/* a [m,n] = u [m,k] diag(s) vt [k,n] with k the smaller of m and n, which is at most a few hundred; the other side is
 * free.  s falls.  Each singular value is as exact as the numbers of a allow, by Jacobi's rotations.  u's columns and
 * vt's rows are orthonormal, except that those of a singular value of 0 are 0 on one side. */
void svd_small(double *u, double *s, double *vt, const double *a, int m, int n);

/* The same of a product that is never formed: up [m,r] down [r,n] = u [m,k] diag(s) vt [k,n] with k the smallest of m,
 * n and r.  u and vt both NULL: s alone. */
void svd_product(double *u, double *s, double *vt, const double *up, const double *down, int m, int n, int r);

#endif
