/* A run's events: JSON lines, and TensorBoard files and an HTML page from the same events. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../base/retry.h"
#include "../../base/slow_reader.h"
#include "../../io/publish.h"
#include "../../io/tensorboard.h"
#include "events.h"
#include "old_log.h"
#include "page.h"

#define PICTURE_CAP (256u << 20)

/* ---- TensorBoard: tags as sd-scripts has them, where it has one ---- */

static const struct { const char *event, *field, *tag; } tags[] = {
	{ "step", "loss", "loss/current" },
	{ "step", "loss_smooth", "loss/smooth" },
	{ "step", "grad_norm", "norm/gradient" },
	{ "step", "samples_per_s", "speed/samples_per_s" },
	{ "step", "seconds", "seconds/step" },
	{ "step", "seconds_data", "seconds/data" },
	{ "step", "seconds_compute", "seconds/compute" },
	{ "step", "seconds_optimizer", "seconds/optimizer" },
	{ "step", "memory_bytes", "memory/resident_bytes" },
	{ "step", "gpu_utilization_percent", "gpu/utilization_percent" },
	{ "step", "gpu_memory_bytes", "gpu/memory_bytes" },
	{ "step", "gpu_memory_planned_bytes", "gpu/memory_planned_bytes" },
	{ "step", "gpu_memory_percent", "gpu/memory_percent" },
	{ "step", "gpu_power_watts", "gpu/power_watts" },
	{ "step", "gpu_clock_mhz", "gpu/clock_mhz" },
};

static void add_scalars(struct tensorboard *b, const char *kind, const json_t *event)
{
	size_t i;

	for (i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
		const json_t *v = json_object_get(event, tags[i].field);
		if (!strcmp(kind, tags[i].event) && json_is_number(v))
			tensorboard_scalar(b, tags[i].tag, json_number_value(v));
	}
}

static void add_bins(struct tensorboard *b, const json_t *bins)
{
	size_t i;
	char tag[64];

	for (i = 0; i < json_array_size(bins); i++) {
		snprintf(tag, sizeof(tag), "loss_by_timestep/%02zu of %zu", i + 1, json_array_size(bins));
		if (json_is_number(json_array_get(bins, i)))
			tensorboard_scalar(b, tag, json_number_value(json_array_get(bins, i)));
	}
}

static void add_norms(struct tensorboard *b, json_t *norms)
{
	const char *block;
	const json_t *v;
	char tag[64];

	json_object_foreach(norms, block, v) {
		snprintf(tag, sizeof(tag), "update_norm/%s", block);
		tensorboard_scalar(b, tag, json_number_value(v));
	}
}

/* Four spaces make Markdown show a text as it is. */
static void add_config(struct tensorboard *b, const char *config)
{
	struct buffer text = { 0 };
	size_t n;

	for (; *config; config += n + (config[n] == '\n')) {
		n = strcspn(config, "\n");
		buffer_addf(&text, "    %.*s\n", (int)n, config);
	}
	if (text.len)
		tensorboard_text(b, "config", text.data);
	buffer_free(&text);
}

static void add_picture(struct tensorboard *b, const json_t *event)
{
	struct buffer png = { 0 };
	struct error e;
	char tag[64];

	snprintf(tag, sizeof(tag), "sample/%02lld", (long long)json_integer_value(json_object_get(event, "index")));
	if (read_file(json_string_value(json_object_get(event, "path")), PICTURE_CAP, &png, &e) < 0)
		warning("%s", e.text);
	else
		tensorboard_png(b, tag, json_integer_value(json_object_get(event, "width")),
				json_integer_value(json_object_get(event, "height")), png.data, png.len);
	buffer_free(&png);
}

static int tell_board(struct tensorboard *b, const json_t *event, struct error *e)
{
	const char *kind = json_string_value(json_object_get(event, "event")),
		*config = json_string_value(json_object_get(event, "config"));

	add_scalars(b, kind, event);
	if (!strcmp(kind, "step")) {
		add_bins(b, json_object_get(event, "loss_by_timestep"));
		add_norms(b, json_object_get(event, "update_norm"));
	} else if (!strcmp(kind, "sample")) {
		add_picture(b, event);
	} else if (!strcmp(kind, "start") && config) {
		add_config(b, config);
	}
	return tensorboard_event(b, json_integer_value(json_object_get(event, "step")), e);
}

/* ---- opening ---- */

/* Continues an existing log: the page gets its events, and the next line begins where the last complete one ends. */
static int go_on(struct events *ev, struct error *e)
{
	struct buffer text = { 0 };
	size_t sound, at = 0;
	json_t *event;
	int result = old_log_read(ev->name, &text, &sound, e);

	while (!result && ev->report && (event = old_log_next(&text, sound, &at))) {
		report_event(ev->report, event);
		json_decref(event);
	}
	if (!result && sound < text.len && RETRY(ftruncate(ev->fd, sound)) < 0)
		result = fail(e, EXIT_IO, "%s: cutting a torn line: %s", ev->name, strerror(errno));
	buffer_free(&text);
	return result;
}

