/*
 * encode_old.c - --reuse and --continue: an index of older streams, from content addresses to payloads.
 *
 * Payloads are read and checked only when they are wanted.  One that is damaged or incomplete counts as missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/retry.h"
#include "../io/claims.h"
#include "../io/publish.h"
#include "encode_internal.h"
#include "latents_internal.h"

struct old_member { uint64_t at; size_t bytes; uint32_t crc; };

struct old_file { int fd; char *path; };

struct old_sample {
	size_t file;
	struct old_member latent, text;
	int fresh;                      /* rows that its text payload must have */
	char latent_id[65];
};

struct old_text { size_t sample; int row; char id[65]; };       /* row: in that sample's payload */

struct old_stream {
	struct old_file *file; size_t files, file_capacity;
	struct leftovers *left;         /* temporaries of the output that killed writers left */
	struct old_sample **sample; size_t samples, sample_capacity;
	struct old_text **text; size_t texts, text_capacity;
	struct map *latents, *by_id;    /* addresses to samples, to texts */
	/* of the part that is being read: addresses of its texts; "": unknown */
	const char **row; size_t rows, row_capacity;
	int part;
	struct latent_sample last;      /* the text payload that was read last */
	size_t last_of;
	uint32_t damaged;
};

/* ---- the index ---- */

static struct old_member member_at(const struct tar_sample *in, const char *suffix)
{
	const json_t *payloads = json_object_get(in->json, "payloads");
	struct old_member m = { 0 };

	for (int i = 0; i < in->members; i++) {
		const json_t *p = json_array_get(payloads, i);
		const json_int_t bytes = json_integer_value(json_object_get(p, "bytes"));
		if (!strcmp(in->member[i].suffix, suffix) && bytes > 0 && bytes <= TAR_MEMBER_CAP)
			m = (struct old_member){ in->member[i].at, bytes,
						 json_integer_value(json_object_get(p, "crc32c")) };
	}
	return m;
}

static void add_row(struct old_stream *o, const char *id)
{
	GROW(o->row, o->rows, o->row_capacity);
	o->row[o->rows++] = id;
}

static void add_text(struct old_stream *o, size_t sample, int row, const char *id)
{
	struct old_text *t = xcalloc(1, sizeof(*t));

	t->sample = sample;
	t->row = row;
	memcpy(t->id, id, 65);
	GROW(o->text, o->texts, o->text_capacity);
	map_put(o->by_id, t->id, 64, o->texts);
	o->text[o->texts++] = t;
	add_row(o, t->id);
}

/* In a stream with damage a json may lie.  A row that was there before must be of the same address; new ones come one
 * after the other, and there are as many as the payload has: that is seen when it is read. */
static void index_texts(struct old_stream *o, const struct latent_sample *s, struct old_sample *to)
{
	const size_t known = o->rows;
	size_t first = known;

	for (int i = 0; s->text_id && i < s->captions; i++) {
		const size_t row = s->row ? (size_t)s->row[i] : known + i;
		if (!to->fresh && row >= known && row - known < 1u << 20)
			for (first = row; o->rows < first;)
				add_row(o, "");
		if (row < o->rows)
			continue;
		if (row != first + to->fresh)
			return;
		add_text(o, o->samples, to->fresh++, s->text_id[i]);
	}
}

static bool rows_agree(const struct old_stream *o, const struct latent_sample *s)
{
	for (int i = 0; s->text_id && s->row && i < s->captions; i++)
		if ((size_t)s->row[i] < o->rows && strcmp(o->row[s->row[i]], s->text_id[i]))
			return false;
	return true;
}

static int index_sample(struct old_stream *o, const char *path, const struct tar_sample *in, struct error *e)
{
	struct latent_sample s = { 0 };
	struct old_sample *to;

	memcpy(s.key, in->key, sizeof(s.key));
	if (latent_fields_read(path, in->json, &s, e) < 0) {
		latent_sample_free(&s);
		return -1;
	}
	if (in->part != o->part)
		o->rows = 0;
	o->part = in->part;
	to = xcalloc(1, sizeof(*to));
	to->file = o->files - 1;
	to->latent = member_at(in, LATENT_MEMBER);
	to->text = member_at(in, TEXT_MEMBER);
	memcpy(to->latent_id, s.latent_id, sizeof(to->latent_id));
	if (rows_agree(o, &s))
		index_texts(o, &s, to);
	GROW(o->sample, o->samples, o->sample_capacity);
	if (*to->latent_id)
		map_put(o->latents, to->latent_id, 64, o->samples);
	o->sample[o->samples++] = to;
	latent_sample_free(&s);
	return 0;
}

