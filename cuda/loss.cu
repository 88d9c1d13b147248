/* Losses, a block a sample, since a latent has some ten thousand elements.  The arithmetic is that of cpu/loss_kinds.c,
 * in double. */
#include "dev.cuh"
#include "kernels.h"

enum { THREADS = 1024, BACK_THREADS = 256 };

/* struct loss_terms as a kernel takes it */
struct terms {
	int channels;
	size_t pixels, each;            /* of a sample */
	const float *weight, *c, *mask;
};

/* sqrt(d^2 + c^2) - c, without cancellation where d is small */
DEV double bend(double d, double c)
{
	return d * d / (sqrt(d * d + c * c) + c);
}

template <loss_kind K> DEV double value(double d, double c)
{
	return K == LOSS_L2 ? d * d : K == LOSS_L1 ? fabs(d) : K == LOSS_HUBER ? 2 * c * bend(d, c) : 2 * bend(d, c);
}

template <loss_kind K> DEV double slope(double d, double c)
{
	return K == LOSS_L2 ? 2 * d : K == LOSS_L1 ? (double)((d > 0) - (d < 0)) :
		(K == LOSS_HUBER ? c : 1) * 2 * d / sqrt(d * d + c * c);
}

DEV float mask_of(const terms &s, int sample, size_t i)
{
	return s.mask ? s.mask[sample * s.pixels + i / s.channels] : 1;
}

template <loss_kind K> __global__ void __launch_bounds__(THREADS)
loss_kernel(float *loss, const float *x, const float *target, terms s)
{
	SHARED(double, tmp, [32]);
	const int sample = blockIdx.x;
	const double c = s.c ? s.c[sample] : 0;
	double sum = 0;

	x += sample * s.each;
	target += sample * s.each;
	for (size_t i = threadIdx.x; i < s.each; i += THREADS)
		sum += value<K>((double)x[i] - target[i], c) * mask_of(s, sample, i);
	sum = block_sum(sum, tmp);
	if (threadIdx.x == 0)
		loss[sample] = s.weight[sample] * (sum / s.each);
}

/* backward of loss = weight mean(mask f(x - target)):  dx = dloss weight mask f'(x - target) / each */
template <loss_kind K> __global__ void __launch_bounds__(BACK_THREADS)
loss_back_kernel(float *dx, const float *dloss, const float *x, const float *target, terms s, int add)
{
	const int sample = blockIdx.y;
	const size_t i = (size_t)blockIdx.x * BACK_THREADS + threadIdx.x, at = sample * s.each + i;

	if (i < s.each) {
		const double c = s.c ? s.c[sample] : 0, factor = (double)dloss[sample] * s.weight[sample] / s.each;
		const float g = factor * slope<K>((double)x[at] - target[at], c) * mask_of(s, sample, i);

		dx[at] = add ? dx[at] + g : g;
	}
}

template <loss_kind K>
static cudaError_t forward(cudaStream_t st, float *loss, const float *x, const float *target, int n, terms s)
{
	LAUNCH(loss_kernel<K>, n, THREADS, 0, st, loss, x, target, s);
	return cudaGetLastError();
}

template <loss_kind K>
static cudaError_t backward(cudaStream_t st, float *dx, const float *dloss, const float *x, const float *target, int n,
			    terms s, int add)
{
	const dim3 grid((s.each + BACK_THREADS - 1) / BACK_THREADS, n);

	LAUNCH(loss_back_kernel<K>, grid, BACK_THREADS, 0, st, dx, dloss, x, target, s, add);
	return cudaGetLastError();
}

static terms terms_of(const struct loss_terms *s)
{
	return { s->channels, (size_t)s->pixels, (size_t)s->pixels * s->channels, s->weight, s->c, s->mask };
}

extern "C" cudaError_t k_loss(cudaStream_t st, float *loss, const float *x, const float *target,
			      const struct loss_terms *s)
{
	switch (s->kind) {
	case LOSS_L2:
		return forward<LOSS_L2>(st, loss, x, target, s->n, terms_of(s));
	case LOSS_L1:
		return forward<LOSS_L1>(st, loss, x, target, s->n, terms_of(s));
	case LOSS_HUBER:
		return forward<LOSS_HUBER>(st, loss, x, target, s->n, terms_of(s));
	default:
		return forward<LOSS_SMOOTH_L1>(st, loss, x, target, s->n, terms_of(s));
	}
}

extern "C" cudaError_t k_loss_back(cudaStream_t st, float *dx, const float *dloss, const float *x, const float *target,
				   const struct loss_terms *s, int add)
{
	switch (s->kind) {
	case LOSS_L2:
		return backward<LOSS_L2>(st, dx, dloss, x, target, s->n, terms_of(s), add);
	case LOSS_L1:
		return backward<LOSS_L1>(st, dx, dloss, x, target, s->n, terms_of(s), add);
	case LOSS_HUBER:
		return backward<LOSS_HUBER>(st, dx, dloss, x, target, s->n, terms_of(s), add);
	default:
		return backward<LOSS_SMOOTH_L1>(st, dx, dloss, x, target, s->n, terms_of(s), add);
	}
}
