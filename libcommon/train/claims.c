/* The files that a run will write into its folder: none of them may be one that it reads. */
#include <stdlib.h>
#include <string.h>
#include "../io/claims.h"
#include "../io/publish.h"
#include "internal.h"

/* Of NAME-stepNNNNNNNN with this suffix: its step; 0: another file. */
static long step_in(const struct run *r, const char *file, const char *suffix)
{
	const size_t n = strlen(file), k = strlen(suffix);
	const long step = n > k + 8 && !strcmp(file + n - k, suffix) ? saved_step(file, suffix) : 0;
	char *path = step > 0 ? saved_path("", r->s->output_name, step, suffix) : NULL;
	const bool same = path && !strcmp(path + 1, file);

	free(path);
	return same ? step : 0;
}

/* By the clock or by a signal any step may come to be saved; such a save is refused when it comes (io/publish.h). */
static bool is_saved(const struct run *r, const char *file)
{
	const long adapter = step_in(r, file, ADAPTER_SUFFIX), state = step_in(r, file, STATE_SUFFIX);

	if (adapter)
		return adapter > r->course.done && adapter < r->course.total && run_due(r, adapter);
	if (!state || state <= r->course.done || state > r->course.total)
		return false;
	return state == r->course.total ? r->s->save_state || r->s->save_state_at_end : r->s->save_state && run_due(r, state);
}

static bool is_adapter_or_state(const char *file, const void *arg)
{
	return is_saved(arg, file);
}

/* "NAME_000500_00_42.png", and with e before the number */
static bool is_sample(const char *file, const void *arg)
{
	const struct run *r = arg;
	const size_t n = strlen(r->s->output_name), all = strlen(file);

	return !strncmp(file, r->s->output_name, n) && file[n] == '_' && all > n + 4 && !strcmp(file + all - 4, ".png");
}

int run_claim_adapter(const struct run *r, struct error *e)
{
	char *path = run_adapter_path(r);
	int result = r->s->replay_step ? 0 : claim_output("--output-name", path, e);

	free(path);
	return result;
}

int run_claim_outputs(const struct run *r, struct error *e)
{
	char *samples = path_join(r->s->output_dir, "sample");
	int result = r->keeper.resumed && r->course.done < r->course.total ? claim_input(r->keeper.resumed, e) : 0;

	if (!result && !r->s->replay_step)
		result = claim_outputs_in("--output-name", r->s->output_dir, is_adapter_or_state, r, e);
	if (!result && r->witness.samples)
		result = claim_outputs_in("--sample-prompts", samples, is_sample, r, e);
	free(samples);
	return result;
}
