/* init.c - stage 2: everything Podman needs, as measured (docs/agent-protocol.md, "The guest"). */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "disks.h"
#include "file.h"
#include "identity.h"
#include "io.h"
#include "netcfg.h"
#include "xalloc.h"

#define IMAGES_DIR "/images"
#define IMAGE_SERIAL "img"
#define FILES_MAX 1048576

static const struct {
	const char *what, *at, *type;
	unsigned long flags;
	const char *options;
} mounts[] = {
	{"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
	{"shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
	{"tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
	/* A real ext4 mount: Podman's overlay refuses an overlay below it. */
	{AGENT_DATA_DIR "/containers", "/var/lib/containers", NULL, MS_BIND, NULL},
};

static int mount_all(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		int r = file_mkdir_p(mounts[i].at, 0755, err);

		if (r < 0)
			return r;
		if (mount(mounts[i].what, mounts[i].at, mounts[i].type, mounts[i].flags,
			  mounts[i].options) < 0)
			return err_sys(err, "cannot mount '%s'", mounts[i].at);
	}
	return 0;
}

static int make_dirs(struct err *err)
{
	static const struct {
		const char *path;
		mode_t mode;
	} dirs[] = {{AGENT_RUN_DIR, 0755},     {AGENT_PRIVATE_DIR, 0700}, {"/run/lock", 0755},
		    {"/etc/containers", 0755}, {IMAGES_DIR, 0755},        {AGENT_CGROUP, 0755}};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = file_mkdir_p(dirs[i].path, dirs[i].mode, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* One at a time: a controller this kernel lacks must not keep the others out. */
static void enable_controllers(void)
{
	static const char *const names[] = {"+cpu", "+memory", "+pids", "+io"};
	auto_close int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (fd < 0 || write(fd, names[i], strlen(names[i])) < 0)
			agent_say("cgroup controller %s is not available", names[i] + 1);
}

static void make_dev_links(void)
{
	static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
					       {"/proc/self/fd/0", "/dev/stdin"},
					       {"/proc/self/fd/1", "/dev/stdout"},
					       {"/proc/self/fd/2", "/dev/stderr"}};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			agent_say("cannot make %s: %s", links[i][1], strerror(errno));
}

/* --- image stores ------------------------------------------------------------------------------
 */

static int mount_store(const char *serial, size_t number, struct err *err)
{
	auto_free char *at = xasprintf(IMAGES_DIR "/%zu", number);
	auto_free char *dev = NULL;
	auto_close int watch = -1;
	const char *type = NULL;
	int r = disks_watch(&watch, err);

	if (r == 0)
		r = disks_find(watch, serial, deadline_in(1000), &dev, err);
	if (r == 0)
		r = file_mkdir_p(at, 0755, err);
	if (r == 0)
		r = init_probe_fstype(dev, &type, err);
	if (r < 0)
		return r;
	if (mount(dev, at, type, MS_RDONLY | MS_NOATIME, NULL) < 0)
		return err_sys(err, "cannot mount image disk '%s' as %s", serial, type);
	return 0;
}

static int mount_stores(size_t *ret_n, struct err *err)
{
	auto_strv struct strv serials = {0};
	int r = disks_list(IMAGE_SERIAL, &serials, err);

	for (size_t i = 0; r == 0 && i < serials.n; i++)
		r = mount_store(serials.v[i], i, err);
	if (r == 0)
		*ret_n = serials.n;
	return r;
}

void init_storage_conf(size_t n_stores, struct buf *out)
{
	buf_add_str(out, "[storage]\n"
			 "driver = \"overlay\"\n"
			 "runroot = \"/run/containers/storage\"\n"
			 "graphroot = \"/var/lib/containers/storage\"\n"
			 "[storage.options]\n"
			 "additionalimagestores = [");
	for (size_t i = 0; i < n_stores; i++)
		buf_addf(out, "%s\"" IMAGES_DIR "/%zu\"", i ? ", " : "", i);
	buf_add_str(out, "]\n");
}

static int write_file(const char *path, const char *text, struct err *err)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_sys(err, "cannot write '%s'", path);
	return file_write_fd(fd, text, strlen(text), err);
}

static int write_podman_config(size_t n_stores, struct err *err)
{
	static const char containers[] = "[containers]\n"
					 "netns = \"host\"\n"
					 "log_driver = \"k8s-file\"\n"
					 "[engine]\n"
					 "cgroup_manager = \"cgroupfs\"\n"
					 "events_logger = \"none\"\n"
					 "runtime = \"crun\"\n";
	static const char policy[] = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n";
	auto_buf struct buf storage = BUF_INIT(64u << 10);
	int r = write_file("/etc/containers/containers.conf", containers, err);

	init_storage_conf(n_stores, &storage);
	if (r == 0)
		r = write_file("/etc/containers/storage.conf", buf_str(&storage), err);
	if (r == 0)
		r = write_file("/etc/containers/policy.json", policy, err);
	if (r == 0)
		r = write_file("/etc/resolv.conf", "nameserver " NETCFG_DNS "\n", err);
	/* Its plugins are absent: Podman would complain with every command. */
	(void)unlink("/etc/cni/net.d/87-podman-bridge.conflist");
	return r;
}

static void raise_limits(void)
{
	static const struct rlimit files = {FILES_MAX, FILES_MAX};

	(void)setrlimit(RLIMIT_NOFILE, &files);
}

int init_setup(struct agent *agent, struct err *err)
{
	size_t n_stores = 0;
	int r;

	(void)umask(022);
	raise_limits();
	r = mount_all(err);
	if (r == 0)
		r = make_dirs(err);
	if (r < 0)
		return r;
	enable_controllers();
	make_dev_links();
	r = mount_stores(&n_stores, err);
	if (r == 0)
		r = write_podman_config(n_stores, err);
	if (r == 0)
		r = netcfg_setup(err);
	return r == 0 ? identity_setup(agent, err) : r;
}
