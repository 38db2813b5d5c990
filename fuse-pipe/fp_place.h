/* fp_place.h - where an inode is found again without a descriptor: by file handle, or by a name in
 * a directory. Opening one never leaves the directory or follows a link. */
#ifndef FCVM_FUSE_PIPE_FP_PLACE_H
#define FCVM_FUSE_PIPE_FP_PLACE_H

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define FP_HANDLE_MAX 128

/* As struct file_handle, with room. */
struct fp_handle {
	uint32_t bytes;
	int32_t type;
	uint8_t data[FP_HANDLE_MAX];
};

struct fp_place {
	bool by_name;
	struct fp_handle handle; /* bytes 0: there is none */
	uint64_t parent;         /* by name: the directory's node */
	char name[NAME_MAX + 1];
};

/* The handle of what fd refers to; -EOPNOTSUPP where the file system has none. */
int fp_handle_of(int fd, struct fp_handle *ret);
bool fp_handle_same(const struct fp_handle *a, const struct fp_handle *b);
/* Whether handles can be opened here: not without rights, not on every file system. */
bool fp_handles_work(int mount_fd);
/* O_PATH descriptors, or a negative errno. */
int fp_handle_open(int mount_fd, const struct fp_handle *handle);
int fp_name_open(int dir_fd, const char *name);
/* For reading and writing, or for reading alone, what an O_PATH descriptor refers to. */
int fp_data_open(int proc_fd, int path_fd);

#endif
