/* --check: everything that can be checked without weights. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/bytes.h"
#include "../base/print.h"
#include "../base/retry.h"
#include "../io/publish.h"
#include "../adapter/adapter_file.h"
#include "run.h"

/* Tries to make a file in the folder, and leaves none: permissions do not tell, since root may write anywhere. */
static bool can_write(const char *folder)
{
	int fd = RETRY(open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
	char *file;

	/* not every file system has files without a name */
	if (fd < 0 && errno != EACCES && errno != EROFS) {
		file = xprintf("%s/.lora-check.%ld.tmp", folder, (long)getpid());
		fd = RETRY(open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
		if (fd >= 0)
			unlink(file);
		free(file);
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int check_folder(const char *key, const char *path, struct error *e)
{
	char *at = existing_folder(path);
	struct stat st;
	int result = 0;

	errno = 0;
	if (stat(at, &st) < 0 || !S_ISDIR(st.st_mode) || !can_write(at))
		result = fail(e, EXIT_IO, "%s '%s' cannot be written: %s: %s; choose another", key, path, at,
			      errno ? strerror(errno) : "no folder");
	free(at);
	return result;
}

static int check_file_place(const char *key, const char *path, struct error *e)
{
	char *folder = path ? xstrdup(path) : NULL, *slash = folder ? strrchr(folder, '/') : NULL;
	struct stat st;
	int result = 0;

	if (slash)
		*slash = 0;
	if (folder && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		result = fail(e, EXIT_USAGE, "%s '%s' is a folder; name a file", key, path);
	else if (folder)
		result = check_folder(key, !slash ? "." : *folder ? folder : "/", e);
	free(folder);
	return result;
}

static int check_places(const struct run *r, struct error *e)
{
	const struct train_settings *s = r->s;

	if (check_folder("output_dir", s->output_dir, e) < 0)
		return -1;
	if (s->logging_dir && check_folder("logging_dir", s->logging_dir, e) < 0)
		return -1;
	if (check_file_place("log", s->log && strcmp(s->log, "-") ? s->log : NULL, e) < 0)
		return -1;
	return check_file_place("html", s->html, e);
}

/* Takes the file over; NULL: it could not be opened. */
static int check_adapter(struct adapter_file *a, struct error *e)
{
	const int result = a ? adapter_file_check(a, e) : -1;

	adapter_file_close(a);
	return result;
}

/* Each is opened as the run opens it. */
static int check_files(const struct run *r, struct error *e)
{
	const struct layer_list *layers = &r->net.layers;
	const char *start = r->s->network_weights;
	int result = start ? check_adapter(adapter_file_open_present(start, layers, e), e) : 0;

	for (size_t i = 0; i < r->s->base_weights.count && !result; i++)
		result = check_adapter(adapter_file_open(r->s->base_weights.item[i], layers, e), e);
	return result;
}

static int tell_check(const struct run *r, struct error *e)
{
	const bool counted = !r->data.stand_in || r->s->pictures;
	size_t i, pictures = 0, regularization = 0;
	struct json_out j = { 0 };
	struct buffer text = { 0 };
	char size[BYTES_SIZE], room[BYTES_SIZE];
	int result;

	for (i = 0; i < r->data.set.count && counted; i++)
		*(r->data.set.sample[i].regularization ? &regularization : &pictures) += 1;
	if (!r->s->json) {
		if (!counted)
			buffer_adds(&text, "nothing is wrong; no latents were named, so data was not looked at\n");
		else
			buffer_addf(&text, "nothing is wrong: %zu pictures, %zu regularisation pictures, "
					   "%zu batches an epoch, steps %ld to %ld\n", pictures,
			       regularization, order_batches(r->data.order), r->course.done + 1, r->course.total);
		bytes_words(r->net.planned_bytes, size);
		buffer_addf(&text, "%zu modules, at most %s on device %s\n", r->net.adapter->count, size, r->s->device);
		bytes_words(r->keeper.all_bytes, size);
		bytes_words(isfinite(r->keeper.free_bytes) ? r->keeper.free_bytes : 0, room);
		buffer_addf(&text, "what is saved takes %s, %s are free\n", size,
			    isfinite(r->keeper.free_bytes) ? room : "nobody knows how many");
		result = print_text(text.data, text.len, e);
		buffer_free(&text);
		return result;
	}
	json_begin(&j, NULL);
	json_text(&j, "event", "check");
	if (counted) {
		json_int(&j, "pictures", pictures);
		json_int(&j, "regularization_pictures", regularization);
		json_int(&j, "batches_per_epoch", order_batches(r->data.order));
		json_int(&j, "step", r->course.done);
		json_int(&j, "steps", r->course.total);
	}
	json_int(&j, "modules", r->net.adapter->count);
	json_text(&j, "device", r->s->device);
	json_int(&j, "peak_bytes", r->net.planned_bytes);
	json_end(&j);
	result = json_line(&j, STDOUT_FILENO, e) < 0 ? fail_at(e, "standard output") : 0;
	json_free(&j);
	return result;
}

/* Opens the device and asks for its free memory, then builds everything on the dry one. */
static int fit_on_device(struct run *r, struct error *e)
{
	int result = networks_open_device(&r->net, e) < 0 ? -1 : run_fit(r, e);

	if (r->net.device)
		r->net.be->close(r->net.device);
	r->net.be = &dry_backend;
	r->net.device = r->net.be->open(e);
	return result;
}

int run_check(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	bool finished;

	if (run_prepare(r, latents, count, e) < 0 || fit_on_device(r, e) < 0 || run_load(r, e) < 0)
		return -1;
	if (check_files(r, e) < 0 || check_places(r, e) < 0 || keeper_resume(&r->keeper, e) < 0 ||
	    keeper_check_end(&r->keeper, &finished, e) < 0 ||
	    (!finished && keeper_claim_outputs(&r->keeper, e) < 0))
		return -1;
	if (!finished && keeper_check_room(&r->keeper, true, e) < 0)
		return -1;
	if (!finished && !r->data.stand_in)
		keeper_tell_others(&r->keeper);
	return tell_check(r, e);
}
