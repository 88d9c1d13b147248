/* Reading all samples of several latent tars: order by key, checks, the digest. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/hash.h"
#include "../io/claims.h"
#include "latents_internal.h"
#include "shard.h"

static int same_kind(const char *label, const struct latent_sample *first, const struct latent_sample *s,
		     struct error *e)
{
	if (!first->variants != !s->variants || !conditioning_alike(&first->text, &s->text) || first->c != s->c)
		return fail(e, EXIT_INPUT, "%s: sample %s was encoded by another model than the first; "
					   "encode all with one", label, s->key);
	return 0;
}

/* A sample whose payload was passed over: sizes follow from its bucket and from the first sample, which was read. */
static int skim_sample(const char *label, const struct tar_sample *tar, const struct latent_sample *first,
		       struct latent_sample *s, struct error *e)
{
	const int factor = first->bucket[0] > first->w ? first->bucket[0] / first->w : 1;

	*s = (struct latent_sample){ .c = first->c, .text = conditioning_shape(&first->text) };
	memcpy(s->key, tar->key, sizeof(s->key));
	if (latent_fields_read(label, tar->json, s, e) < 0) {
		latent_sample_free(s);
		return -1;
	}
	s->variants = tar_find(tar, TEXT_MEMBER) ? s->captions : 0;
	s->w = s->bucket[0] / factor;
	s->h = s->bucket[1] / factor;
	return 0;
}

struct read_file { dev_t device; ino_t inode; char *path; };

struct reading {
	struct latent_set *set;
	size_t capacity;
	bool skim;
	struct latent_texts texts;
	struct read_file *file;         /* plain files that were begun */
	size_t files, file_capacity;
};

/* A tar that is named twice, by itself or as a part of a list, would count its pictures twice. */
static int note_file(struct reading *r, const char *path, struct error *e)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	for (size_t i = 0; i < r->files; i++)
		if (r->file[i].device == st.st_dev && r->file[i].inode == st.st_ino)
			return fail(e, EXIT_USAGE, "%s: is named twice, as %s before; leave one out", path,
				    r->file[i].path);
	GROW(r->file, r->files, r->file_capacity);
	r->file[r->files++] = (struct read_file){ st.st_dev, st.st_ino, xstrdup(path) };
	return 0;
}

static void forget_files(struct reading *r)
{
	for (size_t i = 0; i < r->files; i++)
		free(r->file[i].path);
	free(r->file);
}

static int add_sample(struct reading *r, const char *path, const struct tar_sample *tar, bool passed, struct error *e)
{
	struct latent_set *set = r->set;
	struct latent_sample *s;

	GROW(set->sample, set->count, r->capacity);
	s = &set->sample[set->count];
	if ((passed ? skim_sample(path, tar, set->sample, s, e) : latent_sample_read(path, tar, s, e)) < 0)
		return -1;
	set->count++;
	set->masked |= s->masked;
	if (passed)
		latent_texts_skim(&r->texts, tar->part, s);
	else if (latent_texts_fill(&r->texts, path, tar->part, s, e) < 0)
		return -1;
	return same_kind(path, &set->sample[0], s, e);
}

/* part: what a list says of it; NULL: it is in none. */
static int read_stream(struct reading *r, const char *path, const struct shard_part *part, struct error *e)
{
	struct tar_sample tar = { 0 };
	struct tar_reader *t = NULL;
	int got = note_file(r, path, e);

	if (!got)
		t = (part ? tar_open_hashed : tar_open)(path, "latent", e);
	if (!t)
		return -1;
	for (;;) {
		const bool passed = r->skim && r->set->count;
		if (passed)
			tar_skim(t);
		if ((got = tar_next(t, &tar, e)) <= 0 || add_sample(r, path, &tar, passed, e) < 0)
			break;
	}
	if (!got && part)
		got = shard_part_check(part, t, r->skim, e);
	latent_texts_free(&r->texts);
	tar_sample_free(&tar);
	tar_close(t);
	return got ? -1 : 0;
}

static int read_parts(struct reading *r, const char *path, struct error *e)
{
	struct shard_list list;
	int status = shard_list_read(&list, path, e);

	for (size_t i = 0; !status && i < list.count; i++) {
		status = claim_input(list.part[i].path, e);
		if (!status)
			status = read_stream(r, list.part[i].path, &list.part[i], e);
	}
	shard_list_free(&list);
	return status;
}

/* ---- order ---- */

struct place { const struct latent_sample *sample; size_t at; };

static int by_key(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	const int order = strcmp(x->sample->key, y->sample->key);

	return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static void sort(struct latent_set *set)
{
	struct place *place = xcalloc(set->count, sizeof(*place));
	struct latent_sample *sorted = xmalloc(set->count * sizeof(*sorted));
	size_t i;

	for (i = 0; i < set->count; i++)
		place[i] = (struct place){ &set->sample[i], i };
	qsort(place, set->count, sizeof(*place), by_key);
	for (i = 0; i < set->count; i++)
		sorted[i] = set->sample[place[i].at];
	free(place);
	free(set->sample);
	set->sample = sorted;
}

/* ---- what the set is ---- */

static void digest_options(struct sha256 *h, const struct latent_sample *s)
{
	char *options = json_print(s->caption_options, JSON_COMPACT | JSON_SORT_KEYS);
	char *line = options || s->batch_size ? xprintf("%s %ld\n", options ? options : "", s->batch_size) : NULL;

	if (line)
		sha256_add(h, line, strlen(line));
	free(line);
	free(options);
}

static void digest(struct latent_set *set)
{
	struct sha256 h;
	size_t i;

	sha256_begin(&h);
	for (i = 0; i < set->count; i++) {
		const struct latent_sample *s = &set->sample[i];
		char *line = xprintf("%s %ld %.17g %d %d %d %d %d %d\n", s->id, s->repeats, s->weight, s->original[0],
				     s->original[1], s->crop[0], s->crop[1], s->bucket[0], s->bucket[1]);
		sha256_add(&h, line, strlen(line));
		free(line);
		digest_options(&h, s);
	}
	sha256_hex(&h, set->digest);
}

void latent_set_weigh(struct latent_set *set, double weight)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->sample[i].regularization)
			set->sample[i].weight = weight;
	digest(set);
}

static int read_set(const char *const *paths, size_t count, bool skim, struct latent_set *set, struct error *e)
{
	struct reading r = { .set = set, .skim = skim };
	int status = 0;

	*set = (struct latent_set){ 0 };
	for (size_t i = 0; i < count && !status; i++)
		status = shard_is_list(paths[i]) ? read_parts(&r, paths[i], e) : read_stream(&r, paths[i], NULL, e);
	forget_files(&r);
	if (status < 0) {
		latent_set_free(set);
		return -1;
	}
	if (!set->count)
		return fail(e, EXIT_INPUT, "%s: no samples in the stream; did lora-prep find any picture?",
			    count ? paths[0] : "-");
	sort(set);
	digest(set);
	return 0;
}

int latent_set_read(const char *const *paths, size_t count, struct latent_set *set, struct error *e)
{
	return read_set(paths, count, false, set, e);
}

int latent_set_skim(const char *const *paths, size_t count, struct latent_set *set, struct error *e)
{
	return read_set(paths, count, true, set, e);
}

void latent_set_free(struct latent_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		latent_sample_free(&set->sample[i]);
	free(set->sample);
	*set = (struct latent_set){ 0 };
}
