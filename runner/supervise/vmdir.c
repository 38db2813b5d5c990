#include "super.h"

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

char *vmdir_path(const struct super *s, const char *name)
{
	return xasprintf("%s/%s/%s", s->spec->dir, SUPER_VM_DIR, name);
}

int vmdir_make(struct super *s, gid_t gid, struct err *err)
{
	auto_free char *dir = path_join(s->spec->dir, SUPER_VM_DIR);
	int r = file_remove_tree(dir, err);

	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0)
		return err_sys(err, "cannot make '%s'", dir);
	if (s->host->is_root && chown(dir, s->vm.uid, gid) < 0)
		return err_sys(err, "cannot give '%s' to uid %u", dir, s->vm.uid);
	s->vm.gid = gid;
	return 0;
}

/* The VMM may have put a link, a device or somebody else's file there. */
int vmdir_open(const struct super *s, const char *name, int *ret_fd, struct err *err)
{
	auto_free char *path = vmdir_path(s, name);
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st = {0};

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != s->vm.uid)
		return err_set(err, ERR_GUEST, -EPERM,
			       "'%s' is not the regular file the VMM was given", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
