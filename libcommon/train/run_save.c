#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "../io/publish.h"
#include "run_facts.h"
#include "run_internal.h"

int run_lock(struct run *r, struct error *e)
{
	char *name = xprintf(".%s.lock", r->s->output_name), *path;
	int result = 0;

	if (make_folders(r->s->output_dir, e) < 0) {
		free(name);
		return -1;
	}
	path = path_join(r->s->output_dir, name);
	if (access(r->s->output_dir, W_OK | X_OK) == 0)
		r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (r->lock < 0)
		result = fail(e, EXIT_IO, "%s: %s; choose an --output-dir that can be written", path, strerror(errno));
	else if (flock(r->lock, LOCK_EX | LOCK_NB) == 0)
		publish_clean(r->s->output_dir, r->s->output_name);     /* of steps, too, that this run will not save */
	else if (errno == EWOULDBLOCK)
		result = fail(e, EXIT_USAGE, "%s: another lora-train is writing '%s' there; wait, or choose another --output-name",
			      r->s->output_dir, r->s->output_name);
	else
		warning("%s: this file system has no locks; do not start two runs there", r->s->output_dir);
	free(name);
	free(path);
	return result;
}

static struct state_more more(struct run *r)
{
	return (struct state_more){ r->ema.value, r->curves, CURVES };
}

static int load(struct run *r, const char *path, struct error *e)
{
	const struct state_more extra = more(r);

	if (state_load(path, &r->optimizer, &extra, &r->done, r->s->replay_step ? NULL : r->identity, e) < 0)
		return -1;
	note("going on from %s", path);
	r->resumed = xstrdup(path);
	return 0;
}

/* The newest sound state of this run; damaged ones are named.  None is no error: the run starts anew. */
static int resume_newest(struct run *r, struct error *e)
{
	char **paths;
	size_t i, n = state_list(r->s->output_dir, r->s->output_name, &paths);
	int result = 0;
	bool found = false;

	for (i = 0; i < n; i++) {
		if (!found && !result) {
			found = load(r, paths[i], e) == 0;
			if (!found && e->code == EXIT_USAGE)
				result = -1;
			else if (!found) {
				warning("%s; trying the one before", e->text);
				step_set_add(&r->damaged, step_of_file(paths[i], STATE_SUFFIX));
			}
		}
		free(paths[i]);
	}
	free(paths);
	if (!result)
		*e = (struct error){ 0 };
	return result;
}

int run_resume(struct run *r, struct error *e)
{
	int result = 0;

	if (!r->s->resume)
		return 0;
	if (!strcmp(r->s->resume, "auto"))
		result = resume_newest(r, e);
	else
		result = load(r, r->s->resume, e);
	return result;
}

static enum dtype precision(const char *name)
{
	return !strcmp(name, "fp16") ? DTYPE_F16 : !strcmp(name, "bf16") ? DTYPE_BF16 : DTYPE_F32;
}

/* What is older than the last n steps, or than n savings by epoch, goes; 0: nothing does. */
static long oldest_kept(const struct run *r, long steps, long epochs)
{
	long each = r->s->save_every_epochs * order_updates_per_epoch(r->order, r->s->accumulate);
	long by_steps = steps ? r->done - steps : 0, by_epochs = epochs ? r->done - (epochs - 1) * each : 0;

	return by_steps > by_epochs ? by_steps : by_epochs;
}

static void prune_adapters(const struct run *r)
{
	steps_prune(r->s->output_dir, r->s->output_name, ADAPTER_SUFFIX, r->done, r->s->keep_adapters,
		    oldest_kept(r, r->s->keep_steps, r->s->keep_epochs), NULL);
}

static void prune_states(const struct run *r)
{
	bool by_age = r->s->keep_steps_state || r->s->keep_epochs_state;

	steps_prune(r->s->output_dir, r->s->output_name, STATE_SUFFIX, r->done, by_age ? 0 : r->s->keep_states,
		    oldest_kept(r, r->s->keep_steps_state, r->s->keep_epochs_state), &r->damaged);
}

int run_show_average(struct run *r, struct error *e)
{
	r->averaged = true;
	ema_swap(&r->ema);
	return optimizer_average(&r->optimizer, e);
}

void run_end_average(struct run *r)
{
	if (!r->averaged)
		return;
	r->averaged = false;
	optimizer_resume_training(&r->optimizer);
	ema_swap(&r->ema);
}

int run_save_adapter(struct run *r, bool last, struct error *e)
{
	char *name = last ? xprintf("%s.safetensors", r->s->output_name) : xprintf("%s-step%08ld.safetensors", r->s->output_name, r->done);
	char *path = path_join(r->s->output_dir, name);
	struct metadata_list facts = { 0 };
	int result;

	run_metadata(r, &facts);
	result = run_show_average(r, e);
	if (!result)
		result = adapter_save(r->adapter, path, precision(r->s->save_precision), facts.item, facts.count, e);
	run_end_average(r);
	metadata_free(&facts);
	if (!result) {
		report_save(r, "save", path);
		if (!last)
			prune_adapters(r);
	}
	free(name);
	free(path);
	return result;
}

int run_save_state(struct run *r, struct error *e)
{
	char *path = state_path(r->s->output_dir, r->s->output_name, r->done);
	const struct state_more extra = more(r);
	int result = state_save(path, &r->optimizer, &extra, r->done, r->identity, r->config, e);

	if (!result) {
		report_save(r, "state", path);
		step_set_drop(&r->damaged, r->done);
		prune_states(r);
		r->saved_at = seconds_now();
	}
	free(path);
	return result;
}
