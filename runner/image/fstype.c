#include "fstype.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	off_t at;
	size_t len;
	const char *magic;
} types[] = {
	{"squashfs", 0, 4, "hsqs"},
	{"erofs", 1024, 4, "\xe2\xe1\xf5\xe0"},
	{"ext4", 1024 + 56, 2, "\x53\xef"},
};

int fstype_detect(const char *path, const char **ret, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, "cannot open image '%s'", path);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char have[4];

		if (pread(fd, have, types[i].len, types[i].at) == (ssize_t)types[i].len &&
		    memcmp(have, types[i].magic, types[i].len) == 0) {
			*ret = types[i].name;
			return 0;
		}
	}
	return err_set(err, ERR_SPEC, -EINVAL, "it is no squashfs, erofs or ext4 image");
}
