/* storage.h - moving and cloning big files, and making the blank data disk. */
#ifndef FCVM_STORAGE_STORAGE_H
#define FCVM_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* FICLONE, else copy_file_range, else a sparse copy (SEEK_DATA/SEEK_HOLE); holes stay holes. to
 * must not exist; it gets mode, and owner uid:gid when we are root. *ret_reflinked may be NULL. */
struct clone_file_spec {
	const char *from, *to;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};
int storage_clone_file(const struct clone_file_spec *spec, bool *ret_reflinked, struct err *err);
/* Of a file the caller has opened, and checked: spec->from is only its name in messages. */
int storage_clone_fd(int from, const struct clone_file_spec *spec, bool *ret_reflinked,
		     struct err *err);
/* Sparse file of that size holding an empty ext4 (mke2fs with pinned options, with a journal),
 * label data. path is absolute and must not exist; at least 16 MiB; 0600, ours. */
int storage_make_data_disk(const char *path, uint64_t size_bytes, struct err *err);
/* Whether FICLONE works between files of this directory; probes with a temporary file. */
bool storage_can_reflink(const char *dir);
/* Allocated bytes (st_blocks) of a tree; absent = 0. */
uint64_t storage_tree_blocks(const char *dir);
/* Free bytes for us on the file system of dir. */
int storage_free_bytes(const char *dir, uint64_t *ret, struct err *err);

#endif
