/* What an adapter made of others says of them. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "../adapter/adapter_scale.h"
#include "alpha_types.h"
#include "inputs.h"
#include "sources.h"

/* Not true of another file: of its tensors, of the run that saved it, or of its name. */
static const char *const own[] = { "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", "format",
				   "modelspec.merged_from", MERGED_KEY, RUN_KEY, SAVED_KEY, LORA_METADATA_KEY,
				   ALPHA_TYPES_KEY };
/* Said otherwise where there are several. */
static const char *const joined[] = { "ss_tag_frequency", "ss_output_name", "modelspec.title" };

static bool among(const char *const *list, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], key))
			return true;
	return false;
}
#define AMONG(list, key) among(list, sizeof(list) / sizeof(*(list)), key)

static bool all_say(const struct input *in, size_t n, const struct metadata *m)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = safetensors_metadata(in[i].file->file, m->key);

		if (!value || strcmp(value, m->value))
			return false;
	}
	return true;
}

static void tell_shared(const struct input *in, size_t n, struct metadata_list *list)
{
	const struct safetensors *first = in[0].file->file;

	for (size_t i = 0; i < first->metadata_count; i++) {
		const struct metadata *m = &first->metadata[i];

		if (AMONG(own, m->key) || (n > 1 && AMONG(joined, m->key)) || !all_say(in, n, m))
			continue;
		metadata_text(list, m->key, m->value);
		metadata_instead(list);
	}
}

/* ---- tags ---- */

/* to[key] += from[key], by tags.  What is no table of numbers is left out. */
static void join_folder(json_t *to, const json_t *from)
{
	const char *tag;
	json_t *count;

	json_object_foreach((json_t *)from, tag, count) {
		json_int_t sum;

		if (json_is_integer(count) &&
		    !__builtin_add_overflow(json_integer_value(json_object_get(to, tag)), json_integer_value(count),
					    &sum))
			json_object_set_new(to, tag, json_integer(sum));
	}
}

static void join_tags(json_t *to, const json_t *from)
{
	const char *folder;
	json_t *tags;

	json_object_foreach((json_t *)from, folder, tags) {
		if (!json_is_object(tags))
			continue;
		if (!json_object_get(to, folder))
			json_object_set_new(to, folder, json_object());
		join_folder(json_object_get(to, folder), tags);
	}
}

static void tell_tags(const struct input *in, size_t n, struct metadata_list *list)
{
	json_t *all = json_object();
	char *text;

	for (size_t i = 0; i < n; i++) {
		const char *said = safetensors_metadata(in[i].file->file, "ss_tag_frequency");
		struct error unsaid;
		json_t *tags = said ? json_parse(in[i].path, said, strlen(said), &unsaid) : NULL;

		if (json_is_object(tags))
			join_tags(all, tags);
		json_decref(tags);
	}
	if (json_object_size(all)) {
		text = json_print(all, JSON_COMPACT);
		metadata_text(list, "ss_tag_frequency", text);
		free(text);
	}
	json_decref(all);
}

/* ---- who they were ---- */

static void tell_sources(const struct input *in, size_t n, struct metadata_list *list)
{
	struct source *s = xcalloc(n, sizeof(*s));

	for (size_t i = 0; i < n; i++) {
		s[i] = (struct source){ in[i].path, "sha256", in[i].weight };
		payload_hash(in[i].file->file, s[i].hash);
	}
	sources_tell(s, n, list);
	free(s);
}

static void tell_all(const struct input *in, size_t n, struct metadata_list *list)
{
	tell_shared(in, n, list);
	if (n > 1)
		tell_tags(in, n, list);
	tell_sources(in, n, list);
}

/* One with the weight 0 has no part in it. */
void inputs_tell(const struct input *in, size_t n, struct metadata_list *list)
{
	struct input *with = xcalloc(n, sizeof(*with));
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (in[i].weight != 0)
			with[count++] = in[i];
	if (count)
		tell_all(with, count, list);
	free(with);
}
