/*
 * caption.h - captions: the text that belongs to a picture.
 *
 * Owns where a caption is looked for, and how a file of any editor becomes one clean line of UTF-8.  Must not know
 * tokens, shuffling or dropout, which belong to training.
 */
#ifndef DATA_CAPTION_H
#define DATA_CAPTION_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

#define CAPTION_CAP ((size_t)64 << 10)

struct caption_rules {
	/* NULL: .txt, then .caption; the dot may be missing.  A face NAME_1_2_3_4 may use the caption of NAME. */
	const char *extension;
	const char *prefix, *suffix;    /* joined with a space; NULL: none */
	const char *class_tokens;       /* the caption where there is no file; NULL: those of the folder's name */
	bool all_lines;                 /* every line that is not empty, for training to draw from; else the first */
};

enum caption_source { CAPTION_FILE, CAPTION_CLASS, CAPTION_NONE };

struct caption {
	char *text;                     /* malloced, never NULL after success */
	enum caption_source source;
	bool more_lines;                /* the file has further lines, which are not used */
	bool empty_file;                /* the file exists and holds no words */
};

/* folder_tokens may be NULL.  EXIT_INPUT names the caption file and, for bad UTF-8, the byte. */
int caption_find(const struct caption_rules *rules, const char *picture, const char *folder_tokens, struct caption *c,
		 struct error *e) MUST_CHECK;

/* The i-th path at which a picture's caption is looked for, malloced; NULL: this picture has no such path. */
enum { CAPTION_PLACES = 4 };
char *caption_place(const struct caption_rules *rules, const char *picture, int i);

/* Takes the first line of a caption file, without byte order mark, line end and surrounding blanks. */
int caption_clean(const char *name, const char *bytes, size_t n, struct caption *c, struct error *e) MUST_CHECK;

/* The same with every line that is not empty, joined by LF. */
int caption_clean_lines(const char *name, const char *bytes, size_t n, struct caption *c, struct error *e) MUST_CHECK;

/* Length of the longest prefix that is UTF-8 as base/utf8.h has it. */
size_t utf8_prefix(const void *bytes, size_t n);

#endif
