/* The table of the files that a run reads and writes, and the refusal where one is both. */
#include <dirent.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../base/retry.h"
#include "../base/text.h"
#include "claims.h"
#include "publish.h"

struct identity { dev_t device; ino_t inode; };

struct claimed { struct identity id; char *as, *path; };

struct list { struct claimed **item; size_t count, capacity; };

/* A run has one set of files, as it has one command line. */
static struct {
	struct list inputs, outputs;
	struct list new;                /* outputs that do not exist yet: their paths without links */
	struct map *by_id;              /* identity to inputs */
	struct folder { char *path; bool whole; } *folder;      /* that are read and were not yet looked into */
	size_t folders, capacity;
} claims;

static bool same(const struct identity *a, const struct identity *b)
{
	return a->device == b->device && a->inode == b->inode;
}

static struct identity identity_of(const struct stat *st)
{
	struct identity id;

	memset(&id, 0, sizeof(id));     /* it is a key, padding and all */
	id.device = st->st_dev;
	id.inode = st->st_ino;
	return id;
}

/* What can be written over: not a pipe or a terminal, which are read and written by one program with good reason. */
static bool can_be_lost(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) || S_ISDIR(st->st_mode);
}

static bool look_at(const char *path, int standard, struct stat *st)
{
	return (strcmp(path, "-") ? stat(path, st) : fstat(standard, st)) == 0 && can_be_lost(st);
}

static struct claimed *add(struct list *l, const struct stat *st, const char *as, const char *path)
{
	struct claimed *c = xcalloc(1, sizeof(*c));

	c->id = identity_of(st);
	c->as = as ? xstrdup(as) : NULL;
	c->path = xstrdup(path);
	GROW(l->item, l->count, l->capacity);
	l->item[l->count++] = c;
	return c;
}

/* ---- the refusal ---- */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int refuse(const struct claimed *out, const struct claimed *in, struct error *e)
{
	const bool standard = !strcmp(out->path, "-"), folder = is_folder(in->path);
	const char *input = strcmp(in->path, "-") ? in->path : "standard input";

	return fail(e, EXIT_USAGE, "%s%s%s would write over %s, which this run reads; name another %s",
		    standard ? "" : out->path, standard ? "" : ": ", standard ? "standard output" : out->as, input,
		    folder ? "folder" : "file");
}

static int check_input(const struct claimed *in, struct error *e)
{
	for (size_t i = 0; i < claims.outputs.count; i++)
		if (same(&claims.outputs.item[i]->id, &in->id))
			return refuse(claims.outputs.item[i], in, e);
	return 0;
}

/* ---- inputs ---- */

static int add_input(const struct stat *st, const char *path, struct error *e)
{
	const struct identity id = identity_of(st);
	struct claimed *in;

	if (!claims.by_id)
		claims.by_id = map_new(64);
	if (map_get(claims.by_id, (const char *)&id, sizeof(id)) >= 0)
		return 0;
	in = add(&claims.inputs, st, NULL, path);
	map_put(claims.by_id, (const char *)&in->id, sizeof(in->id), (long)claims.inputs.count - 1);
	return check_input(in, e);
}

/* ---- what is read of a folder ---- */

/* A folder is a model, a part of one, a tokenizer or an adapter of PEFT's, unless all of it is copied.  Pictures, lists
 * and adapters that lie in it too are no files of it: whoever works in a model's folder may write them there. */
enum holds { HOLDS_PART, HOLDS_SHARDS, HOLDS_MODEL, HOLDS_COPIED };

static bool begins(const char *name, const char *with) { return !strncmp(name, with, strlen(with)); }

static const struct { const char *start, *ending; } read_of_folders[] = {
	{ "", ".json" }, { "merges", ".txt" }, { "model", ".safetensors" },
	{ "diffusion_pytorch_model", ".safetensors" }, { "adapter_model", ".safetensors" },
	{ "pytorch_lora_weights", ".safetensors" },
};

