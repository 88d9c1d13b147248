/* What an adapter says of the files that it is made of. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "sources.h"

/* "/loras/robot.safetensors" -> "robot.safetensors", "models/base/" -> "base"; malloced */
static char *last_part(const char *path)
{
	size_t end = strlen(path), from;

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (from = end; from && path[from - 1] != '/';)
		from--;
	return xstrndup(path + from, end - from);
}

void sources_tell(const struct source *s, size_t n, struct metadata_list *list)
{
	struct buffer names = { 0 };
	struct json_out j = { 0 };

	json_begin_array(&j, NULL);
	for (size_t i = 0; i < n; i++) {
		char *file = last_part(s[i].path);

		json_begin(&j, NULL);
		json_text(&j, "file", file);
		json_number(&j, "weight", s[i].weight);
		json_text(&j, s[i].what, s[i].hash);
		json_end(&j);
		buffer_addf(&names, "%s%s", i ? ", " : "", file);
		free(file);
	}
	json_end_array(&j);
	metadata_text(list, MERGED_KEY, j.text.data);
	metadata_text(list, "modelspec.merged_from", names.data);
	json_free(&j);
	buffer_free(&names);
}

void name_tell(const char *path, struct metadata_list *list)
{
	char *name, *end;

	if (metadata_find(list, "ss_output_name"))
		return;
	name = last_part(path);
	end = strstr(name, ".safetensors");
	if (end && end > name)
		*end = '\0';
	if (*name)
		metadata_text(list, "ss_output_name", name);
	free(name);
}
