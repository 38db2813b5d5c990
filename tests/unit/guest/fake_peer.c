#include "fake_peer.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_client.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "run.h"
#include "tlv.h"

#define PEER_MS 10000

void peer_start(struct peer *p, int (*serve)(int fd))
{
	p->dir = tmpdir_new("peer");
	auto_free char *path = path_join(p->dir, AGENT_CLIENT_SOCK);
	auto_close int listener = -1;

	cr_assert_geq(io_unix_listen(path, 4, &listener, NULL), 0);
	p->pid = fork();
	if (p->pid != 0)
		return;
	int fd = io_wait(listener, 1, deadline_in(PEER_MS)) > 0 ? accept(listener, NULL, NULL) : -1;

	_exit(fd < 0 ? 99 : serve(fd));
}

int peer_end(struct peer *p)
{
	int status = -1;

	cr_assert_eq(waitpid(p->pid, &status, 0), p->pid);
	tmpdir_remove(&p->dir);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void peer_accept_exec(int fd)
{
	char line[14] = {0};

	if (io_read_full(fd, line, 13, deadline_in(PEER_MS), NULL) < 0 ||
	    strcmp(line, "CONNECT 4998\n") != 0)
		_exit(98);
	(void)io_write_full(fd, "OK 1\n", 5, deadline_in(PEER_MS), NULL);
}

void peer_await(int fd, uint16_t type, struct frame *ret, struct buf *body)
{
	do {
		if (frame_read(fd, AGENT_CONTROL_MAX, ret, body, deadline_in(PEER_MS), NULL) < 0)
			_exit(97);
	} while (ret->type != type);
}

void peer_send(int fd, uint16_t type, const void *body, size_t len)
{
	if (frame_write(fd, type, 0, body, len, deadline_in(PEER_MS), NULL) < 0)
		_exit(96);
}

void peer_exit(int fd, uint64_t code, const char *text)
{
	auto_buf struct buf body = BUF_INIT(4096);

	tlv_put_u64(&body, TAG_EXIT_CODE, code);
	tlv_put_str(&body, TAG_TEXT, text);
	peer_send(fd, MSG_EXEC_EXIT, body.data, body.len);
}