/* An index gives its shards any names.  A model's parts are in folders of their own. */
static enum holds what_holds(const FTSENT *entry)
{
	enum holds what = HOLDS_PART;

	for (; entry; entry = entry->fts_link) {
		if (!strcmp(entry->fts_name, "model_index.json") || !strcmp(entry->fts_name, "unet"))
			return HOLDS_MODEL;
		if (strstr(entry->fts_name, ".index."))
			what = HOLDS_SHARDS;
	}
	return what;
}

static bool is_read_in(enum holds what, const char *name)
{
	if (what == HOLDS_MODEL)
		return !strcmp(name, "model_index.json");
	if (what == HOLDS_COPIED || (what == HOLDS_SHARDS && text_ends(name, ".safetensors")))
		return true;
	for (size_t i = 0; i < sizeof(read_of_folders) / sizeof(*read_of_folders); i++)
		if (begins(name, read_of_folders[i].start) && text_ends(name, read_of_folders[i].ending))
			return true;
	return false;
}

/* A folder is read where one of its files is; its entries come after it.  fts_number is the caller's own. */
static int look_at_folder(FTS *walk, FTSENT *folder, bool whole, struct error *e)
{
	const FTSENT *child = fts_children(walk, 0);

	folder->fts_number = whole ? HOLDS_COPIED : what_holds(child);
	while (child && !is_read_in(folder->fts_number, child->fts_name))
		child = child->fts_link;
	return child ? add_input(folder->fts_statp, folder->fts_path, e) : 0;
}

static int look_at_entry(FTS *walk, FTSENT *entry, bool whole, struct error *e)
{
	if (entry->fts_info == FTS_D)
		return look_at_folder(walk, entry, whole, e);
	if (entry->fts_info != FTS_F || !is_read_in(entry->fts_parent->fts_number, entry->fts_name))
		return 0;
	return add_input(entry->fts_statp, entry->fts_path, e);
}

static int look_into(const struct folder *folder, struct error *e)
{
	char *const roots[] = { folder->path, NULL };
	FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry;
	int status = 0;

	while (walk && !status && (entry = fts_read(walk)))
		status = look_at_entry(walk, entry, folder->whole, e);
	if (walk)
		fts_close(walk);
	return status;
}

/* A model may stand in a folder with a million other files.  They are examined only where the run overwrites a file. */
static int look_into_folders(struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < claims.folders; i++) {
		if (!status)
			status = look_into(&claims.folder[i], e);
		free(claims.folder[i].path);
	}
	claims.folders = 0;
	return status;
}

int claim_input_folder(const char *path, struct error *e)
{
	struct stat st;

	return look_at(path, STDIN_FILENO, &st) ? add_input(&st, path, e) : 0;
}

