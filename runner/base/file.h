/* file.h - files others read: written beside and renamed over; trees; locks. */
#ifndef FCVM_BASE_FILE_H
#define FCVM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

/* Beside, fsync, rename, fsync of the directory: a reader sees the old or the new text whole. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* The same, mode 0600, for a file whose writers hold a lock of it: what a killed one left beside
 * it, the next one uses. Not to_disk: for what no other boot of the host reads, so no fsync. */
int file_replace_locked(const char *path, const void *data, size_t len, bool to_disk,
			struct err *err);
/* Reads a regular file of at most max bytes into out (reset first). -ENOENT passes through. */
int file_read(const char *path, size_t max, struct buf *out, struct err *err);
int file_write_fd(int fd, const void *data, size_t len, struct err *err);
/* As mkdir -p; an existing directory is fine and keeps its mode. */
int file_mkdir_p(const char *path, mode_t mode, struct err *err);
/* Removes the tree; never follows links nor crosses into another mount; absent is success. */
int file_remove_tree(const char *path, struct err *err);
bool file_exists(const char *path);
int file_fsync_dir(const char *path, struct err *err);
/* flock with O_CLOEXEC. The holder writes "pid command" into it. *ret_fd is the caller's.
 * wait false: -EWOULDBLOCK when held; the holder's line goes to `holder` (may be NULL). */
int file_lock(const char *path, bool wait, uint64_t deadline_ms, struct buf *holder, int *ret_fd,
	      struct err *err);
/* Directory joined with name; caller frees. */
char *path_join(const char *dir, const char *name);

#endif
