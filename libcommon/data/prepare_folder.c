/* lora-prep --folder: prepared pictures as files with captions beside them. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/map.h"
#include "../base/retry.h"
#include "../io/publish.h"
#include "prepare_folder.h"

struct name_set { struct map *map; char **name; size_t count, capacity; };

struct folder_writer {
	char *path;
	struct name_set stems, pictures;   /* of this run, below path */
};

/* False: it is there already. */
static bool name_set_add(struct name_set *n, const char *text)
{
	char *name = xstrdup(text);

	if (map_put(n->map, name, strlen(name), 1) >= 0) {
		free(name);
		return false;
	}
	GROW(n->name, n->count, n->capacity);
	n->name[n->count++] = name;
	return true;
}

static void name_set_free(struct name_set *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
	map_free(n->map);
}

/* The folder that a file is in, malloced. */
static char *parent_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return xstrndup(file, slash == file ? 1 : (size_t)(slash - file));
}

struct folder_writer *folder_create(const char *path, struct error *e)
{
	struct folder_writer *w;

	if (make_folders(path, e) < 0)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->path = xstrdup(path);
	w->stems.map = map_new(1024);
	w->pictures.map = map_new(1024);
	return w;
}

void folder_close(struct folder_writer *w)
{
	if (!w)
		return;
	name_set_free(&w->stems);
	name_set_free(&w->pictures);
	free(w->path);
	free(w);
}

/* The name of the output: without extension, unless a sibling (x.jpg beside x.png) has that name already; with a number
 * where that is taken too, by a picture of another DIR. */
static char *name_of(struct folder_writer *w, const char *inside)
{
	const char *slash = strrchr(inside, '/'), *dot = strrchr(inside, '.');
	size_t length = dot && dot > (slash ? slash + 1 : inside) ? (size_t)(dot - inside) : strlen(inside);
	char *stem = xstrndup(inside, length), *path;

	for (int number = 1; !name_set_add(&w->stems, stem); number++) {
		free(stem);
		stem = number == 1 ? xstrdup(inside) : xprintf("%s.%d", inside, number);
	}
	path = xprintf("%s/%s", w->path, stem);
	free(stem);
	return path;
}

static int make_parent(const char *stem, struct error *e)
{
	char *parent = parent_of(stem);
	int status = make_folders(parent, e);

	free(parent);
	return status;
}

int folder_add(struct folder_writer *w, const struct picture *picture, const struct prepared *p, struct error *e)
{
	char *stem = name_of(w, picture->inside), *path = xprintf("%s.%s", stem, p->member[0].suffix);
	char *text_path = xprintf("%s.txt", stem), *text = xprintf("%s\n", p->caption.text);
	int status = make_parent(stem, e);

	if (status == 0)
		status = publish_bytes(path, p->member[0].bytes.data, p->member[0].bytes.len, e);
	if (status == 0)
		status = publish_bytes(text_path, text, strlen(text), e);
	name_set_add(&w->pictures, path + strlen(w->path) + 1);
	free(stem);
	free(path);
	free(text_path);
	free(text);
	return status;
}

/* ---- pictures of other runs ---- */

struct others { size_t count; char *first; };

/* In byte order, so that the first one is the same whatever the locale */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* inside: "10_robot/", or "" for the folder itself.  What cannot be listed is left to who trains with it. */
static void find_others(const struct folder_writer *w, const char *inside, struct others *o)
{
	char *dir = xprintf("%s/%s", w->path, inside);
	struct dirent **entry;
	const int n = RETRY(scandir(dir, &entry, NULL, by_bytes));

	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name;
		char *path = xprintf("%s/%s%s", w->path, inside, name), *below = xprintf("%s%s/", inside, name);

		if (is_folder(path) && !*inside && *name != '.') {
			find_others(w, below, o);
		} else if (!is_folder(path) && is_picture_name(name) &&
			   map_get(w->pictures.map, below, strlen(below) - 1) < 0) {
			o->first = o->count++ ? o->first : xstrdup(path);
		}
		free(path);
		free(below);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	free(dir);
}

void folder_tell_others(const struct folder_writer *w)
{
	struct others o = { 0 };

	find_others(w, "", &o);
	if (o.count)
		warning("%s: %zu pictures in it are not of this run, the first %s; "
			"remove them, or they are trained too", w->path, o.count, o.first);
	free(o.first);
}
