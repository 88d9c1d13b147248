/* The bytes that a run will write, compared with the free space on the disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include "../base/bytes.h"
#include "../io/publish.h"
#include "kohya_metadata.h"
#include "keeper.h"

#define MEMBER_HEADER 80                /* bytes for a tensor in a file's header, besides its name */

struct need {
	double adapter, state, sample;  /* bytes of one file; a sample's are a guess */
	double adapters, states, samples;       /* the number of files that will be added */
	double all;
	double free, most;              /* on the disk; in one file (ulimit -f).  Infinite where unknown. */
};

/* ---- one file ---- */

static double metadata_bytes(const struct keeper *k)
{
	struct metadata_list facts = { 0 };
	double sum = 0;
	size_t i;

	kohya_metadata(k, &facts);
	for (i = 0; i < facts.count; i++)
		sum += strlen(facts.item[i].key) + strlen(facts.item[i].value) + 6;
	metadata_free(&facts);
	return sum;
}

static void one_file(const struct keeper *k, struct need *n)
{
	const int width = strchr(k->s->save_precision, '1') ? 2 : 4;
	size_t i;
	int slot;

	/* alphas */
	n->adapter = (k->data->stand_in ? 0 : metadata_bytes(k)) + k->net->adapter->count * (width + 90.0);
	n->state = strlen(k->config) + strlen(k->settings) + strlen(k->identity);
	for (i = 0; i < k->course->optimizer.count; i++) {
		const struct parameter *p = &k->course->optimizer.parameter[i];
		const double header = strlen(p->name) + MEMBER_HEADER;
		n->adapter += header + (double)p->count * width;
		n->state += (header + (double)p->count * sizeof(float)) * (1 + (k->s->ema_decay > 0)) + sizeof(int64_t);
		for (slot = 0; slot < OPTIMIZER_SLOTS; slot++)
			if (p->slot[slot].count)
				n->state += header + (double)p->slot[slot].count * dtype_size(p->slot[slot].dtype);
	}
}

/* ---- how many ---- */

static unsigned due(const void *run, long step)
{
	return keeper_due(run, step);
}

static void count_adapters(const struct keeper *k, struct need *n)
{
	const struct rotation keep = adapter_rotation(k->s);
	long saved;

	n->adapters = 1 + saved_kept(&keep, due, k, k->course->done + 1, k->course->total - 1, &saved);
	n->adapters += saved > n->adapters - 1;         /* the new one is there before the old one goes */
}

/* Saving by the clock may make as many states as are kept. */
static void count_states(const struct keeper *k, struct need *n)
{
	const struct train_settings *s = k->s;
	const struct rotation keep = state_rotation(s);
	const double few = keep.all ? keep.all : keep.others;
	long saved = 0;

	if (s->save_state)
		n->states = saved_kept(&keep, due, k, k->course->done + 1, k->course->total - 1, &saved);
	if (s->save_state || s->save_state_at_end)
		n->states++;
	if (s->save_every_minutes)
		n->states += few + 1;
	if (keep.all && n->states > keep.all)
		n->states = keep.all + 1;
	else if (saved > n->states)
		n->states++;
}

/* The bytes of files that exist and will be replaced; 0 where the folder cannot be read, which the save will report. */
static double replaced(const struct keeper *k, const char *suffix, double bytes)
{
	struct saved_files files = { 0 };
	struct error ignored;
	const bool read = saved_list(k->s->output_dir, k->s->output_name, suffix, &files, &ignored) == 0;
	double sum = 0;
	size_t i;

	for (i = 0; i < files.count && read; i++) {
		const long step = saved_step(files.path[i], suffix);
		if (step > k->course->done && step < k->course->total && keeper_due(k, step))
			sum += bytes;
	}
	saved_files_free(&files);
	return sum;
}

static void all_files(const struct keeper *k, struct need *n)
{
	count_adapters(k, n);
	count_states(k, n);
	n->samples = witness_samples_ahead(k->witness, &n->sample);
	n->all = n->adapters * n->adapter + n->states * n->state + n->samples * n->sample -
		replaced(k, ADAPTER_SUFFIX, n->adapter);
	if (k->s->save_state)
		n->all -= replaced(k, STATE_SUFFIX, n->state);
}

