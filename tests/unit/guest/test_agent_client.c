#include "agent_client.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "fake_peer.h"
#include "io.h"
#include "run.h"

static int greet_and_talk(int fd)
{
	peer_accept_exec(fd);
	return io_write_full(fd, "data behind the line", 20, deadline_in(1000), NULL) < 0;
}

Test(agent_client, the_answer_line_is_taken_off_the_stream)
{
	struct peer p;
	auto_close int fd = -1;
	char got[21] = {0};
	struct err err = {0};

	peer_start(&p, greet_and_talk);
	cr_assert_geq(agent_client_connect(p.dir, 4998, deadline_in(5000), &fd, &err), 0, "%s",
		      err.msg);
	cr_assert_geq(io_read_full(fd, got, 20, deadline_in(5000), &err), 0, "%s", err.msg);
	cr_expect_str_eq(got, "data behind the line");
	cr_expect_eq(peer_end(&p), 0);
}

static int hang_up(int fd)
{
	close(fd);
	return 0;
}

static int say_no(int fd)
{
	return io_write_full(fd, "NO\n", 3, deadline_in(1000), NULL) < 0;
}

static int say_too_much(int fd)
{
	static const char text[] = "OK 1111111111111111111111111111111111111111111111111111111\n";

	return io_write_full(fd, text, sizeof(text) - 1, deadline_in(1000), NULL) < 0;
}

Test(agent_client, whatever_is_no_ok_is_a_refusal)
{
	int (*const peers[])(int fd) = {hang_up, say_no, say_too_much};

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct peer p;
		int fd = -1;
		struct err err = {0};

		peer_start(&p, peers[i]);
		cr_expect_eq(agent_client_connect(p.dir, 4998, deadline_in(5000), &fd, &err),
			     -ECONNRESET, "case %zu", i);
		cr_expect_str_eq(err.msg, "the guest refuses port 4998");
		cr_expect_eq(fd, -1, "outputs are untouched");
		(void)peer_end(&p);
	}
}

Test(agent_client, a_vm_without_a_channel_is_not_running)
{
	auto_tmpdir char *dir = tmpdir_new("client");
	int fd = -1;
	struct err err = {0};

	cr_expect_eq(agent_client_connect(dir, 4998, deadline_in(1000), &fd, &err), -ENOENT);
	cr_expect(strstr(err.msg, "is not running"), "%s", err.msg);
}
