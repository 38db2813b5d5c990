/* fstype.h - which file system an image holds, by its magic. */
#ifndef FCVM_IMAGE_FSTYPE_H
#define FCVM_IMAGE_FSTYPE_H

#include "err.h"

/* *ret is a constant: "squashfs", "erofs" or "ext4"; -EINVAL names what is accepted. */
int fstype_detect(const char *path, const char **ret, struct err *err);

#endif
