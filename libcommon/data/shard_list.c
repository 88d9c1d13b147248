/* The list of the parts of a data set: written line by line as parts appear, read as one tar. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/retry.h"
#include "../io/publish.h"
#include "shard.h"

enum { LIST_CAP = 64 << 20 };           /* bytes: half a million parts */

bool shard_is_list(const char *path)
{
	const size_t n = strlen(path);

	return n > 5 && !strcmp(path + n - 5, ".list");
}

void shard_list_free(struct shard_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->part[i].path);
	free(l->part);
	*l = (struct shard_list){ 0 };
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? xprintf("%.*s", (int)(slash - path + 1), path) : xstrdup("");
}

/* ---- reading ---- */

/* A plain name beside the list: nothing leads out of its folder. */
static bool is_plain(const char *name)
{
	return *name && *name != '.' && strlen(name) < 256 && !strpbrk(name, "/\\ \r");
}

static bool is_hash(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static int read_line(struct shard_list *l, size_t *capacity, const char *list, const char *folder, char *line,
		     int number, struct error *e)
{
	char *name = strsep(&line, "\t"), *samples = strsep(&line, "\t"), *hash = strsep(&line, "\t");
	struct shard_part *p;

	if (!hash || line || !is_plain(name) || !*samples || strlen(samples) > 15 ||
	    strspn(samples, "0123456789") < strlen(samples) || !is_hash(hash))
		return fail(e, EXIT_INPUT, "%s:%d: is no line of a list of latent tars (name, samples, SHA-256); join "
					   "the parts' own lists: cat latents-*-of-*.list", list, number);
	GROW(l->part, l->count, *capacity);
	p = &l->part[l->count++];
	*p = (struct shard_part){ .path = xprintf("%s%s", folder, name), .samples = strtoull(samples, NULL, 10) };
	memcpy(p->sha256, hash, sizeof(p->sha256));
	return 0;
}

static int read_lines(struct shard_list *l, const char *path, char *text, struct error *e)
{
	char *folder = folder_of(path), *line;
	size_t capacity = 0;
	int number = 0, status = 0;

	while (!status && (line = strsep(&text, "\n")))
		if (number++, *line)
			status = read_line(l, &capacity, path, folder, line, number, e);
	free(folder);
	return status;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct shard_part *)a)->path, ((const struct shard_part *)b)->path);
}

/* A part's own list beside it is called as it is. */
static int refuse_line(const char *path, const struct shard_list *l, struct error *e)
{
	const size_t n = strlen(path) - strlen(".list");
	char *folder;

	if (l->count > 1 || strncmp(l->part[0].path, path, n) || strcmp(l->part[0].path + n, ".tar"))
		return 0;
	folder = folder_of(path);
	fail(e, EXIT_INPUT, "%s: is the line of one part; name the list of all, %s" SHARD_LIST, path, folder);
	free(folder);
	return -1;
}

/* Where names count parts, all of them are there, of one number. */
static int check_count(const char *path, const struct shard_list *l, struct error *e)
{
	struct shard s = { 0 };
	const char *first = strrchr(l->part[0].path, '/');

	if (sscanf(first ? first + 1 : l->part[0].path, "latents-%9u-of-%9u.tar", &s.index, &s.count) != 2)
		return 0;
	if (s.count > 1 && refuse_line(path, l, e) < 0)
		return -1;
	for (s.index = 0; s.index < s.count; s.index++) {
		char *name = shard_file(&s);
		const char *has = s.index < l->count ? l->part[s.index].path : "";
		const char *slash = strrchr(has, '/');
		const bool there = !strcmp(slash ? slash + 1 : has, name);

		if (!there)
			fail(e, EXIT_INPUT, "%s: part %s is missing; make it (lora-encode --shard %u/%u)", path, name,
			     s.index, s.count);
		free(name);
		if (!there)
			return -1;
	}
	if (l->count > s.count)
		return fail(e, EXIT_INPUT, "%s: %s is no part of %u; make the list of one set alone", path,
			    l->part[s.count].path, s.count);
	return 0;
}

static int check_parts(const char *path, const struct shard_list *l, struct error *e)
{
	if (!l->count)
		return fail(e, EXIT_INPUT, "%s: lists no latent tar; join the parts' own lists: "
					   "cat latents-*-of-*.list", path);
	for (size_t i = 1; i < l->count; i++)
		if (!strcmp(l->part[i - 1].path, l->part[i].path))
			return fail(e, EXIT_INPUT, "%s: lists %s twice; take one of the lines out", path,
				    l->part[i].path);
	if (check_count(path, l, e))
		return -1;
	for (size_t i = 0; i < l->count; i++) {
		const int there = path_is_there(l->part[i].path, e);

		if (there < 0)
			return -1;
		if (!there)
			return fail(e, EXIT_INPUT, "%s: part %s is missing; make it again, or copy it here", path,
				    l->part[i].path);
	}
	return 0;
}

