/*
 * flow.h - rectified flow: a straight line from latent to noise, and the velocity along it (Liu et al. 2022; Esser
 * et al. 2024).
 *
 * sigma is the place on the line, 0 the latent, 1 the noise.  Its timestep for the network is 1000 sigma, not
 * rounded.  Must not know who draws sigma.
 */
#ifndef MODEL_FLOW_H
#define MODEL_FLOW_H

#include <stddef.h>

#define FLOW_TIMESTEPS 1000             /* the timestep of sigma 1 */

/* Moves sigma towards the noise (shift above 1) or the latent: shift sigma / (1 + (shift - 1) sigma). */
double flow_shift(double sigma, double shift);
/* A sigma from a draw of N(0,1): 1 / (1 + exp(-(mean + std normal))). */
double flow_logit_normal(double normal, double mean, double std);
/* noisy = (1 - sigma) x + sigma noise; n elements, host */
void flow_add(double sigma, float *noisy, const float *x, const float *noise, size_t n);
/* what the network must predict: noise - x */
void flow_target(float *target, const float *x, const float *noise, size_t n);

#endif
