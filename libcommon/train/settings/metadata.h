/*
 * metadata.h - settings of the adapter's metadata: title, author and the like, a thumbnail, a comment, or none at all;
 * and the settings that are kohya's ss_* keys.
 */
#ifndef TRAIN_SETTINGS_METADATA_H
#define TRAIN_SETTINGS_METADATA_H

#include "../../config/options.h"
#include "../../adapter/metadata.h"

struct metadata_settings {
	struct model_notes notes;       /* notes.thumbnail: as given, a file or a data: URL */
	const char *comment;
	bool none;
	char *thumbnail;                /* notes.thumbnail as a data: URL, malloced; NULL: none */
};

#define METADATA_OPTION_ROWS(m) \
	{ "metadata-title", 0, OPTION_STRING, &(m)->notes.title, "TEXT", \
	  "title in the adapter's metadata; output-name", .advanced = true, .identity = IDENTITY_SHOWN }, \
	{ "metadata-author", 0, OPTION_STRING, &(m)->notes.author, "TEXT", "who made it", .advanced = true, \
	  .identity = IDENTITY_SHOWN }, \
	{ "metadata-description", 0, OPTION_STRING, &(m)->notes.description, "TEXT", "what it is", .advanced = true, \
	  .identity = IDENTITY_SHOWN }, \
	{ "metadata-license", 0, OPTION_STRING, &(m)->notes.license, "TEXT", "its license", .advanced = true, \
	  .identity = IDENTITY_SHOWN }, \
	{ "metadata-tags", 0, OPTION_STRING, &(m)->notes.tags, "TEXT,...", "tags", .advanced = true, \
	  .identity = IDENTITY_SHOWN }, \
	{ "metadata-trigger-phrase", 0, OPTION_STRING, &(m)->notes.trigger_phrase, "TEXT", "words that call for it", \
	  .advanced = true, .identity = IDENTITY_SHOWN }, \
	{ "metadata-usage-hint", 0, OPTION_STRING, &(m)->notes.usage_hint, "TEXT", "how to use it", .advanced = true, \
	  .identity = IDENTITY_SHOWN }, \
	{ "metadata-merged-from", 0, OPTION_STRING, &(m)->notes.merged_from, "TEXT", "what it was merged from", \
	  .advanced = true, .identity = IDENTITY_SHOWN }, \
	{ "metadata-preprocessor", 0, OPTION_STRING, &(m)->notes.preprocessor, "TEXT", \
	  "what its pictures went through", .advanced = true, .identity = IDENTITY_SHOWN }, \
	{ "metadata-is-negative-embedding", 0, OPTION_STRING, &(m)->notes.is_negative_embedding, "TEXT", \
	  "as sd-scripts has it", .advanced = true, .identity = IDENTITY_SHOWN }, \
	{ "metadata-thumbnail", 0, OPTION_STRING, &(m)->notes.thumbnail, "FILE", \
	  "a picture to show for it, or a data: URL", .advanced = true, \
	  .file = FILE_READ, .identity = IDENTITY_SHOWN }, \
	{ "training-comment", 0, OPTION_STRING, &(m)->comment, "TEXT", "a comment in the metadata", .advanced = true, \
	  .identity = IDENTITY_SHOWN, .ss_key = "ss_training_comment" }, \
	{ "no-metadata", 0, OPTION_FLAG, &(m)->none, NULL, "only what readers of the adapter need", .advanced = true, \
	  .identity = IDENTITY_SHOWN }

/* Sets the values of rows with an ss_* key in the list.  A setting that is off leaves the list's value as it is. */
void metadata_add_settings(const struct option *table, struct metadata_list *l);
/* Reads the thumbnail. */
int metadata_settings_finish(struct metadata_settings *m, struct error *e) MUST_CHECK;
void metadata_settings_free(struct metadata_settings *m);

#endif
