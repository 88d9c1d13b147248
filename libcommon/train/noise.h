/*
 * noise.h - the noise that training adds, where it is not plain: noise offset, multires noise, input perturbation.
 *
 * kohya's formulas on one sample [h,w,c].  The first group are formulas on given numbers, the second draws them.
 * Must not know schedules or losses.
 */
#ifndef TRAIN_NOISE_H
#define TRAIN_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct noise_shape { int h, w, c; };

/* noise += max(0, offset + adaptive |mean of the latent's channel|) * normal[channel] */
void noise_offset(float *noise, const float *latent, const struct noise_shape *s, double offset, double adaptive,
		  const float *normal);
/* The shape of level i with ratio r: sides divided by r^i, at least 1. */
struct noise_shape multires_level(const struct noise_shape *s, double r, int i);
/* noise += factor * level, enlarged (bilinear, PyTorch's align_corners = False) */
void multires_add(float *noise, const struct noise_shape *s, const float *level, const struct noise_shape *l,
		  double factor);
/* divides by the standard deviation (n - 1) */
void noise_normalize(float *noise, size_t n);

struct noise_settings {
	double offset, adaptive;        /* offset 0: off */
	bool offset_random;             /* the offset is a draw from 0..offset for each sample */
	int multires_iterations;        /* 0: off */
	double multires_discount;
	double ip_gamma;                /* 0: off */
	bool ip_random;
};

struct noise_draw { uint64_t seed; uint32_t step, item; };
void noise_draw_plain(const struct noise_draw *d, float *noise, size_t n);
/* noise [h,w,c], plain so far */
void noise_change(const struct noise_settings *n, const struct noise_draw *d, const float *latent,
		  const struct noise_shape *s, float *noise);
/* input = noise plus ip_gamma times further noise, which the target does not contain.  input may be noise. */
void noise_input(const struct noise_settings *n, const struct noise_draw *d, const float *noise, size_t count,
		 float *input);

#endif
