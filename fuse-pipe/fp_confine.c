/* fp_confine.c - a server that can reach nothing but its directory: a mount namespace whose root it
 * is, and the few capabilities that acting for other users takes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_server.h"

#define CAP(name) (1ull << CAP_##name)
#define CAPS_SQUASH                                                                           \
	(CAP(SETUID) | CAP(SETGID) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | \
	 CAP(CHOWN))
/* FSETID: an ordinary root's writes keep set-id bits. SETFCAP: capabilities of files. */
#define CAPS_FULL (CAPS_SQUASH | CAP(MKNOD) | CAP(FSETID) | CAP(SETFCAP))

/* The directory's own mount point, not what is mounted below it. */
static int bind_alone(const char *dir, bool read_only, struct err *err)
{
	unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (read_only)
		flags |= MS_RDONLY;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, "cannot make a mount namespace");
	if (mount(dir, dir, NULL, MS_BIND, NULL) < 0 || mount(NULL, dir, NULL, flags, NULL) < 0)
		return err_sys(err, "cannot bind '%s'", dir);
	return 0;
}

/* The old root ends up on top of the new one, and is taken off. */
static int make_root(const char *dir, struct err *err)
{
	if (chdir(dir) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, "cannot make '%s' the root", dir);
	return 0;
}

static int drop_caps(uint64_t keep, struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)keep, (uint32_t)keep, 0},
		{(uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0},
	};

	for (int cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL)
			return err_sys(err, "cannot drop capability %d", cap);
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		return err_sys(err, "cannot drop supplementary groups");
	if (syscall(SYS_capset, &head, data) < 0)
		return err_sys(err, "cannot drop capabilities");
	return 0;
}

static int open_root(const char *dir, int *ret, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot open directory '%s'", dir);
	*ret = fd;
	return 0;
}

int fp_server_confine(const char *dir, const struct fp_options *opt, int *ret_root_fd,
		      int *ret_proc_fd, struct err *err)
{
	auto_close int root = -1, proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (proc < 0)
		return err_sys(err, "cannot open /proc/self/fd");
	/* Also the check that it is a directory, while paths are still the user's. */
	r = open_root(dir, &root, err);
	if (r == 0 && geteuid() == 0) {
		cleanup_close_p(&root);
		r = bind_alone(dir, opt->read_only, err);
		if (r == 0)
			r = make_root(dir, err);
		if (r == 0)
			r = open_root("/", &root, err);
		if (r == 0)
			r = drop_caps(opt->trust == FP_FULL ? CAPS_FULL : CAPS_SQUASH, err);
	}
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "cannot give up new privileges");
	*ret_root_fd = TAKE_FD(root);
	*ret_proc_fd = TAKE_FD(proc);
	return 0;
}
