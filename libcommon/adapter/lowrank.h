/*
 * lowrank.h - the best approximation of a matrix by one of a lower rank, and how far from it the factors are.
 *
 * A matrix that is a product of thin ones is never multiplied out: two QRs and a small SVD, exact.  Of another the
 * first singular values are found by a randomised SVD (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.1): the
 * range of A times a random matrix, made better by turns with A and its transpose, until a turn gains less than
 * 1/200 of the error's square.  The same bytes with any number of threads and on any machine.  Must not know files.
 */
#ifndef ADAPTER_LOWRANK_H
#define ADAPTER_LOWRANK_H

#include <stddef.h>

/* A = left diag(value) right, as far as it is known. */
struct lowrank {
	size_t rows, columns, known;
	double *left, *value, *right;   /* [rows][known], [known] falling, [known][columns] */
	double squares;                 /* of all of A */
};

/* A = up [rows][rank] down [rank][columns]; every value but 0 is known. */
void lowrank_of_product(struct lowrank *l, const float *up, const float *down, size_t rows, size_t columns,
			size_t rank);
/* At least `rank` values, or all that there are. */
void lowrank_of_matrix(struct lowrank *l, const float *a, size_t rows, size_t columns, size_t rank);
void lowrank_free(struct lowrank *l);

/* The factors of the approximation with that rank, each with the root of the values; with zeros where the rank is
 * above l->known. */
void lowrank_factors(const struct lowrank *l, size_t rank, float *up, float *down);

/* A LoRA's factors, up [rows][rank] and down [rank][columns] */
struct factors { const float *up, *down; size_t rank; };
/* Frobenius norms of what is lost */
double lowrank_lost_of_matrix(const float *a, size_t rows, size_t columns, const struct factors *f);
double lowrank_lost_of_product(const struct factors *was, size_t rows, size_t columns, const struct factors *f);

#endif
