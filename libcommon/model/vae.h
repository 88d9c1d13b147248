/*
 * vae.h - the autoencoder: from pictures to mean and log variance of latents, and from latents to pictures.
 */
#ifndef MODEL_VAE_H
#define MODEL_VAE_H

#include "layers.h"

struct vae;
struct vae *vae_load(const struct model_files *m, const struct backend *be, struct device *d, bool encoder,
		     bool decoder, struct error *e) MUST_CHECK;
void vae_free(struct vae *v);                                   /* accepts NULL */
const struct vae_config *vae_config(const struct vae *v);

/* From now on what would take more than `limit` bytes, three times the size of its input, runs band by band: with less
 * memory and the same result, byte for byte.  bytes: of bands, about.  limit 0: never. */
/* With these two a picture of SDXL's sizes takes less than a GiB beside the weights, encoded or decoded. */
#define VAE_BAND_LIMIT  ((size_t)1 << 30)
#define VAE_BAND_BYTES  ((size_t)192 << 20)
void vae_set_bands(struct vae *v, size_t limit, size_t bytes);

/* picture [n,h,w,3] in -1..1, not read afterwards -> moments [n,h/f,w/f,2*latent]: mean, then log variance not yet
 * clamped (to -30..20).  probe, where not NULL, is called with diffusers' module name after each module
 * ("encoder.conv_in", ...), but for an upsampler that runs in the bands of the block behind it. */
typedef void probe_fn(void *arg, struct tape *t, const char *module, struct tensor *x);
struct tensor *vae_encode(struct tape *t, const struct vae *v, struct tensor *picture, probe_fn *probe, void *arg);
/* latent [n,h,w,latent], already divided by the scaling factor -> [n,h*f,w*f,3], not clamped */
struct tensor *vae_decode(struct tape *t, const struct vae *v, struct tensor *latent, probe_fn *probe, void *arg);

/* host: moments [rows][2c] -> mean [rows][c], std = exp(clamp(logvar,-30,20)/2) */
void vae_split_moments(const float *moments, size_t rows, int c, float *mean, float *std,
		       float *logvar /* may be NULL */);

/* host layouts: [n,h,w,c] <-> [n,c,h,w] */
void nhwc_from_nchw(float *out, const float *in, int n, int c, int h, int w);
void nchw_from_nhwc(float *out, const float *in, int n, int h, int w, int c);

#endif
