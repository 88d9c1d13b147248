/* From pixels to latents: the VAE's moments of pictures of one size, and mean and std of each. */
#include <math.h>
#include <stdlib.h>
#include "encode_internal.h"

struct job { const struct vae *vae; const struct pixels *pixels; };

static struct tensor *run_vae(struct tape *t, void *arg)
{
	const struct job *j = arg;
	const struct pixels *p = j->pixels;

	return vae_encode(t, j->vae, tensor_from(t, p->n, p->h, p->w, 3, p->at), NULL, NULL);
}

int encode_moments(struct encoder *n, const struct pixels *p, struct moments *m, struct error *e)
{
	struct job job = { n->vae, p };
	const struct tensor *y = workspace_run(&n->work, run_vae, &job, e);

	if (!y)
		return -1;
	*m = (struct moments){ xmalloc(tensor_count(y) * sizeof(float)), y->h, y->w, y->c / 2 };
	tensor_download(n->work.tape, y, m->at);
	return 0;
}

int encode_latent(const struct encoder *n, const char *label, const struct moments *m, int i, float **mean, float **std,
		  struct error *e)
{
	const size_t rows = (size_t)m->h * m->w, count = rows * m->c;
	const float *moments = m->at + 2 * count * i;
	size_t finite = 0;

	/* before the split, whose clamp of the variance would turn a NaN into a number */
	while (finite < 2 * count && isfinite(moments[finite]))
		finite++;
	if (finite < 2 * count)
		return fail(e, EXIT_INPUT,
			    "%s: the VAE gives NaN or infinity for this picture; use another VAE (--vae)", label);
	*mean = xmalloc(count * sizeof(float));
	*std = xmalloc(count * sizeof(float));
	vae_split_moments(moments, rows, m->c, *mean, *std, NULL);
	return encode_round(n, label, *mean, count, e) < 0 ? -1 : encode_round(n, label, *std, count, e);
}