/* ---- the room ---- */

static void measure_room(const char *folder, struct need *n)
{
	char *at = existing_folder(folder);
	struct statvfs disk;
	struct rlimit limit;

	n->free = n->most = 1.0 / 0.0;
	if (statvfs(at, &disk) == 0 && disk.f_blocks)
		n->free = (double)disk.f_bavail * disk.f_frsize;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		n->most = limit.rlim_cur;
	free(at);
}

/* The reason why a file of this size cannot be written; NULL: it can. */
static const char *why_not(const struct need *n, double bytes)
{
	return bytes > n->most ? strerror(EFBIG) : bytes > n->free ? strerror(ENOSPC) : NULL;
}

static void size(double bytes, char words[BYTES_SIZE])
{
	bytes_words(bytes > 0 ? bytes < 0x1p62 ? bytes : 0x1p62 : 0, words);
}

static int cannot(const char *path, const struct need *n, double bytes, const char *advice, struct error *e)
{
	char need[BYTES_SIZE], there[BYTES_SIZE];

	size(bytes, need);
	size(bytes > n->most ? n->most : n->free, there);
	return fail(e, EXIT_IO, "%s: writing %s at the end: %s, %s are %s; %s", path, need, why_not(n, bytes), there,
		    bytes > n->most ? "the most that a file may have (ulimit -f)" : "free",
		    bytes > n->most ? "raise that limit" : advice);
}

static int too_much(const struct keeper *k, const struct need *n, struct error *e)
{
	char all[BYTES_SIZE], there[BYTES_SIZE], adapter[BYTES_SIZE], state[BYTES_SIZE];

	size(n->all, all);
	size(n->free, there);
	size(n->adapter, adapter);
	size(n->state, state);
	return fail(e, EXIT_IO, "%s: what is saved takes %s (%.0f adapters of %s, %.0f states of %s, %.0f samples), "
				"%s are free; make room, save less often, or keep fewer with save_last_n",
				k->s->output_dir, all, n->adapters, adapter, n->states, state, n->samples, there);
}

int keeper_check_room(struct keeper *k, bool strict, struct error *e)
{
	char *adapter = keeper_adapter_path(k),
	     *state = saved_path(k->s->output_dir, k->s->output_name, k->course->total, STATE_SUFFIX);
	struct need n = { 0 };
	int result = 0;

	one_file(k, &n);
	all_files(k, &n);
	measure_room(k->s->output_dir, &n);
	k->file_bytes[RUN_ADAPTER] = n.adapter;
	k->file_bytes[RUN_STATE] = n.state;
	k->all_bytes = n.all;
	k->free_bytes = n.free;
	if (why_not(&n, n.adapter))
		result = cannot(adapter, &n, n.adapter, "make room, or choose another --output-dir", e);
	else if (n.states && why_not(&n, n.state))
		result = cannot(state, &n, n.state, "make room, or leave out save_state", e);
	else if (n.all > n.free)
		result = too_much(k, &n, e);
	if (result < 0 && !strict && !why_not(&n, n.adapter)) {
		warning("%s; training begins all the same, the last adapter has room", e->text);
		result = 0;
	}
	free(adapter);
	free(state);
	return result;
}

int keeper_leave_room(const struct keeper *k, enum run_file file, struct error *e)
{
	const double now = k->file_bytes[file], last = k->file_bytes[RUN_ADAPTER];
	char words[3][BYTES_SIZE], *path;
	struct need n;

	measure_room(k->s->output_dir, &n);
	if (now > n.most || now > n.free || now + last <= n.free)
		return 0;       /* what does not fit at all says so itself */
	size(now, words[0]);
	size(last, words[1]);
	size(n.free, words[2]);
	path = saved_path(k->s->output_dir, k->s->output_name, k->course->done,
			  file == RUN_STATE ? STATE_SUFFIX : ADAPTER_SUFFIX);
	fail(e, EXIT_IO, "%s: not writing %s: the last adapter needs %s of the %s that are free", path, words[0],
	     words[1], words[2]);
	free(path);
	return -1;
}