static int claim_files(const char *path, bool whole, struct error *e)
{
	struct stat st;

	if (!look_at(path, STDIN_FILENO, &st))
		return 0;
	if (add_input(&st, path, e) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return 0;
	GROW(claims.folder, claims.folders, claims.capacity);
	claims.folder[claims.folders++] = (struct folder){ xstrdup(path), whole };
	return claims.outputs.count ? look_into_folders(e) : 0;
}

int claim_input(const char *path, struct error *e)
{
	return claim_files(path, false, e);
}

int claim_input_whole(const char *path, struct error *e)
{
	return claim_files(path, true, e);
}

/* ---- outputs ---- */

static const struct claimed *input_that_is(const struct stat *st)
{
	const struct identity id = identity_of(st);
	const long i = claims.by_id ? map_get(claims.by_id, (const char *)&id, sizeof(id)) : -1;

	return i < 0 ? NULL : claims.inputs.item[i];
}

static int refuse_pair(const char *as, const struct claimed *other, const char *path, struct error *e)
{
	return fail(e, EXIT_USAGE, "%s: two outputs have this name, %s and %s; give them two", path, other->as, as);
}

/* Standard output is claimed without a name: where the caller leads it is nothing that an option says.  What one
 * option names twice is one output. */
static bool by_other_option(const struct claimed *other, const char *as)
{
	return *as && *other->as && strcmp(other->as, as);
}

/* A folder may take the files of several outputs. */
static int check_outputs(const char *as, const char *path, const struct stat *st, struct error *e)
{
	const struct identity id = identity_of(st);

	for (size_t i = 0; i < claims.outputs.count && !S_ISDIR(st->st_mode); i++)
		if (same(&claims.outputs.item[i]->id, &id) && by_other_option(claims.outputs.item[i], as))
			return refuse_pair(as, claims.outputs.item[i], path, e);
	return 0;
}

/* The folder of the first n bytes of a path, without links; malloced.  NULL: it is not there */
static char *real_folder(const char *path, size_t n)
{
	char *folder = n ? xstrndup(path, n) : xstrdup("."), *real = realpath(folder, NULL);

	free(folder);
	return real;
}

/* Without links in what is there of its folders: the run makes the others.  malloced; NULL: nothing is there */
static char *new_name(const char *path)
{
	size_t n = strlen(path);
	char *real = NULL, *name;

	while (n && !real) {
		while (n && path[n - 1] != '/')
			n--;
		real = real_folder(path, n);
		if (!real && n)
			n--;
	}
	name = real ? path_join(real, path + n) : NULL;
	free(real);
	return name;
}

static int claim_new(const char *as, const char *path, struct error *e)
{
	char *name = new_name(path);
	int status = 0;

	for (size_t i = 0; name && i < claims.new.count && !status; i++)
		if (!strcmp(claims.new.item[i]->path, name) && by_other_option(claims.new.item[i], as))
			status = refuse_pair(as, claims.new.item[i], path, e);
	if (name && !status)
		add(&claims.new, &(struct stat){ 0 }, as, name);
	free(name);
	return status;
}

int claim_output_file(const char *as, const char *path, struct error *e)
{
	struct stat st;
	const bool is = stat(path, &st) == 0;

	if (strcmp(path, "-") && (is ? can_be_lost(&st) && check_outputs(as, path, &st, e) : claim_new(as, path, e)))
		return -1;
	return claim_output(as, path, e);
}

int claim_output(const char *as, const char *path, struct error *e)
{
	const struct claimed *out, *in;
	struct stat st;

	if (!look_at(path, STDOUT_FILENO, &st))
		return 0;
	out = add(&claims.outputs, &st, as, path);
	if (look_into_folders(e) < 0)
		return -1;
	in = input_that_is(&st);
	return in ? refuse(out, in, e) : 0;
}

int claim_outputs_in(const char *as, const char *folder, bool (*ours)(const char *name, const void *arg),
		     const void *arg, struct error *e)
{
	DIR *d = open_folder(folder);
	struct dirent *entry;
	int status = 0;

	while (d && !status && (entry = readdir(d))) {
		char *path = path_join(folder, entry->d_name);

		if (!is_folder(path) && (!ours || ours(entry->d_name, arg)))
			status = claim_output(as, path, e);
		free(path);
	}
	if (d)
		closedir(d);
	return status;
}

bool claims_matter(void)
{
	return claims.outputs.count > 0;
}

int claim_check(const char *path, struct error *e)
{
	const struct claimed out = { .as = "this run", .path = (char *)path }, *in;
	struct stat st;

	if (!claims.inputs.count || !look_at(path, STDOUT_FILENO, &st))
		return 0;
	if (look_into_folders(e) < 0)
		return -1;
	in = input_that_is(&st);
	return in ? refuse(&out, in, e) : 0;
}

static void forget(struct list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->item[i]->as);
		free(l->item[i]->path);
		free(l->item[i]);
	}
	free(l->item);
	*l = (struct list){ 0 };
}

void claims_forget(void)
{
	forget(&claims.inputs);
	forget(&claims.outputs);
	forget(&claims.new);
	map_free(claims.by_id);
	claims.by_id = NULL;
	for (size_t i = 0; i < claims.folders; i++)
		free(claims.folder[i].path);
	free(claims.folder);
	claims.folder = NULL;
	claims.folders = claims.capacity = 0;
}
