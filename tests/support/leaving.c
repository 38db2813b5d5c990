#include "leaving.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "ctl.h"
#include "file.h"
#include "io.h"

#define LAST_STEPS_MS 300
#define PATIENCE_MS 20000

__attribute__((noreturn)) static void leave(int sock)
{
	if (sock >= 0) {
		int fd = -1;

		if (io_wait(sock, POLLIN, deadline_in(PATIENCE_MS)) <= 0 ||
		    (fd = accept4(sock, NULL, NULL, SOCK_CLOEXEC)) < 0)
			_exit(1);
		(void)close(fd);
	}
	(void)poll(NULL, 0, LAST_STEPS_MS);
	_exit(LEAVING_STATUS);
}

pid_t leaving_start(const char *dir, bool listens)
{
	auto_free char *path = path_join(dir, CTL_SOCK);
	auto_close int sock = -1;

	if (listens)
		cr_assert_geq(io_unix_listen(path, 1, &sock, NULL), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		leave(sock);
	return pid;
}

bool leaving_ended_well(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == LEAVING_STATUS;
}
