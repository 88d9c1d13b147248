/* The UNet against golden outputs, module by module. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

struct forward { struct subject *s; const struct safetensors *in, *want; const char *sample, *output;
		 struct probes *probes; };

static struct tensor *forward(struct tape *t, void *arg)
{
	struct forward *x = arg;
	float *timestep = need_floats(x->in, "timestep");
	struct unet_input in = { .sample = upload_reference(t, x->in, x->sample), .timestep = timestep };
	struct conditioning given = read_given(x->s, x->in, "");
	struct tensor *y;

	for (int i = 0; i < CONDITIONS; i++)
		if (family_reads(x->s, i) && condition_is_text(i))
			in.condition[i] = upload_reference(t, x->in, condition_name(i));
	unet_conditions(t, &x->s->p.config->unet, &given, in.condition);
	y = unet_forward(t, x->s->p.unet, &in, probe_tensor, x->probes);
	compare_tensor(x->s, KIND_UNET, t, y, x->want, x->output);
	free(timestep);
	conditioning_free(&given);
	return y;
}

static void run(struct forward *x)
{
	struct error e = { 0 };

	if (!workspace_run(&x->s->p.work, forward, x, &e))
		failed(x->s->tally, "%s unet: %s", x->s->label, e.text);
}

/* at: the sample's name begins with so many bytes, "" or "small." or "odd.", and so do output and probes */
static void check_one(struct subject *s, const struct safetensors *in, const struct safetensors *want,
		      const char *sample, size_t at)
{
	char *output = xprintf("%.*soutput", (int)at, sample), *probe = xprintf("%.*sprobe.", (int)at, sample);
	struct probes probes = { s, KIND_UNET, want, probe };

	run(&(struct forward){ s, in, want, sample, output, &probes });
	probes_end(&probes);
	free(output);
	free(probe);
}

void check_unet(struct subject *s, const struct safetensors *in, const struct safetensors *want)
{
	static const char end[] = "sample";

	for (size_t i = 0; i < in->count; i++) {
		const char *name = in->tensor[i].name;
		const size_t n = strlen(name), k = sizeof(end) - 1;

		if (n >= k && !strcmp(name + n - k, end) && (n == k || name[n - k - 1] == '.'))
			check_one(s, in, want, name, n - k);
	}
}
