#include "vmlogs.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "proto.h"
#include "run.h"
#include "tlv.h"
#include "xalloc.h"

struct rig {
	char *dir;
	struct loop *loop;
	struct vmlogs *logs;
	int peer;
};

static void make(struct rig *r)
{
	int fds[2];

	*r = (struct rig){.dir = tmpdir_new("vmlogs")};
	cr_assert_geq(loop_new(&r->loop, NULL), 0);
	cr_assert_geq(vmlogs_new(r->loop, r->dir, &r->logs, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	cr_assert_geq(vmlogs_attach(r->logs, fds[0], NULL), 0);
	r->peer = fds[1];
}

static void done(struct rig *r)
{
	vmlogs_free(r->logs);
	loop_free_p(&r->loop);
	close(r->peer);
	tmpdir_remove(&r->dir);
}
#define auto_logs __attribute__((cleanup(done)))

static void say(struct rig *r, const char *name, uint64_t stream, const char *text, size_t len)
{
	auto_buf struct buf body = BUF_INIT(65536);

	tlv_put_str(&body, TAG_NAME, name);
	tlv_put_u64(&body, TAG_STREAM, stream);
	tlv_put_u64(&body, TAG_UNIX_NS, 0);
	tlv_put(&body, TAG_DATA, text, len);
	cr_assert_geq(frame_write(r->peer, MSG_LOG, 0, body.data, body.len, 0, NULL), 0);
}

static char *content(const struct rig *r, const char *name)
{
	auto_free char *path = path_join(r->dir, name);
	auto_buf struct buf text = BUF_INIT(1u << 20);

	(void)file_read(path, text.max - 1, &text, NULL);
	return buf_detach(&text);
}

Test(vmlogs, each_container_has_its_file)
{
	auto_logs struct rig r;

	make(&r);
	say(&r, "main", 1, "out", 3);
	say(&r, "side", 2, "err", 3);
	say(&r, "main", 1, "", 0);
	vmlogs_detach(r.logs);
	auto_free char *one = content(&r, "logs/main.log"), *two = content(&r, "logs/side.log");

	cr_expect_str_eq(one, "1970-01-01T00:00:00.000000000Z stdout F out\n"
			      "1970-01-01T00:00:00.000000000Z stdout F \n");
	cr_expect_str_eq(two, "1970-01-01T00:00:00.000000000Z stderr F err\n");
}

Test(vmlogs, names_of_the_guests_never_become_paths)
{
	static const char *const names[] = {"../up", "/etc/x", "a/b", "", ".", "A", "a b"};
	auto_logs struct rig r;

	make(&r);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		say(&r, names[i], 1, "x", 1);
	for (int i = 0; i < 30; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%d", i);
		say(&r, name, 1, "x", 1);
	}
	vmlogs_detach(r.logs);
	auto_free char *logs = path_join(r.dir, "logs");
	auto_closedir DIR *d = opendir(logs);
	unsigned int n = 0;

	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	cr_expect_eq(n, VMLOGS_NAMES_MAX);
}

Test(vmlogs, malformed_frames_end_the_connection_and_keep_what_came_before)
{
	auto_logs struct rig r;

	make(&r);
	say(&r, "main", 1, "kept", 4);
	cr_assert_geq(io_write_full(r.peer, "\377\377\377\377\140\0\0\0", 8, 0, NULL), 0);
	vmlogs_detach(r.logs);
	auto_free char *text = content(&r, "logs/main.log");

	cr_expect_str_eq(text, "1970-01-01T00:00:00.000000000Z stdout F kept\n");
}

Test(vmlogs, the_consoles_end_explains_a_boot_that_hung)
{
	auto_logs struct rig r;
	int fd = -1;

	make(&r);
	cr_assert_geq(vmlogs_console(r.logs, &fd, NULL), 0);
	cr_assert_geq(io_write_full(fd, "one\ntwo\033[0m\n", 12, 0, NULL), 0);
	close(fd);
	vmlogs_detach(r.logs);
	auto_free char *tail = vmlogs_console_tail(r.logs), *text = content(&r, "console.log");

	cr_expect_str_eq(tail, "one two[0m ");
	cr_expect_str_eq(text, "one\ntwo\033[0m\n");
}
