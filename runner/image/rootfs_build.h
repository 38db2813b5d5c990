/* rootfs_build.h - a Debian root file system by mmdebstrap, packed read-only. */
#ifndef FCVM_IMAGE_ROOTFS_BUILD_H
#define FCVM_IMAGE_ROOTFS_BUILD_H

#include "assets.h"
#include "json.h"

struct rootfs_build {
	const struct host *host;
	const char *suite;
	const struct strv *packages; /* all of them, ours included */
	const struct asset_progress *progress;
};
/* Makes dir/root.img (squashfs) and records suite, sources and every package with its version in
 * made_of. The same packages give the same bytes. */
int rootfs_build(const struct rootfs_build *b, const char *dir, struct json_object *made_of,
		 struct err *err);
/* Pure: a dpkg status file to {"package": "version"}. */
void rootfs_parse_status(const char *text, struct json_object *ret);

#endif
