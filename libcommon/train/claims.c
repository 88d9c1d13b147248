/* Claims the files that a run will write into its output folder, so that none is one that it reads (io/claims.h). */
#include <stdlib.h>
#include <string.h>
#include "../io/claims.h"
#include "../io/publish.h"
#include "keeper.h"

/* The step of a file NAME-stepNNNNNNNN with this suffix; 0: another file. */
static long step_in(const struct keeper *k, const char *file, const char *suffix)
{
	const size_t n = strlen(file), tail = strlen(suffix);
	const long step = n > tail + 8 && !strcmp(file + n - tail, suffix) ? saved_step(file, suffix) : 0;
	char *path = step > 0 ? saved_path("", k->s->output_name, step, suffix) : NULL;
	const bool same = path && !strcmp(path + 1, file);

	free(path);
	return same ? step : 0;
}

/* Will the run save this file?  By the clock or by a signal any step may be saved; such a save is refused when it comes
 * (io/publish.h). */
static bool is_saved(const struct keeper *k, const char *file)
{
	const long adapter = step_in(k, file, ADAPTER_SUFFIX), state = step_in(k, file, STATE_SUFFIX);

	if (adapter)
		return adapter > k->course->done && adapter < k->course->total && keeper_due(k, adapter);
	if (!state || state <= k->course->done || state > k->course->total)
		return false;
	return state == k->course->total ? k->s->save_state || k->s->save_state_at_end :
		k->s->save_state && keeper_due(k, state);
}

static bool is_adapter_or_state(const char *file, const void *arg)
{
	return is_saved(arg, file);
}

/* "NAME_000500_00_42.png", and with e before the number */
static bool is_sample(const char *file, const void *arg)
{
	const struct keeper *k = arg;
	const size_t n = strlen(k->s->output_name), all = strlen(file);

	return !strncmp(file, k->s->output_name, n) && file[n] == '_' && all > n + 4 && !strcmp(file + all - 4, ".png");
}

int keeper_claim_adapter(const struct keeper *k, struct error *e)
{
	char *adapter = keeper_adapter_path(k);
	/* the longest name: a stop may come in any run */
	char *state = saved_path(k->s->output_dir, k->s->output_name, 1, STATE_SUFFIX);
	int result = 0;

	if (!k->s->replay_step)
		result = publish_could(adapter, e) < 0 || publish_could(state, e) < 0 ? -1 :
			claim_output_file("--output-name", adapter, e);
	free(adapter);
	free(state);
	return result;
}

int keeper_claim_outputs(const struct keeper *k, struct error *e)
{
	char *samples = path_join(k->s->output_dir, "sample");
	int result = k->resumed && k->course->done < k->course->total ? claim_input(k->resumed, e) : 0;

	if (!result && !k->s->replay_step)
		result = claim_outputs_in("--output-name", k->s->output_dir, is_adapter_or_state, k, e);
	if (!result && k->witness->samples)
		result = claim_outputs_in("--sample-prompts", samples, is_sample, k, e);
	free(samples);
	return result;
}
