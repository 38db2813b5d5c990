#include "disks.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "init.h"
#include "io.h"
#include "xalloc.h"

#define BLOCK_DIR "/sys/block"
#define CMDLINE_MAX 8192
#define VOLUME_WAIT_MS 5000
#define SYSFS_FILE_SIZE 4096 /* what fstat claims, whatever is in it */

int disks_watch(int *ret_fd, struct err *err)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1};
	auto_close int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, "cannot listen to device events");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int disks_wait(int watch_fd, int (*ready)(void *data), void *data, uint64_t deadline_ms)
{
	char drop[8192];

	for (;;) {
		int r = ready(data);

		if (r != 0)
			return r;
		r = io_wait(watch_fd, POLLIN, deadline_ms);
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		/* ENOBUFS means that events were lost: reason enough to look. */
		while (recv(watch_fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
			;
	}
}

void disks_serial_by_order(const char *cmdline, const char *device, struct buf *ret)
{
	char list[CMDLINE_MAX];
	const char *at = list;
	bool is_disk = strncmp(device, "vd", 2) == 0 && device[2] >= 'a' && device[2] <= 'z' &&
		       device[3] == '\0';

	buf_reset(ret);
	init_cmdline_value(cmdline, "fcvm.disks", list, sizeof(list));
	for (char disk = 'a'; is_disk && disk < device[2] && *at; disk++) {
		at += strcspn(at, ",");
		at += *at == ',';
	}
	if (is_disk)
		buf_add(ret, at, strcspn(at, ","));
}

/* True when the host names the disks by their order. */
static bool serial_by_order(const char *name, struct buf *ret)
{
	auto_buf struct buf cmdline = BUF_INIT(CMDLINE_MAX);

	if (file_read("/proc/cmdline", CMDLINE_MAX - 1, &cmdline, NULL) < 0 ||
	    !strstr(buf_str(&cmdline), "fcvm.disks="))
		return false;
	disks_serial_by_order(buf_str(&cmdline), name, ret);
	return true;
}

/* The serial of a block device, "" when it has none. */
static void read_serial(const char *name, struct buf *ret)
{
	auto_free char *path = xasprintf(BLOCK_DIR "/%s/serial", name);

	if (serial_by_order(name, ret))
		return;
	buf_reset(ret);
	if (file_read(path, SYSFS_FILE_SIZE, ret, NULL) == 0 && ret->len)
		ret->data[strcspn(ret->data, "\n")] = '\0';
}

struct search {
	const char *serial;
	char *found; /* device name */
};

static int look(void *data)
{
	struct search *s = data;
	auto_closedir DIR *dir = opendir(BLOCK_DIR);
	auto_buf struct buf serial = BUF_INIT(128);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		read_serial(entry->d_name, &serial);
		if (strcmp(buf_str(&serial), s->serial) != 0)
			continue;
		auto_free char *path = path_join("/dev", entry->d_name);
		if (access(path, F_OK) < 0)
			return 0;
		s->found = TAKE_PTR(path);
		return 1;
	}
	return 0;
}

int disks_find(int watch_fd, const char *serial, uint64_t deadline_ms, char **ret, struct err *err)
{
	struct search s = {.serial = serial};
	int r = disks_wait(watch_fd, look, &s, deadline_ms);

	if (r < 0)
		return err_sys_code(err, r, "no disk with serial '%s'", serial);
	*ret = s.found;
	return 0;
}

int disks_list(const char *prefix, struct strv *ret, struct err *err)
{
	auto_closedir DIR *dir = opendir(BLOCK_DIR);
	auto_buf struct buf serial = BUF_INIT(128);
	const struct dirent *entry;

	if (!dir)
		return err_sys(err, "cannot list '%s'", BLOCK_DIR);
	while ((entry = readdir(dir))) {
		read_serial(entry->d_name, &serial);
		if (strncmp(buf_str(&serial), prefix, strlen(prefix)) == 0)
			strv_add(ret, buf_str(&serial));
	}
	strv_sort(ret);
	return 0;
}

int disks_mount_volume(const struct proto_volume *v, struct err *err)
{
	unsigned long flags = MS_NOATIME | (v->read_only ? MS_RDONLY : 0);
	auto_free char *dev = NULL;
	auto_close int watch = -1;
	int r = disks_watch(&watch, err);

	if (r == 0)
		r = disks_find(watch, v->source, deadline_in(VOLUME_WAIT_MS), &dev, err);
	if (r < 0)
		return r;
	if (mount(dev, v->target, "ext4", flags, NULL) < 0)
		return err_sys(err, "cannot mount disk '%s' (%s) at '%s'", v->source, dev,
			       v->target);
	if (!v->read_only && chmod(v->target, 01777) < 0)
		return err_sys(err, "cannot open '%s' to everybody", v->target);
	return 0;
}