static int cannot_write(const char *log, struct error *e)
{
	return fail(e, EXIT_IO, "%s: %s; choose another place for --log", log, strerror(errno));
}

/* 0: the file can be written, or made. */
static int check_place(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = !slash ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
	int result = access(path, F_OK) == 0 ? access(path, W_OK) : access(folder, W_OK | X_OK);

	free(folder);
	return result;
}

int events_check(const struct train_settings *s, struct error *e)
{
	struct buffer text = { 0 };
	struct stat st;
	size_t sound;
	int result;

	if (!s->log || (stat(s->log, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	if (check_place(s->log) < 0)
		return cannot_write(s->log, e);
	if (stat(s->log, &st) < 0)
		return 0;
	result = old_log_read(s->log, &text, &sound, e);
	buffer_free(&text);
	return result;
}

int events_open(struct events *ev, const struct train_settings *s, struct error *e)
{
	struct stat st;

	if (!s->dry_run && ((s->html && make_parents(s->html, e) < 0) || (s->log && make_parents(s->log, e) < 0)))
		return -1;
	if (s->html && !s->dry_run)
		ev->report = report_new();
	ev->fd = STDOUT_FILENO;
	ev->name = "standard output";
	if (!s->log || s->dry_run)
		return 0;
	ev->name = s->log;
	ev->fd = RETRY(open(s->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
	if (ev->fd < 0)
		return cannot_write(s->log, e);
	return fstat(ev->fd, &st) == 0 && S_ISREG(st.st_mode) ? go_on(ev, e) : 0;
}

int events_open_board(struct events *ev, const struct train_settings *s, long step, struct error *e)
{
	char *run, *folder;

	if (!s->logging_dir || s->dry_run || (s->log_with && !strcasecmp(s->log_with, "json")))
		return 0;
	run = xprintf("%s%s", s->log_prefix ? s->log_prefix : "", s->output_name);
	folder = path_join(s->logging_dir, run);
	ev->board = tensorboard_open(folder, step, e);
	free(run);
	free(folder);
	return ev->board ? 0 : -1;
}

/* ---- writing ---- */

struct json_out *events_begin(struct events *ev, const char *kind, long step)
{
	json_begin(&ev->line, NULL);
	json_text(&ev->line, "event", kind);
	json_int(&ev->line, "step", step);
	return &ev->line;
}

static void lose_board(struct events *ev, const struct error *why)
{
	struct error ignored;

	warning("%s; no more TensorBoard events are written, training goes on", why->text);
	ev->lost = *why;
	if (tensorboard_close(ev->board, &ignored) < 0)
		warning("%s", ignored.text);
	ev->board = NULL;
}

void events_scalar(struct events *ev, const char *tag, double value)
{
	if (ev->board)
		tensorboard_scalar(ev->board, tag, value);
}

void events_tell_scalars(struct events *ev, long step)
{
	struct error e;

	if (ev->board && tensorboard_event(ev->board, step, &e) < 0)
		lose_board(ev, &e);
}

static void tell_others(struct events *ev)
{
	struct error e;
	json_t *event = json_parse("event", ev->line.text.data, ev->line.text.len, &e);

	if (!event)
		die(EXIT_OTHER, "an event is no JSON: %s", e.text);
	if (ev->report)
		report_event(ev->report, event);
	if (ev->board && tell_board(ev->board, event, &e) < 0)
		lose_board(ev, &e);
	json_decref(event);
}

/* A reader of the metrics that goes away, or that takes nothing when the run must stop, costs a warning, not the run;
 * a full disk costs the exit code, but not the adapter. */
void events_tell(struct events *ev)
{
	struct error e;

	json_end(&ev->line);
	if (ev->board || ev->report)
		tell_others(ev);
	errno = 0;
	if (json_line_until(&ev->line, ev->fd, ev->give_up, &e) == 0)
		return;
	if (errno != EPIPE && errno != EBADF && errno != ECANCELED) {
		ev->lost = e;
		fail_at(&ev->lost, ev->name);
	}
	/* who takes nothing from the one may take nothing from the other */
	if (errno != ECANCELED || takes_now(STDERR_FILENO))
		warning("%s: %s; no more metrics are written, training goes on", ev->name, e.text);
	if (ev->fd > STDOUT_FILENO)
		close(ev->fd);
	ev->fd = -1;
}

/* ---- closing ---- */

int events_close(struct events *ev, const struct train_settings *s, struct error *e)
{
	struct tensorboard *board = ev->board;
	int result = 0;

	ev->board = NULL;
	if (tensorboard_close(board, e) < 0)
		return -1;
	if (ev->report && report_begun(ev->report))
		result = report_write(ev->report, s->html, s->output_name, e);
	if (!result && ev->lost.code) {
		*e = ev->lost;
		result = fail_at(e, "the adapter is saved, its metrics are not complete");
	}
	return result;
}

void events_free(struct events *ev)
{
	struct error ignored;

	if (tensorboard_close(ev->board, &ignored) < 0)
		warning("%s", ignored.text);
	report_free(ev->report);
	if (ev->fd > STDERR_FILENO)
		close(ev->fd);
	json_free(&ev->line);
}
