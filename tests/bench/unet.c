/*
 * unet.c - time of one UNet forward: unet MODEL WIDTH HEIGHT [RUNS]
 *
 * Prints seconds of each run and the median; the first one pays for touching memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/model/family.h"
#include "../../libcommon/model/unet.h"
#include "runs.h"

struct job { const struct unet *unet; const struct model_config *config; int h, w; float *sample;
	     struct conditioning read; };

static struct tensor *forward(struct tape *t, void *arg)
{
	const struct job *j = arg;
	const struct unet_config *c = &j->config->unet;
	const float timestep = 500;
	struct unet_input in = { .timestep = &timestep };

	in.sample = tensor_from(t, 1, j->h, j->w, c->in_channels, j->sample);
	unet_conditions(t, c, &j->read, in.condition);
	return unet_forward(t, j->unet, &in, NULL, NULL);
}

static struct conditioning random_conditions(const struct model_config *c)
{
	const int size[2] = { 512, 512 }, crop[2] = { 0 };
	struct conditioning read = family_conditioning(c, c->text[0].length);

	read.rows = 1;
	for (int i = 0; i < CONDITIONS; i++)
		if (condition_size(&read, i))
			read.of[i].data = noise(2 + i, condition_size(&read, i));
	conditioning_sizes(&read, 0, size, crop, size);
	return read;
}

int main(int argc, char **argv)
{
	struct error e;
	struct model_files *m;
	struct workspace w = { 0 };
	struct job j;
	double began;

	if (argc < 4)
		die(EXIT_USAGE, "usage: unet MODEL WIDTH HEIGHT [RUNS]");
	m = model_files_open(argv[1], NULL, NULL, &e);
	w.be = m ? backend_find("cpu", &e) : NULL;
	w.device = w.be ? w.be->open(&e) : NULL;
	if (!w.device)
		return report(&e);
	began = seconds_now();
	j = (struct job){ unet_load(m, w.be, w.device, &e), model_files_config(m) };
	if (!j.unet)
		return report(&e);
	printf("load %.2f s\n", seconds_now() - began);
	j.w = atoi(argv[2]) / j.config->vae.factor;
	j.h = atoi(argv[3]) / j.config->vae.factor;
	j.sample = noise(1, (size_t)j.w * j.h * j.config->unet.in_channels);
	j.read = random_conditions(j.config);
	return print_runs(&w, forward, &j, argc > 4 ? atoi(argv[4]) : 3);
}
