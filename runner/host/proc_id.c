#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "parse.h"
#include "proc.h"
#include "proc_priv.h"

/* The process name (field 2) may hold blanks and parentheses: fields are counted behind the last
 * closing one. */
static int read_start_time(pid_t pid, uint64_t *ret, struct err *err)
{
	char path[64], text[1024];
	char *at, *save = NULL;
	ssize_t n;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "cannot look at process %d", pid);
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return err_sys(err, "cannot look at process %d", pid);
	text[n] = '\0';
	at = strrchr(text, ')');
	at = at ? strtok_r(at + 1, " ", &save) : NULL;
	for (int field = 3; field < 22 && at; field++)
		at = strtok_r(NULL, " ", &save);
	if (!at)
		return err_set(err, ERR_FAILED, -EBADMSG, "cannot read '%s'", path);
	r = parse_u64(at, 0, UINT64_MAX, ret, err);
	return r < 0 ? r : 0;
}

int proc_boot_id(char ret[37], struct err *err)
{
	auto_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[37] = "";

	if (fd < 0)
		return err_sys(err, "cannot read the boot id");
	if (read(fd, text, sizeof(text) - 1) != sizeof(text) - 1)
		return err_set(err, ERR_FAILED, -EBADMSG, "the kernel's boot id is not a UUID");
	memcpy(ret, text, sizeof(text));
	return 0;
}

int proc_id_of(pid_t pid, struct proc_id *ret, struct err *err)
{
	struct proc_id id = {.pid = pid};
	int r = read_start_time(pid, &id.start_time, err);

	if (r == 0)
		r = proc_boot_id(id.boot_id, err);
	if (r == 0)
		*ret = id;
	return r;
}

int proc_id_open(const struct proc_id *id, const char *boot_id, int *ret_pidfd)
{
	auto_close int pidfd = -1;
	uint64_t start = 0;

	if (id->pid <= 0 || strcmp(id->boot_id, boot_id) != 0)
		return -ESRCH;
	pidfd = pidfd_open(id->pid, 0);
	if (pidfd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	/* Compared after the pidfd pins the process: the pid cannot change hands in between. */
	if (read_start_time(id->pid, &start, NULL) < 0 || start != id->start_time)
		return -ESRCH;
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

bool proc_id_alive(const struct proc_id *id, const char *boot_id)
{
	auto_close int pidfd = -1;
	struct pollfd p = {.events = POLLIN};

	if (proc_id_open(id, boot_id, &pidfd) < 0)
		return false;
	p.fd = pidfd;
	return poll(&p, 1, 0) == 0; /* a zombie is not alive */
}
