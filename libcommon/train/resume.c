/* The output folder at the start of a run: the lock, the state to go on from, files of other runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "../base/retry.h"
#include "../io/publish.h"
#include "../io/safetensors.h"
#include "../adapter/metadata.h"
#include "keeper.h"

/* Takes the lock, and waits a little: a run that was killed holds its lock until its memory is freed, which takes a
 * second with a card. */
static int lock_soon(int fd)
{
	const double until = seconds_now() + 2;
	int status;

	while ((status = RETRY(flock(fd, LOCK_EX | LOCK_NB))) < 0 && errno == EWOULDBLOCK && seconds_now() < until)
		usleep(50000);
	return status;
}

int keeper_lock(struct keeper *k, struct error *e)
{
	char *name = xprintf(".%s.lock", k->s->output_name), *path;
	int result = 0;

	if (make_folders(k->s->output_dir, e) < 0) {
		free(name);
		return -1;
	}
	path = path_join(k->s->output_dir, name);
	if (access(k->s->output_dir, W_OK | X_OK) == 0)
		k->lock = RETRY(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
	if (k->lock < 0)
		result = fail(e, EXIT_IO, "%s: %s; choose an --output-dir that can be written", path, strerror(errno));
	else if (lock_soon(k->lock) == 0)
		publish_clean(k->s->output_dir, k->s->output_name);     /* of steps, too, that this run will not save */
	else if (errno == EWOULDBLOCK)
		result = fail(e, EXIT_USAGE, "%s: another lora-train is writing '%s' there; "
					     "wait, or choose another --output-name",
			      k->s->output_dir, k->s->output_name);
	else
		warning("%s: this file system has no locks; do not start two runs there", k->s->output_dir);
	free(name);
	free(path);
	return result;
}

/* ---- the state to go on from ---- */

static int load(struct keeper *k, const char *path, const char *settings, struct error *e)
{
	const struct state_more more = { k->course->ema.value, k->witness->log.curves, CURVES };
	/* the identity holds the data, which is not there */
	const bool any = k->s->replay_step || k->data->stand_in;
	const struct state_like like = { any ? NULL : k->identity, any ? NULL : settings };

	if (state_load(path, &k->course->optimizer, &more, &like, &k->course->done, e) < 0)
		return -1;
	note("going on from %s", path);
	k->resumed = xstrdup(path);
	k->resumed_step = k->course->done;
	return 0;
}

/* The reasons why states were skipped, the newest first. */
struct others { struct error *why; size_t count, capacity; };

static int pass_by(struct keeper *k, struct others *o, const char *path, const struct error *e)
{
	if (e->code == EXIT_INPUT) {
		warning("%s; trying the one before", e->text);
		step_set_add(&k->damaged, saved_step(path, STATE_SUFFIX));
	} else if (e->code == EXIT_USAGE) {
		GROW(o->why, o->count, o->capacity);
		o->why[o->count++] = *e;
	} else {
		return -1;
	}
	return 0;
}

/* Fails where there are only states of other runs: which one is wanted cannot be known. */
static int tell_passed(const struct keeper *k, const struct others *o, struct error *e)
{
	size_t i;

	*e = (struct error){ 0 };
	for (i = 0; k->resumed && i < o->count; i++)
		note("passed by, of another run: %s", o->why[i].text);
	if (k->resumed || !o->count)
		return 0;
	*e = o->why[0];
	return -1;
}

/* Loads the newest intact state of this very run.  Names the damaged ones, and newer ones of another run.  Where there
 * is no state at all, the run starts anew. */
static int resume_newest(struct keeper *k, struct error *e)
{
	struct saved_files files = { 0 };
	struct others others = { 0 };
	int result = saved_list(k->s->output_dir, k->s->output_name, STATE_SUFFIX, &files, e);
	size_t i;

	for (i = 0; i < files.count && !k->resumed && !result; i++)
		if (load(k, files.path[i], k->settings, e) < 0)
			result = pass_by(k, &others, files.path[i], e);
	if (!result)
		result = tell_passed(k, &others, e);
	saved_files_free(&files);
	free(others.why);
	return result;
}

int keeper_resume(struct keeper *k, struct error *e)
{
	if (!k->s->resume)
		return 0;
	if (!strcmp(k->s->resume, "auto"))
		return k->data->stand_in ? 0 : resume_newest(k, e);
	return load(k, k->s->resume, NULL, e);
}

/* ---- the end ---- */

static bool has_adapter(const struct keeper *k)
{
	char *path = keeper_adapter_path(k);
	unsigned by;
	long step;
	const bool has = saved_by_run(path, k->mark, &step, &by) && step == k->course->total;

	free(path);
	return has;
}

int keeper_check_end(struct keeper *k, bool *finished, struct error *e)
{
	*finished = false;
	/* total 0: --check does not know the epochs' length */
	if (!k->resumed || k->data->replaying || !k->course->total || k->course->done < k->course->total)
		return 0;
	if (k->course->done > k->course->total)
		return fail(e, EXIT_USAGE, "%s: is of step %ld, this run ends at %ld: nothing is left to do, "
					   "nothing is written; raise max_train_steps, or take another state",
					   k->resumed, k->course->done, k->course->total);
	*finished = has_adapter(k);
	note(*finished ? "%s: is of the last step, %ld: nothing is left to do, nothing is written" :
	     "%s: is of the last step, %ld: only the adapter is missing", k->resumed, k->course->done);
	return 0;
}

/* ---- files of other runs ---- */

/* What the file tells of the run that wrote it, malloced. */
static char *other_run(const struct keeper *k, const struct safetensors *f)
{
	const char *config = safetensors_metadata(f, CONFIG_KEY), *steps = safetensors_metadata(f, "ss_steps");
	const char *title = safetensors_metadata(f, "modelspec.title");
	const bool marked = safetensors_metadata(f, RUN_KEY) && config;
	char *settings = config ? settings_of_run(k->tool, config) : NULL;
	char *differ = settings ? settings_difference(settings, k->settings) : NULL;
	char *text = xprintf("'%.80s', %.20s steps%s%.300s", title ? title : k->s->output_name,
			     steps ? steps : "unknown",
			     differ ? ", with " : marked ? ", with another model or other data" : "",
			     differ ? differ : "");

	free(settings);
	free(differ);
	return text;
}

static void tell_last(const struct keeper *k)
{
	char *path = keeper_adapter_path(k), *text;
	struct error ignored;
	struct safetensors *f = access(path, F_OK) == 0 ? safetensors_open(path, &ignored) : NULL;
	const char *mark = f ? safetensors_metadata(f, RUN_KEY) : NULL;

	if (f && (!mark || strcmp(mark, k->mark))) {
		text = other_run(k, f);
		note("%s: is the adapter of another run (%s); it is replaced at the end", path, text);
		free(text);
	}
	safetensors_close(f);
	free(path);
}

/* A note of other runs' files of steps that this run will save too. */
static void tell_steps(const struct keeper *k, const char *suffix)
{
	struct saved_files files = { 0 };
	const char *first = NULL;
	size_t i, others = 0;
	struct error e;

	if (saved_list(k->s->output_dir, k->s->output_name, suffix, &files, &e) < 0)
		warning("%s", e.text);
	for (i = files.count; i--;) {
		const long step = saved_step(files.path[i], suffix);
		unsigned by;
		long said;
		if (step > k->course->done && step < k->course->total && keeper_due(k, step) &&
		    !saved_by_run(files.path[i], k->mark, &said, &by) && !others++)
			first = files.path[i];
	}
	if (others)
		note("%s%s: of another run, replaced as this one comes to these steps", first,
		     others > 1 ? " and others" : "");
	saved_files_free(&files);
}

void keeper_tell_others(const struct keeper *k)
{
	tell_last(k);
	tell_steps(k, ADAPTER_SUFFIX);
	if (k->s->save_state)
		tell_steps(k, STATE_SUFFIX);
}

void keeper_free(struct keeper *k)
{
	free(k->identity);
	free(k->config);
	free(k->settings);
	free(k->resumed);
	free(k->damaged.step);
	if (k->lock >= 0)
		close(k->lock);
}
