/* What lies in the output folder: the lock, the state to go on from, files of other runs. */
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
#include "internal.h"

/* A run that was killed holds its lock until its memory is given back; with a card that takes a second. */
static int lock_soon(int fd)
{
	const double until = seconds_now() + 2;
	int status;

	while ((status = RETRY(flock(fd, LOCK_EX | LOCK_NB))) < 0 && errno == EWOULDBLOCK && seconds_now() < until)
		usleep(50000);
	return status;
}

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
		r->keeper.lock = RETRY(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
	if (r->keeper.lock < 0)
		result = fail(e, EXIT_IO, "%s: %s; choose an --output-dir that can be written", path, strerror(errno));
	else if (lock_soon(r->keeper.lock) == 0)
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

/* ---- the state to go on from ---- */

static int load(struct run *r, const char *path, const char *settings, struct error *e)
{
	const struct state_more more = { r->course.ema.value, r->witness.curves, CURVES };
	const bool any = r->s->replay_step || r->data.stand_in;              /* the identity holds the data, which is not there */
	const struct state_like like = { any ? NULL : r->keeper.identity, any ? NULL : settings };

	if (state_load(path, &r->course.optimizer, &more, &like, &r->course.done, e) < 0)
		return -1;
	note("going on from %s", path);
	r->keeper.resumed = xstrdup(path);
	r->keeper.resumed_step = r->course.done;
	return 0;
}

/* Why states were passed by, the newest first. */
struct others { struct error *why; size_t count, capacity; };

static int pass_by(struct run *r, struct others *o, const char *path, const struct error *e)
{
	if (e->code == EXIT_INPUT) {
		warning("%s; trying the one before", e->text);
		step_set_add(&r->keeper.damaged, saved_step(path, STATE_SUFFIX));
	} else if (e->code == EXIT_USAGE) {
		GROW(o->why, o->count, o->capacity);
		o->why[o->count++] = *e;
	} else {
		return -1;
	}
	return 0;
}

/* Where there are only others' states, nobody knows what is wanted. */
static int tell_passed(const struct run *r, const struct others *o, struct error *e)
{
	size_t i;

	*e = (struct error){ 0 };
	for (i = 0; r->keeper.resumed && i < o->count; i++)
		note("passed by, of another run: %s", o->why[i].text);
	if (r->keeper.resumed || !o->count)
		return 0;
	*e = o->why[0];
	return -1;
}

/* The newest sound state of this very run; damaged ones are named, and newer ones of another run.  Where there are none at all, the run
 * starts anew. */
static int resume_newest(struct run *r, struct error *e)
{
	struct saved_files files = { 0 };
	struct others others = { 0 };
	int result = saved_list(r->s->output_dir, r->s->output_name, STATE_SUFFIX, &files, e);
	size_t i;

	for (i = 0; i < files.count && !r->keeper.resumed && !result; i++)
		if (load(r, files.path[i], r->keeper.settings, e) < 0)
			result = pass_by(r, &others, files.path[i], e);
	if (!result)
		result = tell_passed(r, &others, e);
	saved_files_free(&files);
	free(others.why);
	return result;
}

int run_resume(struct run *r, struct error *e)
{
	if (!r->s->resume)
		return 0;
	if (!strcmp(r->s->resume, "auto"))
		return r->data.stand_in ? 0 : resume_newest(r, e);
	return load(r, r->s->resume, NULL, e);
}

/* ---- the end ---- */

char *run_adapter_path(const struct run *r)
{
	return xprintf("%s/%s" ADAPTER_SUFFIX, r->s->output_dir, r->s->output_name);
}

static bool has_adapter(const struct run *r)
{
	char *path = run_adapter_path(r);
	unsigned by;
	long step;
	const bool has = saved_by_run(path, r->keeper.mark, &step, &by) && step == r->course.total;

	free(path);
	return has;
}

int run_check_end(struct run *r, bool *finished, struct error *e)
{
	*finished = false;
	if (!r->keeper.resumed || r->data.replaying || !r->course.total || r->course.done < r->course.total)     /* total 0: --check does not know the epochs' length */
		return 0;
	if (r->course.done > r->course.total)
		return fail(e, EXIT_USAGE, "%s: is of step %ld, this run ends at %ld: nothing is left to do, nothing is written; raise "
			    "max_train_steps, or take another state", r->keeper.resumed, r->course.done, r->course.total);
	*finished = has_adapter(r);
	note(*finished ? "%s: is of the last step, %ld: nothing is left to do, nothing is written" :
	     "%s: is of the last step, %ld: only the adapter is missing", r->keeper.resumed, r->course.done);
	return 0;
}

/* ---- files of other runs ---- */

/* What is known of the run that wrote it, malloced */
static char *other_run(const struct run *r, const struct safetensors *f)
{
	const char *config = safetensors_metadata(f, CONFIG_KEY), *steps = safetensors_metadata(f, "ss_steps");
	const char *title = safetensors_metadata(f, "modelspec.title");
	const bool marked = safetensors_metadata(f, RUN_KEY) && config;
	char *settings = config ? run_settings_of(r, config) : NULL;
	char *differ = settings ? settings_difference(settings, r->keeper.settings) : NULL;
	char *text = xprintf("'%.80s', %.20s steps%s%.300s", title ? title : r->s->output_name, steps ? steps : "unknown",
			     differ ? ", with " : marked ? ", with another model or other data" : "", differ ? differ : "");

	free(settings);
	free(differ);
	return text;
}

static void tell_last(const struct run *r)
{
	char *path = run_adapter_path(r), *text;
	struct error ignored;
	struct safetensors *f = access(path, F_OK) == 0 ? safetensors_open(path, &ignored) : NULL;
	const char *mark = f ? safetensors_metadata(f, RUN_KEY) : NULL;

	if (f && (!mark || strcmp(mark, r->keeper.mark))) {
		text = other_run(r, f);
		note("%s: is the adapter of another run (%s); it is replaced at the end", path, text);
		free(text);
	}
	safetensors_close(f);
	free(path);
}

/* Those whose step this run will save too. */
static void tell_steps(const struct run *r, const char *suffix)
{
	struct saved_files files = { 0 };
	const char *first = NULL;
	size_t i, others = 0;
	struct error e;

	if (saved_list(r->s->output_dir, r->s->output_name, suffix, &files, &e) < 0)
		warning("%s", e.text);
	for (i = files.count; i--;) {
		const long step = saved_step(files.path[i], suffix);
		unsigned by;
		long said;
		if (step > r->course.done && step < r->course.total && run_due(r, step) && !saved_by_run(files.path[i], r->keeper.mark, &said, &by) && !others++)
			first = files.path[i];
	}
	if (others)
		note("%s%s: of another run, replaced as this one comes to these steps", first, others > 1 ? " and others" : "");
	saved_files_free(&files);
}

void run_tell_others(const struct run *r)
{
	tell_last(r);
	tell_steps(r, ADAPTER_SUFFIX);
	if (r->s->save_state)
		tell_steps(r, STATE_SUFFIX);
}
