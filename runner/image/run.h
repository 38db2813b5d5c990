/* run.h - the outside tools this folder uses, each by one function with its fixed arguments. */
#ifndef FCVM_IMAGE_RUN_H
#define FCVM_IMAGE_RUN_H

#include "buf.h"
#include "err.h"
#include "host.h"

/* argv run in cwd ("/" when NULL) with SOURCE_DATE_EPOCH pinned, so that what mmdebstrap and
 * mksquashfs make depends on its input alone. -ENOENT becomes "install PACKAGE". */
struct run_tool {
	const char *const *argv;
	const char *cwd;
	const char *package;   /* Debian package that has the tool */
	struct buf *stdout_to; /* may be NULL */
	void (*line)(void *data, const char *text);
	void *data;
	uint64_t timeout_ms;
	bool wants_root; /* gives files away and mounts: others get a user namespace for it */
};
int run_tool(const struct host *host, const struct run_tool *tool, struct err *err);

/* dir packed as squashfs-zstd into file, owners kept. */
int run_mksquashfs(const struct host *host, const char *dir, const char *file, struct err *err);
/* deb unpacked into dir, which is made. */
int run_unpack_deb(const struct host *host, const char *deb, const char *dir, struct err *err);

#endif
