/*
 * source_edit.h - safetensors files changed a little, in a folder that goes away: for the tests of model/source*.c.
 */
#ifndef TESTS_SOURCE_EDIT_H
#define TESTS_SOURCE_EDIT_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/source.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden"

static char folder[] = "/tmp/test-source-XXXXXX";

static inline int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
	char *command = xprintf("rm -rf %s", folder);
	int status = system(command);

	free(command);
	return status;
}

/* A name in the test's folder; a few stay valid at a time. */
static inline const char *in_folder(const char *name)
{
	static char text[8][300];
	static int turn;

	turn = (turn + 1) % 8;
	snprintf(text[turn], sizeof(text[turn]), "%s/%s", folder, name);
	return text[turn];
}

static inline void shell(const char *command)
{
	char *line = xprintf("cd %s && %s", folder, command);

	assert_int_equal(system(line), 0);
	free(line);
}

static inline void put_bytes(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(close(fd), 0);
}

/* Tensors on their way from one file to another. */
struct edit {
	struct safetensors *from;
	struct safetensors_out *tensor;
	size_t count, capacity;
	struct metadata metadata[8];
	size_t metadata_count;
};

static inline struct safetensors_out *edit_add(struct edit *x, const char *name, enum dtype type, int dims,
					       const int64_t *shape,
					       const void *data)
{
	struct safetensors_out *t;

	GROW(x->tensor, x->count, x->capacity);
	t = &x->tensor[x->count++];
	*t = (struct safetensors_out){ .name = name, .dtype = type, .dims = dims, .data = data };
	memcpy(t->shape, shape, dims * sizeof(shape[0]));
	return t;
}

static inline struct edit edit_open(const char *path)
{
	struct error e = { 0 };
	struct edit x = { .from = safetensors_open(path, &e) };

	if (!x.from)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < x.from->count; i++) {
		const struct safetensor *t = &x.from->tensor[i];

		edit_add(&x, t->name, t->dtype, t->dims, t->shape, safetensors_bytes(x.from, t));
	}
	return x;
}

static inline struct safetensors_out *edit_find(struct edit *x, const char *name)
{
	for (size_t i = 0; i < x->count; i++)
		if (strcmp(x->tensor[i].name, name) == 0)
			return &x->tensor[i];
	fail_msg("no tensor %s to change", name);
	return NULL;
}

static inline void edit_drop(struct edit *x, const char *name)
{
	*edit_find(x, name) = x->tensor[x->count - 1];
	x->count--;
}

static inline void edit_save(struct edit *x, const char *path)
{
	struct buffer b = { 0 };

	safetensors_serialize(&b, x->tensor, x->count, x->metadata, x->metadata_count);
	put_bytes(path, b.data, b.len);
	buffer_free(&b);
	safetensors_close(x->from);
	free(x->tensor);
	*x = (struct edit){ 0 };
}

static inline struct model_files *open_model(const char *path, const char *config, const char *vae)
{
	struct error e = { 0 };
	struct model_files *m = model_files_open(path, config, vae, &e);

	if (!m)
		fail_msg("%s", e.text);
	return m;
}

#endif
