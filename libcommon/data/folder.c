/* Scanning folders for pictures; kohya's N_name folders; repeats of regularisation pictures. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "../base/retry.h"
#include "../io/image.h"
#include "../io/publish.h"
#include "folder.h"
#include "folder_traps.h"

#define REPEATS_MAX 1000000

enum file_kind { FILE_PICTURE, FILE_JUNK, FILE_COMPANION, FILE_UNKNOWN };

/* Kinds of files by extension.  What a picture really is, its content tells later. */
static const struct { const char *extension; enum file_kind kind; } kinds[] = {
	{ "jpg", FILE_PICTURE },           { "jpeg", FILE_PICTURE },   { "jpe", FILE_PICTURE },
	{ "jfif", FILE_PICTURE },          { "png", FILE_PICTURE },    { "webp", FILE_PICTURE },
	{ "bmp", FILE_PICTURE },           { "gif", FILE_PICTURE },    { "tif", FILE_PICTURE },
	{ "tiff", FILE_PICTURE },          { "heic", FILE_PICTURE },   { "heif", FILE_PICTURE },
	{ "avif", FILE_PICTURE },          { "jxl", FILE_PICTURE },    { "txt", FILE_COMPANION },
	{ "caption", FILE_COMPANION },     { "npz", FILE_COMPANION },  { "json", FILE_COMPANION },
	{ "safetensors", FILE_COMPANION }, { "toml", FILE_COMPANION }, { "tar", FILE_COMPANION },
	{ "md", FILE_COMPANION },
};

static const char *const junk[] = { "__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir" };

static enum file_kind kind_of_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (*name == '.')
		return FILE_JUNK;
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
		if (!strcasecmp(name, junk[i]))
			return FILE_JUNK;
	for (size_t i = 0; dot && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcasecmp(dot + 1, kinds[i].extension))
			return kinds[i].kind;
	return FILE_UNKNOWN;
}

bool is_picture_name(const char *name)
{
	return kind_of_name(name) == FILE_PICTURE;
}

/* A file of no known extension counts when it begins like a picture of any kind.  1, 0, -1. */
static int begins_like_picture(const char *path, struct error *e)
{
	struct buffer head = { 0 };
	const char *kind = NULL, *other = NULL;
	int status = read_head(path, 32, &head, e);

	if (status == 0)
		kind = image_type(head.data, head.len, &other);
	buffer_free(&head);
	return status < 0 ? -1 : kind || (other && strcmp(other, "HTML") && strcmp(other, "PDF"));
}

bool repeats_of_name(const char *name, long *repeats, const char **tokens)
{
	char *end;

	if (!isdigit((unsigned char)*name))
		return false;
	*repeats = strtol(name, &end, 10);
	*tokens = end + 1;
	return *end == '_';
}