/* Indexes every intact sample of the last file; *first is the first damage.  -1: reading failed for another reason. */
static int index_file(struct old_stream *o, struct error *first, struct error *e)
{
	const char *path = o->file[o->files - 1].path;
	struct tar_reader *r = tar_open(path, "latent", e);
	struct tar_sample in = { 0 };
	int got = r ? 1 : -1;

	o->rows = 0;
	o->part = 0;
	*first = (struct error){ 0 };
	while (r && got && !(got < 0 && !tar_goes_on(r))) {
		tar_skim(r);
		got = tar_next(r, &in, e);
		if (got > 0)
			got = index_sample(o, path, &in, e) < 0 ? -1 : 1;
		if (got < 0 && !first->code)
			*first = *e;
	}
	tar_sample_free(&in);
	tar_close(r);
	if (got < 0 && !first->code)
		*first = *e;
	if (first->code && first->code != EXIT_INPUT) {
		*e = *first;
		return -1;
	}
	return 0;
}

/* fd is taken over. */
static void add_file(struct old_stream *o, int fd, const char *path)
{
	GROW(o->file, o->files, o->file_capacity);
	o->file[o->files++] = (struct old_file){ fd, xstrdup(path) };
}

static int open_reused(struct old_stream *o, const char *path, struct error *e)
{
	const int fd = open_input(path, e);
	struct error first;
	struct stat st;

	if (fd < 0)
		return fail_at(e, "--reuse");
	add_file(o, fd, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return fail(e, EXIT_USAGE, "--reuse %s: is no file that can be read at any place; "
					   "write the stream into one first", path);
	if (index_file(o, &first, e) < 0)
		return -1;
	if (first.code && o->samples)
		warning("%s; what is damaged is encoded again", first.text);
	*e = first;
	return first.code && !o->samples ? -1 : 0;
}

static int open_reuse(struct old_stream *o, const char *path, struct error *e)
{
	struct shard_list list;
	int status;

	if (!shard_is_list(path))
		return open_reused(o, path, e);
	status = shard_list_read(&list, path, e);
	for (size_t i = 0; !status && i < list.count; i++) {
		status = claim_input(list.part[i].path, e);
		if (!status)
			status = open_reused(o, list.part[i].path, e);
	}
	shard_list_free(&list);
	return status;
}

/* Indexes the output, if it exists; that nothing in it is intact is no failure. */
static int open_output(struct old_stream *o, const char *path, struct error *e)
{
	const size_t before = o->samples;
	struct error first;
	struct stat st;
	int fd;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	fd = open_input(path, e);
	if (fd < 0)
		return -1;
	add_file(o, fd, path);
	if (index_file(o, &first, e) < 0)
		return -1;
	if (first.code)
		warning("%s; %s is encoded again", first.text,
			o->samples > before ? "what is damaged" : "every picture");
	return 0;
}

/* Indexes what interrupted runs left, each up to where the run ended. */
static int open_left(struct old_stream *o, const char *output, struct error *e)
{
	const size_t before = o->samples;
	struct error first;
	const char *path;
	int fd;

	o->left = publish_leftovers(output);
	for (size_t i = 0; (fd = leftover_at(o->left, i, &path)) >= 0; i++) {
		add_file(o, fd, path);
		if (index_file(o, &first, e) < 0)
			return -1;
	}
	if (o->samples > before)
		note("going on from an interrupted run, which had encoded %zu pictures", o->samples - before);
	return 0;
}

int encode_open_old(struct encoder *n, struct error *e)
{
	struct old_stream *o;

	if (!n->s->reuse && !n->s->goes_on)
		return 0;
	o = n->old = xcalloc(1, sizeof(*o));
	o->latents = map_new(64);
	o->by_id = map_new(64);
	o->last_of = SIZE_MAX;
	if (n->s->reuse && open_reuse(o, n->s->reuse, e) < 0)
		return -1;
	if (n->s->goes_on && (open_output(o, n->s->output, e) < 0 || open_left(o, n->s->output, e) < 0))
		return -1;
	return 0;
}

void encode_drop_left(struct encoder *n)
{
	if (n->old)
		leftovers_remove(n->old->left);
}

/* ---- reuse ---- */

/* 1: sound; 0: damaged, or cut off; -1: *e. */
static int read_member(const struct old_file *f, const struct old_member *m, struct buffer *to, struct error *e)
{
	char part[8192];
	ssize_t got = 1;

	while (to->len < m->bytes && got > 0) {
		const size_t want = m->bytes - to->len < sizeof(part) ? m->bytes - to->len : sizeof(part);
		got = RETRY(pread(f->fd, part, want, m->at + to->len));
		if (got < 0)
			return fail(e, exit_of_errno(errno), "%s: reading: %s; check the file or the disk", f->path,
				    strerror(errno));
		buffer_add(to, part, got);
	}
	return got > 0 && m->bytes && crc32c(0, to->data, to->len) == m->crc;
}

/* As read_member(). */
static int read_payload(struct old_stream *o, const struct old_sample *from, const struct old_member *m,
			const char *suffix, struct latent_sample *s, struct error *e)
{
	const struct old_file *f = &o->file[from->file];
	struct tar_member payload = { 0 };
	struct error damage;
	int sound;

	strcpy(payload.suffix, suffix);
	sound = read_member(f, m, &payload.bytes, e);
	if (sound > 0)
		sound = latent_payload_read(f->path, &payload, s, &damage) == 0;
	o->damaged += sound == 0;
	buffer_free(&payload.bytes);
	return sound;
}

static void move_latent(struct latent_sample *from, struct latent_sample *to)
{
	to->c = from->c;
	to->h = from->h;
	to->w = from->w;
	to->mean = from->mean;
	to->std = from->std;
	to->flip_mean = from->flip_mean;
	to->flip_std = from->flip_std;
	from->mean = from->std = from->flip_mean = from->flip_std = NULL;
	to->holes = from->holes;
	to->hole = from->hole;
	to->hole_mean = from->hole_mean;
	to->hole_std = from->hole_std;
	to->flip_hole_mean = from->flip_hole_mean;
	to->flip_hole_std = from->flip_hole_std;
	from->hole = from->hole_mean = from->hole_std = from->flip_hole_mean = from->flip_hole_std = NULL;
}

int encode_take_latent(struct encoder *n, struct waiting *w, struct error *e)
{
	const long at = n->old ? map_get(n->old->latents, w->s.latent_id, 64) : -1;
	const struct old_sample *from = at < 0 ? NULL : n->old->sample[at];
	struct latent_sample s = { 0 };
	const int sound = from ? read_payload(n->old, from, &from->latent, LATENT_MEMBER, &s, e) : 0;

	if (sound > 0)
		move_latent(&s, &w->s);
	n->pictures_taken += sound > 0;
	latent_sample_free(&s);
	return sound;
}

/* Reads the text payload of a sample, and keeps it: its texts are mostly wanted one after the other. */
static int open_texts(struct encoder *n, const struct old_text *t, struct error *e)
{
	struct old_stream *o = n->old;
	int sound = 1;

	if (o->last_of != t->sample) {
		latent_sample_free(&o->last);
		o->last_of = t->sample;
		o->last.family = n->config->family;
		sound = read_payload(o, o->sample[t->sample], &o->sample[t->sample]->text, TEXT_MEMBER, &o->last, e);
		if (sound <= 0)
			o->last.text.rows = 0;
	}
	return sound < 0 ? -1 : o->last.text.rows == o->sample[t->sample]->fresh;
}

int encode_take_text(struct encoder *n, const char *text_id, struct conditioning *to, int row, struct error *e)
{
	const long at = n->old ? map_get(n->old->by_id, text_id, 64) : -1;
	const struct old_text *t = at < 0 ? NULL : n->old->text[at];
	const int opened = t ? open_texts(n, t, e) : 0;

	if (opened <= 0)
		return opened;
	if (!conditioning_alike(&n->old->last.text, to))
		return 0;
	conditioning_copy(to, row, &n->old->last.text, t->row);
	n->captions_taken++;
	return 1;
}

void encode_close_old(struct encoder *n)
{
	struct old_stream *o = n->old;

	if (!o)
		return;
	if (o->damaged)
		warning("%s: %u payloads are damaged; they were encoded again",
			n->s->reuse ? n->s->reuse : n->s->output, o->damaged);
	for (size_t i = 0; i < o->samples; i++)
		free(o->sample[i]);
	for (size_t i = 0; i < o->texts; i++)
		free(o->text[i]);
	free(o->sample);
	free(o->text);
	free(o->row);
	map_free(o->latents);
	map_free(o->by_id);
	latent_sample_free(&o->last);
	for (size_t i = 0; i < o->files; i++) {
		close(o->file[i].fd);
		free(o->file[i].path);
	}
	free(o->file);
	leftovers_free(o->left);
	free(o);
}
