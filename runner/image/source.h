/* source.h - a kernel or root file system the user gives as a file or directory. */
#ifndef FCVM_IMAGE_SOURCE_H
#define FCVM_IMAGE_SOURCE_H

#include <stdbool.h>

#include "digest.h"
#include "err.h"

/* The digest of what is at path, compared with sha256 (may be NULL; for regular files only).
 * A directory is accepted where ret_is_dir is not NULL. `what`: "kernel", "rootfs". */
int source_digest(const char *what, const char *path, const char *sha256, bool *ret_is_dir,
		  char ret[DIGEST_HEX_SIZE], struct err *err);
/* A private copy (reflinked where possible) whose digest is still the expected one: what is used
 * afterwards cannot change under us. */
int source_copy(const char *what, const char *path, const char *digest, const char *to,
		struct err *err);

#endif
