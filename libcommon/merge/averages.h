/*
 * averages.h - weights of the saves of one run, by which they are averaged.
 *
 * Must not know files.
 */
#ifndef MERGE_AVERAGES_H
#define MERGE_AVERAGES_H

#include <stddef.h>

/* All are weights of n saves at the steps step[], which rise; they sum to 1. */
void weights_of_mean(double *weight, size_t n);
/* What an exponential moving average with that decay has after the last save: it begins with the first. */
void weights_of_ema(double *weight, size_t n, double decay);
/* A power function's average (Karras et al. 2023, arXiv 2312.02696, section 3.1): the state after the last step t is
 * the integral of (gamma + 1) tau^gamma / t^(gamma + 1) times the parameters at tau, and those between two saves count
 * as the later one. */
void weights_of_power(double *weight, const double *step, size_t n, double gamma);

/* The gamma of a relative width, section 3.1's formula the other way round: width^2 = (gamma + 1) / ((gamma + 2)^2
 * (gamma + 3)).  width: above 0, up to WIDEST, where gamma is 0. */
#define WIDEST 0.28867513459481287
double gamma_of_width(double width);

#endif
