/*
 * vae.c - time of the VAE on one picture: vae MODEL encode|decode WIDTH HEIGHT [RUNS]
 *
 * In the bands that lora-encode and lora-sample use.  Prints seconds of each run and the median, and the bytes of
 * activations.
 */
#include <string.h>
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/vae.h"
#include "runs.h"

struct job { const struct vae *vae; int h, w; float *x; };

static struct tensor *encode(struct tape *t, void *arg)
{
	const struct job *j = arg;

	return vae_encode(t, j->vae, tensor_from(t, 1, j->h, j->w, 3, j->x), NULL, NULL);
}

static struct tensor *decode(struct tape *t, void *arg)
{
	const struct job *j = arg;
	const struct vae_config *c = vae_config(j->vae);

	return vae_decode(t, j->vae, tensor_from(t, 1, j->h / c->factor, j->w / c->factor, c->latent_channels, j->x),
			  NULL, NULL);
}

int main(int argc, char **argv)
{
	const bool encodes = argc > 2 && !strcmp(argv[2], "encode");
	forward_fn *const way = encodes ? encode : decode;
	struct error e;
	struct model_files *m;
	struct device *d;
	struct workspace w;
	struct vae *v;
	struct job j;
	int status;

	if (argc < 5)
		die(EXIT_USAGE, "usage: vae MODEL encode|decode WIDTH HEIGHT [RUNS]");
	m = model_files_open(argv[1], NULL, NULL, &e);
	d = m ? cpu_backend.open(&e) : NULL;
	v = d ? vae_load(m, &cpu_backend, d, encodes, !encodes, &e) : NULL;
	if (!v)
		return report(&e);
	vae_set_bands(v, VAE_BAND_LIMIT, VAE_BAND_BYTES);
	j = (struct job){ v, atoi(argv[4]), atoi(argv[3]), noise(1, (size_t)atoi(argv[3]) * atoi(argv[4]) * 3) };
	w = (struct workspace){ .be = &cpu_backend, .device = d };
	status = print_runs(&w, way, &j, argc > 5 ? atoi(argv[5]) : 3);
	printf("activations %.0f MiB\n", w.bytes / 1048576.0);
	free(j.x);
	workspace_free(&w);
	vae_free(v);
	cpu_backend.close(d);
	model_files_close(m);
	return status;
}
