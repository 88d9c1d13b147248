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
		result = 0;
	else if (errno == EWOULDBLOCK)
		result = fail(e, EXIT_USAGE, "%s: another lora-train is writing '%s' there; wait, or choose another --output-name",
			      r->s->output_dir, r->s->output_name);
	else
		warning("%s: this file system has no locks; do not start two runs there", r->s->output_dir);
	free(name);
	free(path);
	return result;
}

static void tell_resume(struct run *r, const char *path)
{
	note("going on from %s", path);
	report_save(r, "resume", path);
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
			found = state_load(paths[i], &r->optimizer, &r->done, r->identity, e) == 0;
			if (found)
				tell_resume(r, paths[i]);
			else if (e->code == EXIT_USAGE)
				result = -1;
			else
				warning("%s; trying the one before", e->text);
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
	else if ((result = state_load(r->s->resume, &r->optimizer, &r->done, r->identity, e)) == 0)
		tell_resume(r, r->s->resume);
	return result;
}

static enum dtype precision(const char *name)
{
	return !strcmp(name, "fp16") ? DTYPE_F16 : !strcmp(name, "bf16") ? DTYPE_BF16 : DTYPE_F32;
}

int run_save_adapter(struct run *r, bool last, struct error *e)
{
	char *name = last ? xprintf("%s.safetensors", r->s->output_name) : xprintf("%s-step%08ld.safetensors", r->s->output_name, r->done);
	char *path = path_join(r->s->output_dir, name);
	struct metadata_list facts = { 0 };
	int result;

	run_metadata(r, &facts);
	result = adapter_save(r->adapter, path, precision(r->s->save_precision), facts.item, facts.count, e);
	metadata_free(&facts);
	if (!result)
		report_save(r, "save", path);
	free(name);
	free(path);
	return result;
}

int run_save_state(struct run *r, struct error *e)
{
	char *path = state_path(r->s->output_dir, r->s->output_name, r->done);
	int result = state_save(path, &r->optimizer, r->done, r->identity, r->config, e);

	if (!result) {
		report_save(r, "state", path);
		state_prune(r->s->output_dir, r->s->output_name, r->s->keep_states);
	}
	free(path);
	return result;
}
