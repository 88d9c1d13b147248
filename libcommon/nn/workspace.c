/* Inference in measured memory. */
#include "workspace.h"

size_t workspace_need(forward_fn *fn, void *arg)
{
	struct tape *dry = tape_new_dry();
	size_t peak;

	tape_recording(dry, false);
	fn(dry, arg);
	peak = tape_peak(dry);
	tape_free(dry);
	return peak;
}

struct tensor *workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e)
{
	size_t need = workspace_need(fn, arg);

	if (need > w->bytes) {
		tape_free(w->tape);
		w->tape = tape_new(w->be, w->device, need, e);
		w->bytes = w->tape ? need : 0;
		if (!w->tape)
			return NULL;
		tape_recording(w->tape, false);
	}
	tape_reset(w->tape);
	return fn(w->tape, arg);
}

void workspace_free(struct workspace *w)
{
	tape_free(w->tape);
	*w = (struct workspace){ 0 };
}
