#include "jail.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"

/* QEMU inherits its tap and userfaultfd, Firecracker opens them by name. */
enum wish { ALWAYS, IF_KVM, IF_TUN, IF_USERFAULTFD };

static const struct node {
	const char *path;
	mode_t mode;
	enum wish wish;
} nodes[] = {
	{"/dev/null", 0666, ALWAYS},
	{"/dev/zero", 0666, ALWAYS},
	{"/dev/random", 0444, ALWAYS},
	{"/dev/urandom", 0444, ALWAYS},
	{"/dev/kvm", 0600, IF_KVM},
	{"/dev/net/tun", 0600, IF_TUN},
	{"/dev/userfaultfd", 0600, IF_USERFAULTFD},
};

static const struct {
	__rlimit_resource_t what;
	rlim_t limit;
} limits[] = {
	{RLIMIT_CORE, 0}, /* guest memory is plaintext */
	{RLIMIT_NOFILE, 1024},
	{RLIMIT_NPROC, 1024}, /* threads, too */
	{RLIMIT_MSGQUEUE, 0},
};

static bool is_wished(const struct jail *jail, const struct node *n)
{
	const bool wishes[] = {
		[ALWAYS] = true,
		[IF_KVM] = jail->kvm,
		[IF_TUN] = jail->tun,
		[IF_USERFAULTFD] = jail->userfaultfd,
	};

	return wishes[n->wish];
}

static int make_node(const struct jail *jail, const struct node *n, dev_t dev)
{
	if (n->wish == IF_TUN && (mkdir("/dev/net", 0755) < 0 || chmod("/dev/net", 0755) < 0))
		return -errno;
	if (mknod(n->path, S_IFCHR | n->mode, dev) < 0 || chmod(n->path, n->mode) < 0)
		return -errno;
	if (n->wish != ALWAYS && chown(n->path, jail->uid, jail->gid) < 0)
		return -errno;
	return 0;
}

static int private_dev(const struct jail *jail)
{
	dev_t devs[ARRAY_SIZE(nodes)] = {0};

	/* Looked up before the new file system hides them. */
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct stat st;

		if (!is_wished(jail, &nodes[i]))
			continue;
		if (stat(nodes[i].path, &st) < 0)
			return -errno;
		devs[i] = st.st_rdev;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("fcvm", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		int r = devs[i] ? make_node(jail, &nodes[i], devs[i]) : 0;

		if (r < 0)
			return r;
	}
	if (mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
		  NULL) < 0)
		return -errno;
	return 0;
}

/* Until the kernel says that there is no such capability. */
static int drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		continue;
	return errno == EINVAL ? 0 : -errno;
}

static int drop_identity(const struct jail *jail)
{
	/* Not the C library's: in a child of a process with threads those wait for threads that
	 * are not there. */
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, jail->gid, jail->gid, jail->gid) < 0 ||
	    syscall(SYS_setresuid, jail->uid, jail->uid, jail->uid) < 0)
		return -errno;
	return 0;
}

int jail_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) < 0)
		return -errno;
	return jail_no_new_privs();
}

int jail_limit(unsigned int files)
{
	(void)umask(0077);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		bool is_files = limits[i].what == RLIMIT_NOFILE && files;
		rlim_t limit = is_files ? files : limits[i].limit;
		const struct rlimit l = {limit, limit};

		/* A lower limit of ours stays; raising it is not the point. */
		if (setrlimit(limits[i].what, &l) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

int jail_enter(void *data)
{
	const struct jail *jail = data;
	int r = jail_limit(jail->files);

	if (r < 0)
		return r;
	r = drop_bounding_set();
	if (!jail->as_root) {
		/* In a user namespace of ours we may, elsewhere there is nothing to drop. */
		r = r == -EPERM ? 0 : r;
		if (r == 0 && jail->hide)
			r = hide_enter(jail->hide);
		return r < 0 ? r : drop_capabilities();
	}
	if (r == 0 && jail->uid == 0)
		r = -EPERM;
	if (r == 0 && !jail->shared_dev)
		r = private_dev(jail);
	if (r == 0)
		r = drop_identity(jail);
	return r < 0 ? r : drop_capabilities();
}
