/* lora-prep --folder: prepared pictures as files with captions beside them. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../io/publish.h"
#include "prepare_folder.h"

struct folder_writer {
	char *path;
	struct map *taken;              /* stems that a picture of this run has */
	char **stem; size_t stems, capacity;
};

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
	w->taken = map_new(1024);
	return w;
}

void folder_close(struct folder_writer *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->stems; i++)
		free(w->stem[i]);
	free(w->stem);
	map_free(w->taken);
	free(w->path);
	free(w);
}

static bool take_stem(struct folder_writer *w, const char *name)
{
	char *stem = xstrdup(name);

	if (map_put(w->taken, stem, strlen(stem), 1) >= 0) {
		free(stem);
		return false;
	}
	GROW(w->stem, w->stems, w->capacity);
	w->stem[w->stems++] = stem;
	return true;
}

/* The name of the output: without extension, unless a sibling (x.jpg beside x.png) has that name already; with a number
 * where that is taken too, by a picture of another DIR. */
static char *name_of(struct folder_writer *w, const char *inside)
{
	const char *slash = strrchr(inside, '/'), *dot = strrchr(inside, '.');
	size_t length = dot && dot > (slash ? slash + 1 : inside) ? (size_t)(dot - inside) : strlen(inside);
	char *stem = xstrndup(inside, length), *path;

	for (int number = 1; !take_stem(w, stem); number++) {
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
	free(stem);
	free(path);
	free(text_path);
	free(text);
	return status;
}
