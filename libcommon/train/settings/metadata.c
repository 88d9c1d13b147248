/* Settings of the adapter's metadata: the thumbnail, and settings that are ss_* keys. */
#include <stdlib.h>
#include <string.h>
#include "../../base/base64.h"
#include "../../io/image.h"
#include "../../io/publish.h"
#include "metadata.h"

#define THUMBNAIL_CAP (4 << 20)         /* bytes; every reader of the file's header reads it */

static const char *mime_type(const struct buffer *file)
{
	static const char *const types[][2] = { { "JPEG", "image/jpeg" }, { "PNG", "image/png" },
						{ "WebP", "image/webp" } };
	const char *type = image_type(file->data, file->len, NULL);

	for (size_t i = 0; type && i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(types[i][0], type))
			return types[i][1];
	return NULL;
}

static int read_thumbnail(const char *path, char **url, struct error *e)
{
	struct buffer file = { 0 }, text = { 0 };
	const char *type;
	int result = 0;

	if (read_file(path, THUMBNAIL_CAP, &file, e) < 0)
		return -1;
	type = mime_type(&file);
	if (type) {
		buffer_addf(&text, "data:%s;base64,", type);
		buffer_add_base64(&text, file.data, file.len);
		*url = buffer_steal(&text);
	} else {
		result = fail(e, EXIT_INPUT, "%s: not a PNG, JPEG or WebP; name a picture in metadata_thumbnail", path);
	}
	buffer_free(&file);
	return result;
}

int metadata_settings_finish(struct metadata_settings *m, struct error *e)
{
	const char *thumbnail = m->notes.thumbnail;

	if (!thumbnail)
		return 0;
	if (strncmp(thumbnail, "data:", 5))
		return read_thumbnail(thumbnail, &m->thumbnail, e);
	m->thumbnail = xstrdup(thumbnail);
	return 0;
}

void metadata_settings_free(struct metadata_settings *m)
{
	free(m->thumbnail);
	m->thumbnail = NULL;
}

static void add_value(const struct option *o, struct metadata_list *l)
{
	switch (o->kind) {
	case OPTION_FLAG:
	case OPTION_SWITCH:
		metadata_bool(l, o->ss_key, true);
		break;
	case OPTION_INT:
		metadata_int(l, o->ss_key, *(long *)o->value);
		break;
	case OPTION_NUMBER:
		metadata_float(l, o->ss_key, *(double *)o->value);
		break;
	default:
		metadata_text(l, o->ss_key, *(const char **)o->value);
	}
	metadata_instead(l);
}

void metadata_add_settings(const struct option *table, struct metadata_list *l)
{
	for (const struct option *o = table; o->name || o->help; o++)
		if (o->ss_key && !option_is_off(o))
			add_value(o, l);
}
