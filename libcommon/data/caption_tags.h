/*
 * caption_tags.h - cuts a caption into tags, and joins them again.
 *
 * Separators, the part that is kept and wildcards say where a caption is cut, not a comma.  The one place for both:
 * training shuffles, --lint compares and ss_tag_frequency counts the same tags.  Must not know random draws.
 */
#ifndef DATA_CAPTION_TAGS_H
#define DATA_CAPTION_TAGS_H

#include "caption_variants.h"

struct tag_list { char **tag; size_t count, capacity; };        /* each malloced */
void tag_list_free(struct tag_list *t);

const char *caption_separator(const struct caption_options *o);

/* Cuts one line into the tags that keep their place at the front (part[0]), those that may move (1), and those that
 * keep their place at the end (2).  As in kohya's, empty tags survive only where there is no keep_tokens_separator. */
void tags_cut(const struct caption_options *o, const char *line, struct tag_list part[3]);
/* Joins them with the separator and a blank between; malloced.  kohya's joins with a comma, whatever it has cut at. */
char *tags_join(const struct caption_options *o, const struct tag_list part[3]);

/* Appends each tag, none empty, that training may read of the caption: of its first line, or with wildcards of every
 * line and choice.  Words joined by the secondary separator count as several tags.  A choice adds only tags that no
 * earlier choice has. */
void caption_tags(const struct caption_options *o, const char *caption, struct tag_list *out);

#endif
