/*
 * tar_library.h - libarchive's functions for tar streams.
 *
 * libarchive is opened when a tar comes.  Linked, it would load libxml2 and 30 MB of ICU at each start, which takes
 * twice as long as all the rest of `--help`.  So a package of the programs must name libarchive13 itself: no linker
 * tells it.
 */
#ifndef IO_TAR_LIBRARY_H
#define IO_TAR_LIBRARY_H

#include <archive.h>
#include <archive_entry.h>
#include "../base/error.h"

#define TAR_LIBRARY(F) \
	F(archive_entry_filetype) F(archive_entry_free) F(archive_entry_hardlink) F(archive_entry_new) \
	F(archive_entry_pathname) F(archive_entry_set_filetype) F(archive_entry_set_mtime) \
	F(archive_entry_set_pathname) F(archive_entry_set_perm) F(archive_entry_set_size) \
	F(archive_entry_sparse_count) F(archive_entry_symlink) \
	F(archive_errno) F(archive_error_string) F(archive_filter_bytes) F(archive_set_error) \
	F(archive_read_data_block) F(archive_read_data_skip) F(archive_read_free) F(archive_read_new) \
	F(archive_read_next_header) F(archive_read_open2) F(archive_read_set_format_option) \
	F(archive_read_support_format_tar) \
	F(archive_write_add_filter_none) F(archive_write_close) F(archive_write_data) F(archive_write_finish_entry) \
	F(archive_write_free) F(archive_write_header) F(archive_write_new) F(archive_write_open) \
	F(archive_write_set_bytes_in_last_block) F(archive_write_set_bytes_per_block) F(archive_write_set_format_ustar)

struct tar_library {
#define TAR_FUNCTION(name) __typeof__(name) *name;
	TAR_LIBRARY(TAR_FUNCTION)
#undef TAR_FUNCTION
};

/* The same one at each call, of one thread at a time.  NULL: *e. */
const struct tar_library *tar_library(struct error *e) MUST_CHECK;

#endif
