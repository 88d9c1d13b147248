/*
 * factored.h - a layer's update as a product in double, on its way into a LoRA's tensors.
 *
 * Must not know where it comes from.
 */
#ifndef MERGE_FACTORED_H
#define MERGE_FACTORED_H

#include <stddef.h>
#include "../io/dtype.h"

/* dW = scale up [rows][rank] down [rank][columns] */
struct factored { size_t rows, columns, rank; double *up, *down, scale; };

struct factored factored_new(size_t rows, size_t columns, size_t rank, double scale);   /* zeros */
void factored_free(struct factored *f);
double factored_norm(const struct factored *f);         /* Frobenius' */
/* It becomes the best of that rank, or of all that there is, by two QRs and a small SVD, with the scale 1.  Returns the
 * norm of what is cut off. */
double factored_truncate(struct factored *f, size_t rank);
/* The factors as a file of that type will have them, malloced.  What is lost of them stays in f; returns the norm of
 * what dW loses. */
double factored_round(struct factored *f, enum dtype type, float **up, float **down);
/* Numbers as a file of that type will have them, malloced; x becomes what is lost of them. */
float *rounded_doubles(double *x, size_t n, enum dtype type);

#endif