/* The names in a folder in byte order; "." and ".." left out. */
static int names_in(const char *dir, char ***names, size_t *count, struct error *e)
{
	struct dirent **entry;
	int n = RETRY(scandir(dir, &entry, NULL, NULL));
	size_t capacity = 0;

	*names = NULL;
	*count = 0;
	if (n < 0)
		return fail(e, exit_of_errno(errno), "%s: %s; name a folder with pictures", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (strcmp(entry[i]->d_name, ".") && strcmp(entry[i]->d_name, "..")) {
			GROW(*names, *count, capacity);
			(*names)[(*count)++] = xstrdup(entry[i]->d_name);
		}
		free(entry[i]);
	}
	free(entry);
	return 0;
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* 0: the link dangles or is circular. */
static int mode_of(const char *path, mode_t *mode, struct error *e)
{
	struct stat st;
	int there = path_stat(path, &st, e);

	*mode = there > 0 ? st.st_mode : 0;
	return there < 0 && e->code != EXIT_INPUT ? -1 : 0;
}

/* The offset of the path behind DIR.  Below a parent folder, that part begins with the picture's own folder. */
static size_t inside_of(const char *path, const struct picture *like)
{
	const char *start = strrchr(path, '/');

	if (!like->class_tokens)
		return (size_t)(start + 1 - path);
	while (start > path && start[-1] != '/')
		start--;
	return (size_t)(start - path);
}

static void add(struct pictures *list, char *path, const struct picture *like)
{
	GROW(list->picture, list->count, list->capacity);
	list->picture[list->count++] =
		(struct picture){ path, path + inside_of(path, like), xstrdup(like->class_tokens), like->repeats,
				  like->regularization, like->rules };
}

/* Other files of a folder, besides pictures and their companions, for one note. */
struct leftovers {
	size_t junk, folders, other;
	const char *first;
};

static void tell(const char *dir, const struct leftovers *l)
{
	if (l->junk || l->folders || l->other)
		note("%s: ignored %zu hidden or system files, %zu folders, %zu other files (the first: %s)", dir,
		     l->junk, l->folders, l->other, l->first);
}

static void leave(struct leftovers *l, size_t *which, const char *name)
{
	if (!l->first)
		l->first = name;
	++*which;
}

/* A dangling link with a picture's name counts: it is reported when it cannot be read.  1, 0, -1. */
static int is_picture(const char *path, enum file_kind kind, mode_t mode, struct error *e)
{
	if (kind == FILE_PICTURE)
		return S_ISREG(mode) || !mode;
	return kind == FILE_UNKNOWN && S_ISREG(mode) ? begins_like_picture(path, e) : 0;
}

static int sort_out(const char *dir, const char *name, const struct picture *like, struct pictures *list,
		    struct leftovers *l, struct error *e)
{
	enum file_kind kind = kind_of_name(name);
	char *path = path_join(dir, name);
	mode_t mode;
	int taken = mode_of(path, &mode, e);

	if (taken == 0)
		taken = is_picture(path, kind, mode, e);
	if (taken > 0) {
		add(list, path, like);
		return 0;
	}
	free(path);
	if (taken == 0 && kind == FILE_JUNK)
		leave(l, &l->junk, name);
	else if (taken == 0 && S_ISDIR(mode))
		leave(l, &l->folders, name);
	else if (taken == 0 && kind != FILE_COMPANION)
		leave(l, &l->other, name);
	return taken;
}

static int scan_plain(const char *dir, const struct picture *like, struct pictures *list, struct error *e)
{
	struct leftovers l = { 0 };
	size_t count, before = list->count;
	char **names;
	int status = names_in(dir, &names, &count, e);

	for (size_t i = 0; status == 0 && i < count; i++)
		status = sort_out(dir, names[i], like, list, &l, e);
	if (status == 0)
		tell(dir, &l);
	if (status == 0 && list->count == before)
		warning("%s: no pictures in it; PNG, JPEG, WebP and BMP files are looked for", dir);
	free_names(names, count);
	return status;
}

static int scan_child(const char *dir, const char *name, bool regularization, struct pictures *list, struct error *e)
{
	struct picture like = { .regularization = regularization };
	const char *tokens = name;
	char *path;
	int status;

	if (repeats_of_name(name, &like.repeats, &tokens) && (like.repeats < 1 || like.repeats > REPEATS_MAX)) {
		note("%s: ignored %s; its pictures would count %ld times", dir, name, like.repeats);
		return 0;
	}
	path = path_join(dir, name);
	like.class_tokens = xstrdup(tokens);
	status = scan_plain(path, &like, list, e);
	free(like.class_tokens);
	free(path);
	return status;
}

/* 1, 0, -1 */
static int is_folder(const char *dir, const char *name, struct error *e)
{
	char *path = path_join(dir, name);
	mode_t mode;
	int status = mode_of(path, &mode, e);

	free(path);
	return status < 0 ? -1 : S_ISDIR(mode);
}

/* 1, 0, -1 */
static int is_kohya_parent(const char *dir, char **names, size_t count, struct error *e)
{
	const char *tokens;
	long repeats;
	int is = 0;

	for (size_t i = 0; i < count && is == 0; i++)
		if (repeats_of_name(names[i], &repeats, &tokens))
			is = is_folder(dir, names[i], e);
	return is;
}

static int scan_parent(const char *dir, char **names, size_t count, bool regularization, struct pictures *list,
		       struct error *e)
{
	struct leftovers l = { 0 };
	const char *tokens;
	long repeats;

	for (size_t i = 0; i < count; i++) {
		int folder = is_folder(dir, names[i], e);
		if (folder < 0)
			return -1;
		if (kind_of_name(names[i]) == FILE_JUNK)
			leave(&l, &l.junk, names[i]);
		else if (folder && !repeats_of_name(names[i], &repeats, &tokens))
			leave(&l, &l.folders, names[i]);
		else if (folder && scan_child(dir, names[i], regularization, list, e) < 0)
			return -1;
		else if (!folder && kind_of_name(names[i]) == FILE_PICTURE)
			leave(&l, &l.other, names[i]);
	}
	tell(dir, &l);
	return 0;
}

/* Warns of a kohya folder N_name that is named itself instead of its parent: N would be ignored without a word. */
static void warn_of_child(const char *dir)
{
	const char *slash = strrchr(dir, '/'), *tokens;
	long repeats;

	if (repeats_of_name(slash ? slash + 1 : dir, &repeats, &tokens))
		warning("%s: its pictures count once; name the folder above it to have them repeated %ld times", dir,
			repeats);
}

static char *without_slashes(const char *dir)
{
	size_t length = strlen(dir);

	while (length > 1 && dir[length - 1] == '/')
		length--;
	return xstrndup(dir, length);
}

int pictures_scan_folder(const char *dir, const struct picture *like, struct pictures *list, struct error *e)
{
	char *clean = without_slashes(dir);
	int status = scan_plain(clean, like, list, e);

	free(clean);
	return status;
}

int pictures_scan(const char *dir, bool regularization, struct pictures *list, struct error *e)
{
	const struct picture plain = { .repeats = 1, .regularization = regularization };
	char *clean = without_slashes(dir), **names;
	size_t count;
	int status, parent;

	status = names_in(clean, &names, &count, e);
	parent = status == 0 ? is_kohya_parent(clean, names, count, e) : status;
	if (parent > 0)
		status = scan_parent(clean, names, count, regularization, list, e);
	else if (parent == 0) {
		warn_of_child(clean);
		status = scan_plain(clean, &plain, list, e);
	} else
		status = -1;
	free_names(names, count);
	free(clean);
	return status;
}

static int by_path(const void *a, const void *b)
{
	const struct picture *x = a, *y = b;
	int order = x->regularization != y->regularization ? x->regularization - y->regularization :
		strcmp(x->path, y->path);

	return order ? order : (x->rules > y->rules) - (x->rules < y->rules);
}

void pictures_sort(struct pictures *list)
{
	if (list->count)
		qsort(list->picture, list->count, sizeof(*list->picture), by_path);
}

static void drop_from(struct pictures *list, size_t keep)
{
	for (size_t i = keep; i < list->count; i++) {
		free(list->picture[i].path);
		free(list->picture[i].class_tokens);
	}
	if (keep < list->count)
		list->count = keep;
}

void pictures_free(struct pictures *list)
{
	drop_from(list, 0);
	free(list->picture);
	*list = (struct pictures){ 0 };
}

static bool same_folder(const struct picture *x, const struct picture *y)
{
	const size_t n = (size_t)(strrchr(x->path, '/') - x->path), m = (size_t)(strrchr(y->path, '/') - y->path);

	return n == m && !memcmp(x->path, y->path, n) && x->rules == y->rules;
}

/* Stores each folder's repeats and number of pictures, before some pictures are repeated and others dropped. */
static void note_folders(struct pictures *list, size_t first)
{
	for (size_t i = first, end; i < list->count; i = end) {
		for (end = i + 1; end < list->count && same_folder(&list->picture[i], &list->picture[end]); end++)
			;
		for (size_t k = i; k < end; k++) {
			list->picture[k].of_folder[0] = list->picture[k].repeats;
			list->picture[k].of_folder[1] = (long)(end - i);
		}
	}
}

static void tell_left_out(const struct pictures *list, size_t first, size_t used, long long wanted)
{
	const size_t all = list->count;
	char *name = regularization_folder_name(list, first, wanted);

	if (name)
		warning("%zu of %zu regularisation pictures are left out: there are only %lld training samples, "
			"and each of them counts %ld times; with the folder's name %s all are used", all - used,
			all - first, wanted, list->picture[first].repeats, name);
	else
		note("%zu of %zu regularisation pictures are left out: there are only %lld training samples",
		     all - used, all - first, wanted);
	free(name);
}

void pictures_match_regularization(struct pictures *list)
{
	long long wanted = 0, have = 0;
	size_t first = 0, used, all = list->count;

	while (first < all && !list->picture[first].regularization)
		wanted += list->picture[first++].repeats;
	for (used = first; used < all && have < wanted; used++)
		have += list->picture[used].repeats;
	if (first == all)
		return;
	note_folders(list, first);
	if (used < all)
		tell_left_out(list, first, used, wanted);
	drop_from(list, used);
	if (have < wanted)
		note("regularisation pictures count %lld times in turn, as often as the training samples "
		     "(%lld by their folders)",
		     wanted, have);
	for (size_t i = first; have < wanted; i = i + 1 < used ? i + 1 : first, have++)
		list->picture[i].repeats++;
}
