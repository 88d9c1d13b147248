#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

struct forward { struct subject *s; const struct safetensors *in, *want; const char *sample, *output; struct probes *probes; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct forward *x = arg;
	float *timestep = need_floats(x->in, "timestep"), *time_ids = need_floats(x->in, "time_ids");
	struct unet_input in = { .sample = upload_reference(t, x->in, x->sample), .timestep = timestep };
	struct conditioning sizes = { .rows = in.sample->n, .of = { [CONDITION_TIME_IDS] = { 1, TIME_IDS, time_ids } } };
	struct tensor *y;

	in.condition[CONDITION_CONTEXT] = upload_reference(t, x->in, "context");
	in.condition[CONDITION_POOLED] = upload_reference(t, x->in, "pooled");
	unet_conditions(t, &x->s->p.config->unet, &sizes, in.condition);
	y = unet_forward(t, x->s->p.unet, &in, x->probes ? probe_tensor : NULL, x->probes);

	compare_tensor(x->s, KIND_UNET, t, y, x->want, x->output);
	free(timestep);
	free(time_ids);
	return y;
}

static void run(struct forward *x)
{
	struct error e = { 0 };

	if (!workspace_run(&x->s->p.work, forward, x, &e))
		failed(x->s->tally, "%s unet: %s", x->s->label, e.text);
}

void check_unet(struct subject *s, const struct safetensors *in, const struct safetensors *want)
{
	struct probes probes = { s, KIND_UNET, want, "probe." }, small = { s, KIND_UNET, want, "small.probe." };

	run(&(struct forward){ s, in, want, "sample", "output", &probes });
	probes_end(&probes);
	if (safetensors_find(in, "small.sample"))
		run(&(struct forward){ s, in, want, "small.sample", "small.output", &small });
	probes_end(&small);
}
