/* init_root.c - stage 1: from the initrd into the root file system. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "disks.h"
#include "file.h"
#include "init.h"
#include "io.h"
#include "xalloc.h"

#define DISK_WAIT_MS 15000
#define MODULES_LIST "/modules.list"
#define LOWER "/lower"
#define DATA "/data"
#define NEW_ROOT "/root"

void init_die(const struct err *err)
{
	(void)dprintf(2, "fc-agent: cannot start the guest: %s\n", err->msg);
	sync();
	(void)reboot(RB_AUTOBOOT);
	for (;;)
		(void)pause();
}

void init_cmdline_value(const char *cmdline, const char *name, char *ret, size_t size)
{
	size_t name_len = strlen(name);

	*ret = '\0';
	while (*cmdline) {
		size_t n = strcspn(cmdline, " \n");

		if (n > name_len && n - name_len - 1 < size &&
		    strncmp(cmdline, name, name_len) == 0 && cmdline[name_len] == '=') {
			memcpy(ret, cmdline + name_len + 1, n - name_len - 1);
			ret[n - name_len - 1] = '\0';
		}
		cmdline += n;
		cmdline += strspn(cmdline, " \n");
	}
}

const char *init_detect_fstype(const uint8_t *head, size_t len)
{
	static const struct {
		const char *type;
		size_t at;
		uint8_t magic[4];
		size_t n;
	} known[] = {
		{"squashfs", 0, {'h', 's', 'q', 's'}, 4},
		{"erofs", 1024, {0xe2, 0xe1, 0xf5, 0xe0}, 4},
		{"ext4", 1024 + 0x38, {0x53, 0xef}, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].at + known[i].n <= len &&
		    memcmp(head + known[i].at, known[i].magic, known[i].n) == 0)
			return known[i].type;
	return NULL;
}

/* The kernel had no /dev/console to give us when the initrd has no /dev. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			(void)dup2(fd, i);
	if (fd > 2)
		(void)close(fd);
}

static int mount_kernel(struct err *err)
{
	static const struct {
		const char *type, *at;
		unsigned long flags;
	} mounts[] = {{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		      {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		      {"devtmpfs", "/dev", MS_NOSUID}};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		(void)mkdir(mounts[i].at, 0755);
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, NULL) <
			    0 &&
		    errno != EBUSY)
			return err_sys(err, "cannot mount %s", mounts[i].at);
	}
	open_console();
	return 0;
}

/* Loaded and removed: the initrd is memory. */
static int load_module(const char *path, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot open module '%s'", path);
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		return err_sys(err, "cannot load module '%s'", path);
	(void)unlink(path);
	return 0;
}

static int load_modules(struct err *err)
{
	auto_buf struct buf list = BUF_INIT(64u << 10);
	int r = file_read(MODULES_LIST, 64u << 10, &list, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	for (char *at = list.data; at && *at;) {
		size_t n = strcspn(at, "\n");
		auto_free char *path = xstrndup(at, n);

		at += n + (at[n] == '\n');
		/* One that is missing shows when a disk or the channel is; the rest may do. */
		struct err why = {0};
		if (*path && load_module(path, &why) < 0)
			(void)dprintf(2, "fc-agent: %s\n", why.msg);
	}
	return 0;
}

int init_probe_fstype(const char *dev, const char **ret, struct err *err)
{
	auto_close int fd = open(dev, O_RDONLY | O_CLOEXEC);
	uint8_t head[2048];

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", dev);
	int r = io_read_full(fd, head, sizeof(head), 0, err);
	if (r < 0)
		return r;
	const char *type = init_detect_fstype(head, sizeof(head));
	if (!type)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "disk '%s' holds neither squashfs, erofs nor ext4", dev);
	*ret = type;
	return 0;
}

static int root_fstype(const char *dev, char *ret, size_t size, struct err *err)
{
	auto_buf struct buf cmdline = BUF_INIT(8192);
	const char *type = "";

	if (file_read("/proc/cmdline", 8191, &cmdline, NULL) == 0)
		init_cmdline_value(buf_str(&cmdline), "fcvm.fstype", ret, size);
	if (*ret)
		return 0;
	int r = init_probe_fstype(dev, &type, err);
	if (r == 0)
		(void)snprintf(ret, size, "%s", type);
	return r;
}

static int mount_root_disk(int watch, struct err *err)
{
	auto_free char *dev = NULL;
	char type[32] = "";
	int r = disks_find(watch, "root", deadline_in(DISK_WAIT_MS), &dev, err);

	if (r == 0)
		r = root_fstype(dev, type, sizeof(type), err);
	if (r < 0)
		return r;
	(void)mkdir(LOWER, 0755);
	if (mount(dev, LOWER, type, MS_RDONLY | MS_NOATIME, NULL) < 0)
		return err_sys(err, "cannot mount disk 'root' (%s) as %s", dev, type);
	return 0;
}

static int mount_data_disk(int watch, struct err *err)
{
	auto_free char *dev = NULL;
	int r = disks_find(watch, "data", deadline_in(DISK_WAIT_MS), &dev, err);

	if (r < 0)
		return r;
	(void)mkdir(DATA, 0755);
	if (mount(dev, DATA, "ext4", MS_NOATIME, NULL) < 0)
		return err_sys(err, "cannot mount disk 'data' (%s) as ext4", dev);
	(void)mkdir(DATA "/upper", 0755);
	(void)mkdir(DATA "/work", 0755);
	(void)mkdir(DATA "/containers", 0700);
	return 0;
}

static int mount_overlay(struct err *err)
{
	(void)mkdir(NEW_ROOT, 0755);
	if (mount("overlay", NEW_ROOT, "overlay", MS_NOATIME,
		  "lowerdir=" LOWER ",upperdir=" DATA "/upper,workdir=" DATA "/work") < 0)
		return err_sys(err, "cannot mount the root overlay");
	return 0;
}

static int move_mounts(struct err *err)
{
	static const struct {
		const char *from, *to;
	} moves[] = {{DATA, NEW_ROOT AGENT_DATA_DIR},
		     {"/dev", NEW_ROOT "/dev"},
		     {"/sys", NEW_ROOT "/sys"},
		     {"/proc", NEW_ROOT "/proc"}};

	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		(void)mkdir(moves[i].to, 0755);
		if (mount(moves[i].from, moves[i].to, NULL, MS_MOVE, NULL) < 0)
			return err_sys(err, "cannot move '%s' to '%s'", moves[i].from, moves[i].to);
	}
	return 0;
}

static int change_root(struct err *err)
{
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return err_sys(err, "cannot change into the root");
	return 0;
}

int init_enter_root(struct err *err)
{
	auto_close int watch = -1;
	int r = mount_kernel(err);

	if (r == 0)
		r = disks_watch(&watch, err);
	if (r == 0)
		r = load_modules(err);
	if (r == 0)
		r = mount_root_disk(watch, err);
	if (r == 0)
		r = mount_data_disk(watch, err);
	if (r == 0)
		r = mount_overlay(err);
	if (r == 0)
		r = move_mounts(err);
	return r == 0 ? change_root(err) : r;
}
