#include "stray.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "parse.h"
#include "proc.h"
#include "xalloc.h"

#define CMDLINE_MAX 16384
#define KILL_WAIT_MS 10000

bool stray_matches(const char *cmdline, size_t len, const char *dir)
{
	size_t dir_len = strlen(dir);
	bool internal = false, names_dir = false;

	for (size_t at = 0; at < len;) {
		const char *arg = cmdline + at;
		size_t n = strnlen(arg, len - at);

		if (n == 8 && memcmp(arg, "internal", 8) == 0)
			internal = true;
		if (n >= dir_len && memcmp(arg, dir, dir_len) == 0 &&
		    (n == dir_len || arg[dir_len] == '/'))
			names_dir = true;
		at += n + 1;
	}
	return internal && names_dir;
}

static bool pid_matches(pid_t pid, const char *dir)
{
	auto_free char *path = xasprintf("/proc/%d/cmdline", (int)pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[CMDLINE_MAX];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return n > 0 && stray_matches(text, (size_t)n, dir);
}

/* The pidfd first, then the question: the answer is then about that very process. */
static int kill_if_stray(const struct host *host, pid_t pid, const char *dir, struct err *err)
{
	auto_close int pidfd = -1;
	struct proc_id id;

	if (!pid_matches(pid, dir))
		return 0;
	if (proc_id_of(pid, &id, NULL) < 0 || proc_id_open(&id, host->boot_id, &pidfd) < 0 ||
	    !pid_matches(pid, dir))
		return 0;
	(void)proc_signal(pidfd, SIGKILL);
	if (io_wait(pidfd, POLLIN, deadline_in(KILL_WAIT_MS)) <= 0)
		return err_set(err, ERR_CLEANUP, -ETIMEDOUT,
			       "process %d of '%s' does not end, not even when killed", (int)pid,
			       dir);
	return 0;
}

int stray_kill(const struct host *host, const char *dir, struct err *err)
{
	auto_closedir DIR *proc = opendir("/proc");

	if (!proc)
		return err_sys(err, "cannot read /proc");
	for (struct dirent *e; (e = readdir(proc));) {
		uint64_t pid;

		if (!isdigit((unsigned char)e->d_name[0]) ||
		    parse_u64(e->d_name, 1, INT32_MAX, &pid, NULL) < 0 || (pid_t)pid == getpid())
			continue;
		int r = kill_if_stray(host, (pid_t)pid, dir, err);
		if (r < 0)
			return r;
	}
	return 0;
}