int shard_list_read(struct shard_list *l, const char *path, struct error *e)
{
	struct buffer text = { 0 };
	int status = read_file(path, LIST_CAP, &text, e);

	*l = (struct shard_list){ 0 };
	if (!status && memchr(text.data, 0, text.len))
		status = fail(e, EXIT_INPUT, "%s: is no text; a list of latent tars has a line for each", path);
	buffer_add(&text, "", 1);
	if (!status)
		status = read_lines(l, path, (char *)text.data, e);
	if (!status && l->count)
		qsort(l->part, l->count, sizeof(*l->part), by_path);
	if (!status)
		status = check_parts(path, l, e);
	if (status)
		shard_list_free(l);
	buffer_free(&text);
	return status;
}

int shard_part_check(const struct shard_part *p, const struct tar_reader *r, bool skimmed, struct error *e)
{
	const char *const remedy = "it was made again since: join the parts' own lists again";
	char hex[65];

	if (tar_count(r) != p->samples)
		return fail(e, EXIT_INPUT, "%s: has %llu samples, and not the %llu of its list; %s", p->path,
			    (unsigned long long)tar_count(r), (unsigned long long)p->samples, remedy);
	if (skimmed)
		return 0;
	tar_hash(r, hex);
	if (strcmp(hex, p->sha256))
		return fail(e, EXIT_INPUT, "%s: its bytes are not those of its list (SHA-256); %s", p->path, remedy);
	return 0;
}

/* ---- writing ---- */

static int hash_file(const char *path, char hex[65], struct error *e)
{
	const int fd = open_input(path, e);
	struct sha256 hash;
	ssize_t got = 1;
	unsigned char *block;

	if (fd < 0)
		return -1;
	sha256_begin(&hash);
	block = xmalloc(1 << 18);
	while ((got = RETRY(read(fd, block, 1 << 18))) > 0)
		sha256_add(&hash, block, (size_t)got);
	if (got < 0)
		fail(e, exit_of_errno(errno), "%s: reading: %s; check the file or the disk", path, strerror(errno));
	free(block);
	close(fd);
	sha256_hex(&hash, hex);
	return got < 0 ? -1 : 0;
}

/* A part's own list is named as it is, with .list in place of .tar. */
static char *line_file(const char *folder, const struct shard *s)
{
	char *name = shard_file(s), *path = xprintf("%s/%.*s.list", folder, (int)strlen(name) - 4, name);

	free(name);
	return path;
}

static int write_line(const char *folder, const struct shard *s, uint64_t samples, struct error *e)
{
	char *name = shard_file(s), *tar = path_join(folder, name), *path = line_file(folder, s), hex[65];
	int status = hash_file(tar, hex, e);

	if (!status) {
		char *line = xprintf("%s\t%llu\t%s\n", name, (unsigned long long)samples, hex);

		status = publish_bytes(path, line, strlen(line), e);
		free(line);
	}
	free(name);
	free(tar);
	free(path);
	return status;
}

/* The lines of all parts that have one. */
static int gather(const char *folder, const struct shard *s, struct buffer *all, uint32_t *there, struct error *e)
{
	*there = 0;
	for (struct shard part = { 0, s->count }; part.index < s->count; part.index++) {
		char *path = line_file(folder, &part);
		struct buffer line = { 0 };
		const int is_there = path_is_there(path, e);
		const int status = is_there > 0 ? read_file(path, LIST_CAP, &line, e) : is_there;

		buffer_add(all, line.data, line.len);
		*there += is_there > 0;
		buffer_free(&line);
		free(path);
		if (status < 0)
			return -1;
	}
	return 0;
}

int shard_list_add(const char *folder, const struct shard *s, uint64_t samples, uint32_t *there, struct error *e)
{
	struct buffer all = { 0 };
	char *path = path_join(folder, SHARD_LIST);
	int status = write_line(folder, s, samples, e);

	if (!status)
		status = gather(folder, s, &all, there, e);
	if (!status && *there == s->count)
		status = publish_bytes(path, all.data, all.len, e);
	buffer_free(&all);
	free(path);
	return status;
}
