/* What comes to the card and goes from it: uploads, downloads, copies, frozen weights. */
#include <string.h>
#include "internal.h"

void cuda_upload(struct device *d, void *dst, const void *host, size_t bytes)
{
	const void *here = step_value(d, host, bytes);

	cuda_ran(d, here ? cudaMemcpyAsync(dst, here, bytes, cudaMemcpyDeviceToDevice, d->stream) :
		 staging_upload(d->staging, d->stream, dst, host, bytes), "upload");
}

void cuda_download(struct device *d, void *host, const void *src, size_t bytes)
{
	cuda_must(cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, d->stream), "download");
	cuda_must(cudaStreamSynchronize(d->stream), "the work so far");
}

void cuda_copy(struct device *d, float *y, const float *x, size_t n)
{
	cuda_ran(d, cudaMemcpyAsync(y, x, n * sizeof(*y), cudaMemcpyDeviceToDevice, d->stream), "copy");
}

void cuda_zero(struct device *d, struct values y, size_t n)
{
	cuda_ran(d, cudaMemsetAsync(y.at, 0, n * type_size(y.type), d->stream), "zero");
}

/* ---- frozen weights ---- */

/* [out][in][taps] to [out][taps][in], through scratch, as many filters at a time as fit */
static void upload_filters(struct device *d, struct weight *w, const char *host)
{
	const size_t size = type_size(w->dtype), filter = (size_t)w->in * w->kh * w->kw * size;
	const int most = SCRATCH_BYTES / filter;
	int at, part;

	for (at = 0; at < w->out; at += part) {
		part = w->out - at < most ? w->out - at : most;
		cuda_upload(d, cuda_scratch(d, part * filter), host + at * filter, part * filter);
		cuda_ran(d, k_reorder_filters(d->stream, (char *)w->data + at * filter, d->scratch, size, part, w->in,
					      w->kh * w->kw),
			 "reorder filters");
	}
}

/* In the order in which prepare() is given it. */
static bool is_stored(const struct weight *w)
{
	return w->kh * w->kw == 1 || is_quantised(w->dtype);
}

/* Pinned, so that the copy to the card is the card's own work.  unprepare() knows it by the flag.  Filters are put in
 * their order on the card, where visits find room. */
static int prepare_on_host(struct device *d, struct weight *w, const void *host)
{
	const size_t bytes = weight_bytes(w);
	struct weight there = *w;

	w->data = NULL;
	if (visits_room(d, bytes) < 0 || cudaHostAlloc(&w->data, bytes, cudaHostAllocDefault) != cudaSuccess) {
		cudaGetLastError();
		w->data = NULL;
		return -1;
	}
	if (is_stored(w)) {
		memcpy(w->data, host, bytes);
		return 0;
	}
	there.data = visits_end(d);
	upload_filters(d, &there, host);
	cuda_download(d, w->data, there.data, bytes);
	return 0;
}

/* Of `count` weights, w as one.  At the end of scratch, or of what is a product's: an operand that was cast to the
 * beginning stays, if they do not meet. */
static struct weight widened(struct device *d, const struct weight *w, const struct weight *const *of, int count)
{
	const size_t bytes = weight_count(w) * type_size(DTYPE_F16), whole = (bytes + 255) / 256 * 256;
	const size_t end = w->kh * w->kw > 1 ? SCRATCH_BYTES : OPERANDS_BYTES;
	struct weight wide = *w;

	if (whole > end)
		die(EXIT_OTHER, "a quantised weight of %zu numbers is more than scratch holds; use base_precision = "
		    "\"fp16\"", weight_count(w));
	wide.dtype = DTYPE_F16;
	wide.data = d->scratch + end - whole;
	if (d->operand.bytes / sizeof(float) * type_size(d->operand.type) > end - whole)
		d->operand.of = NULL;
	cuda_must(k_widen(d->stream, wide.data, of, count), "weights in half precision");
	return wide;
}

struct weight cuda_weight_here(struct device *d, const struct weight *w)
{
	struct weight here = *w;
	const struct weight *const of = &here;

	if (w->on_host)
		here.data = (void *)visit(d, &(struct visitor){ w->data, weight_bytes(w) }, 1);
	return is_quantised(w->dtype) ? widened(d, &here, &of, 1) : here;
}

struct weight cuda_weights_here(struct device *d, const struct stacked *s, int first, int count, const struct weight *w)
{
	struct visitor visitor[STACKED_MOST] = { { 0 } };
	struct weight one[STACKED_MOST], here = *w;
	const struct weight *of[STACKED_MOST];
	size_t at = 0;

	if (count == 1)
		return cuda_weight_here(d, w);
	for (int i = 0; i < count; i++)
		visitor[i] = (struct visitor){ s->of[first + i].w->data, weight_bytes(s->of[first + i].w) };
	if (w->on_host)
		here.data = (void *)visit(d, visitor, count);
	if (!is_quantised(w->dtype))
		return here;
	for (int i = 0; i < count; at += visitor[i++].bytes) {
		of[i] = &one[i];
		one[i] = *s->of[first + i].w;
		one[i].data = w->on_host ? (char *)here.data + at : one[i].data;
	}
	return widened(d, w, of, count);
}

size_t cuda_scratch_before(const struct device *d, const struct weight *here)
{
	const uintptr_t at = (uintptr_t)here->data - (uintptr_t)d->scratch;

	return at < OPERANDS_BYTES ? at : OPERANDS_BYTES;
}

int cuda_prepare(struct device *d, struct weight *w, const void *host)
{
	const size_t bytes = weight_bytes(w);

	if (w->dtype != DTYPE_F32 && w->dtype != DTYPE_F16 && w->dtype != DTYPE_BF16 && !is_quantised(w->dtype))
		die(EXIT_OTHER, "a weight of a type that cuda does not compute with; this is a bug in lora-tools");
	if (w->on_host)
		return prepare_on_host(d, w, host);
	if (!w->placed)
		w->data = pool_take(d->pool, bytes);
	if (!w->data)
		return -1;
	if (is_stored(w))
		cuda_upload(d, w->data, host, bytes);
	else
		upload_filters(d, w, host);
	return 0;
}

void cuda_unprepare(struct device *d, struct weight *w)
{
	if (w->on_host && w->data) {
		cuda_must(cudaStreamSynchronize(d->stream), "the work so far");         /* it may still be read */
		visits_forget(d, w->data);
		cudaFreeHost(w->data);
	} else if (!w->placed) {
		cuda_release(d, w->data);
	}
	w->data = NULL;
}
