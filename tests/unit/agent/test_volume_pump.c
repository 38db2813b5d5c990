#include "volume_pump.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "pump_host.h"

#define PATIENCE_MS 60000

/* The next word of the pump's, which may have a stream as its second byte. */
static char hear(int sock, unsigned char *ret_second)
{
	char text[VOLUME_SENTENCE_MAX] = "";

	cr_assert_gt(io_wait(sock, POLLIN, deadline_in(PATIENCE_MS)), 0);
	ssize_t n = recv(sock, text, sizeof(text), 0);
	*ret_second = (unsigned char)text[1];
	cr_assert_gt(n, 0, "the pump is gone");
	return text[0];
}

static pid_t start_pump(struct volume_pump *p, int *ret_sock)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		p->sock = pair[1];
		(void)close(pair[0]);
		_exit(volume_pump_run(p));
	}
	(void)close(pair[1]);
	*ret_sock = pair[0];
	return pid;
}

Test(volume_pump, it_mounts_with_the_streams_it_is_given_and_unmounts_when_let_go)
{
	struct pump_host h;
	unsigned char stream = 255;
	int sock = -1, status = -1;

	pump_host_start(&h);
	struct volume_pump p = {.target = h.target};
	auto_free char *here = path_join(h.root, "file"), *there = path_join(h.target, "file");
	pid_t pid = start_pump(&p, &sock);
	char word;

	while ((word = hear(sock, &stream)) == VOLUME_WANTS) {
		auto_close int fd = pump_host_stream(&h);

		cr_assert_eq(io_send_fds(sock, &stream, 1, &fd, 1, NULL), 0);
	}
	cr_assert_eq(word, VOLUME_READY);
	cr_assert_eq(file_replace(here, "x", 1, 0644, NULL), 0);
	cr_expect(file_exists(there));
	(void)close(sock);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	cr_expect(!file_exists(there), "still mounted");
	pump_host_stop(&h);
}
