/*
 * text.c - time of a text encoder, every layer and the final norm: text MODEL 1|2 BATCH [RUNS]
 *
 * 1 is the folder text_encoder, 2 text_encoder_2.  Prints seconds of each run and the median.
 */
#include "../../libcommon/model/clip.h"
#include "runs.h"

struct job { const struct clip *clip; int32_t *ids; int batch; };

static struct tensor *forward(struct tape *t, void *arg)
{
	const struct job *j = arg;
	struct clip_output out = { 0 };

	clip_forward(t, j->clip, j->ids, j->batch, &(struct text_reading){ .skip = 2, .pooled = true }, &out);
	return out.last;
}

static int32_t *some_ids(const struct clip_config *c, int batch)
{
	int32_t *ids = xcalloc((size_t)batch * c->length, sizeof(*ids));

	for (int i = 0; i < batch * c->length; i++)
		ids[i] = (i * 7919 + 1) % c->vocabulary;
	return ids;
}

int main(int argc, char **argv)
{
	struct error e;
	struct model_files *m;
	struct device *d;
	struct workspace w;
	struct clip *clip;
	struct job j;
	int status;

	if (argc < 4)
		die(EXIT_USAGE, "usage: text MODEL 1|2 BATCH [RUNS]");
	m = model_files_open(argv[1], NULL, NULL, &e);
	d = m ? cpu_backend.open(&e) : NULL;
	clip = d ? clip_load(m, COMPONENT_TE1 + atoi(argv[2]) - 1, &cpu_backend, d, false, &e) : NULL;
	if (!clip)
		return report(&e);
	j = (struct job){ clip, some_ids(clip_config(clip), atoi(argv[3])), atoi(argv[3]) };
	w = (struct workspace){ .be = &cpu_backend, .device = d };
	status = print_runs(&w, forward, &j, argc > 4 ? atoi(argv[4]) : 5);
	free(j.ids);
	workspace_free(&w);
	clip_free(clip);
	cpu_backend.close(d);
	model_files_close(m);
	return status;
}
