/* Bytes of a merged file: hashed on their way out; copied ones are checked for NaN and infinity. */
#include "internal.h"

int merge_put(struct writing *w, const void *bytes, size_t n, struct error *e)
{
	if (w->hashed)
		sha256_add(&w->hash, bytes, n);
	return publish_write(w->out, bytes, n, e);
}

int merge_nonfinite(const char *path, const char *tensor, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' holds NaN or infinity; use a sound model, or say --allow-nonfinite",
		    path, tensor);
}

static bool all_finite(const unsigned char *bytes, enum dtype type, size_t n)
{
	enum { PART = 1024 };
	float x[PART];
	bool finite = true;

	for (size_t i = 0; i < n; i += PART) {
		const size_t part = n - i < PART ? n - i : PART;

		to_float(x, bytes + i * dtype_size(type), type, part);
		for (size_t k = 0; k < part; k++)
			finite &= x[k] - x[k] == 0;     /* else not a number */
	}
	return finite;
}

int merge_copy(struct merge *m, struct writing *w, const struct safetensors *s, const struct safetensor *t,
	       size_t from, size_t to, struct error *e)
{
	enum { PIECE = 2 << 20 };
	const unsigned char *bytes = safetensors_bytes(s, t);
	const bool check = dtype_is_float(t->dtype) && !m->options->allow_nonfinite;

	for (size_t n; from < to; from += n) {
		n = to - from < PIECE ? to - from : PIECE;
		if (check && !all_finite(bytes + from, t->dtype, n / dtype_size(t->dtype)))
			return merge_nonfinite(s->path, t->name, e);
		if (merge_put(w, bytes + from, n, e))
			return -1;
		safetensors_release(s, bytes + from, n);
	}
	return 0;
}
