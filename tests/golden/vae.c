/* The VAE against golden latents and pictures. */
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

struct coding { struct subject *s; const struct safetensors *in, *want; struct probes probes; };

/* mean, std and log variance are host values: uploaded again only to be compared like the rest */
static void compare_moments(struct coding *x, struct tape *t, const struct tensor *moments)
{
	int c = moments->c / 2, rows = tensor_rows(moments);
	size_t n = (size_t)rows * c;
	float *host = xcalloc(2 * n, sizeof(float)), *part = xcalloc(3 * n, sizeof(float));
	const char *names[] = { "mean", "std", "logvar" };

	tensor_download(t, moments, host);
	vae_split_moments(host, rows, c, part, part + n, part + 2 * n);
	for (int i = 0; i < 3; i++)
		compare_tensor(x->s, KIND_VAE, t, tensor_from(t, moments->n, moments->h, moments->w, c, part + i * n),
			       x->want, names[i]);
	free(host);
	free(part);
}

static struct tensor *encode(struct tape *t, void *arg)
{
	struct coding *x = arg;
	struct tensor *moments = vae_encode(t, x->s->encoder, upload_reference(t, x->in, "image"), probe_tensor,
					    &x->probes);

	compare_moments(x, t, moments);
	return moments;
}

static struct tensor *decode(struct tape *t, void *arg)
{
	struct coding *x = arg;
	struct tensor *picture = vae_decode(t, x->s->p.vae, upload_reference(t, x->in, "latent"), probe_tensor,
					    &x->probes);

	compare_tensor(x->s, KIND_VAE, t, picture, x->want, "decoded");
	return picture;
}

void check_vae(struct subject *s, const struct safetensors *in, const struct safetensors *want)
{
	struct coding x = { s, in, want, { s, KIND_VAE, want, "probe." } };
	struct error e = { 0 };

	if (!workspace_run(&s->p.work, encode, &x, &e) || !workspace_run(&s->p.work, decode, &x, &e))
		failed(s->tally, "%s vae: %s", s->label, e.text);
	probes_end(&x.probes);
}
