/* seal.h - a finished directory made ready to be published: modes, digests, on disk. */
#ifndef FCVM_IMAGE_SEAL_H
#define FCVM_IMAGE_SEAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "digest.h"
#include "err.h"
#include "json.h"

/* Gives every regular file below dir file_mode and every directory 0755, root's as made, fsyncs
 * them and adds "NAME": {"size","sha256"} to files by relative name. Anything but files and
 * directories is refused: a cache entry holds no links. */
int seal_tree(const char *dir, mode_t file_mode, struct json_object *files, struct err *err);
/* One digest over names, modes, owners, link targets, contents and extended attributes of a tree,
 * for a root file system given as a directory. Does not cross into other mounts. */
int seal_digest_tree(const char *dir, char ret[DIGEST_HEX_SIZE], struct err *err);

/* Whether anything below dir carries that extended attribute. */
int seal_tree_has_xattr(const char *dir, const char *name, bool *ret, struct err *err);

#endif
