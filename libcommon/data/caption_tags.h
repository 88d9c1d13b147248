/*
 * caption_tags.h - where a caption is cut into tags, and how they are joined again.
 *
 * The one place for both: what training shuffles, what --lint compares and what ss_tag_frequency counts are the same tags.  Must not
 * know draws.
 */
#ifndef DATA_CAPTION_TAGS_H
#define DATA_CAPTION_TAGS_H

#include "caption_variants.h"

struct tag_list { char **tag; size_t count, capacity; };        /* each malloced */
void tag_list_free(struct tag_list *t);

const char *caption_separator(const struct caption_options *o);

/* What stays in front, what moves, what stays behind, of one line.  Empty tags survive only where no separator of kept tags is: as in
 * kohya's. */
void tags_cut(const struct caption_options *o, const char *line, struct tag_list part[3]);
/* With the separator and a blank between, malloced.  kohya's joins with a comma whatever it has cut at. */
char *tags_join(const struct caption_options *o, const struct tag_list part[3]);

/* Appends each tag that training may read of the caption, none empty: of its first line, or with wildcards of every line and choice.
 * What the secondary separator keeps together is several tags.  A choice adds only tags that the choices before it do not have. */
void caption_tags(const struct caption_options *o, const char *caption, struct tag_list *out);

#endif
