#include "gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

#define WAIT_S 20

char *gate_new(const char *dir)
{
	char *path = path_join(dir, "gate");

	cr_assert_eq(mkfifo(path, 0644), 0);
	cr_assert_eq(chmod(path, 0644), 0);
	return path;
}

static void on_alarm(int number)
{
	(void)number;
}

/* A FIFO's end to write to opens once somebody has the other. */
int gate_reach(const char *path)
{
	const struct sigaction interrupts = {.sa_handler = on_alarm};

	cr_assert_eq(sigaction(SIGALRM, &interrupts, NULL), 0);
	(void)alarm(WAIT_S);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0, "nobody came to the gate: %s", strerror(errno));
	(void)alarm(0);
	return fd;
}
