#include "handshake.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"

#define FILE_SIZE (128u << 20)

static int parse(const char *text, struct regions *ret, struct err *err)
{
	return handshake_parse(text, strlen(text), FILE_SIZE, ret, err);
}

Test(handshake, what_firecracker_sends_is_understood)
{
	struct regions r = {.n = 0};
	struct err err = {0};

	cr_assert_eq(parse("[{\"base_host_virt_addr\":140122100203520,\"size\":134217728,"
			   "\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096}]",
			   &r, &err),
		     0, "%s", err.msg);
	cr_expect_eq(r.n, 1);
	cr_expect_eq(r.v[0].base, 140122100203520);
	cr_expect_eq(r.v[0].size, 134217728);
	cr_expect_eq(r.v[0].offset, 0);
	/* Before 1.12: only the misnamed one. Two regions, keys in any order. */
	cr_assert_eq(parse(" [{\"page_size_kib\":4096,\"size\":4096,\"base_host_virt_addr\":4096,"
			   "\"offset\":0},{\"base_host_virt_addr\":65536,\"size\":8192,\"offset\":"
			   "4096,\"page_size_kib\":4096,\"later\":[1]}]\n",
			   &r, &err),
		     0, "%s", err.msg);
	cr_expect_eq(r.n, 2);
	cr_expect_eq(r.v[1].offset, 4096);
	cr_expect_eq(r.page_size, 4096);
	cr_assert_eq(parse("[{\"base_host_virt_addr\":2097152,\"size\":4194304,\"offset\":0,"
			   "\"page_size\":2097152,\"page_size_kib\":2097152}]",
			   &r, &err),
		     0, "%s", err.msg);
	cr_expect_eq(r.n, 1);
	cr_expect_eq(r.page_size, 2097152);
}

#define R(base, size, offset)                                                    \
	"{\"base_host_virt_addr\":" base ",\"size\":" size ",\"offset\":" offset \
	",\"page_size\":4096}"

static const struct {
	const char *text, *message;
} hostile[] = {
	{"", "invalid JSON at byte 0: unexpected end of data"},
	{"]", "invalid JSON at byte 0: unexpected character"},
	{"{}", "expected a list of regions"},
	{"null", "expected a list of regions"},
	{"[]", "expected 1 to 16 regions, got 0"},
	{"[1]", "region 0 is not an object"},
	{"[null]", "region 0 is not an object"},
	{"[{}]", "key 'base_host_virt_addr' is missing, wanted a whole number"},
	{"[" R("\"1\"", "4096", "0") "]",
	 "key 'base_host_virt_addr': wanted a whole number, got string"},
	{"[" R("4096.5", "4096", "0") "]",
	 "key 'base_host_virt_addr': wanted a whole number, got double"},
	{"[" R("-4096", "4096", "0") "]", "key 'base_host_virt_addr': wanted 0 or more, got -4096"},
	{"[" R("4096", "-1", "0") "]", "key 'size': wanted 0 or more, got -1"},
	{"[" R("4096", "0", "0") "]",
	 "memory region at 0x1000, size 0x0, offset 0x0: expected whole pages of 4096 bytes"},
	{"[" R("4096", "100", "0") "]",
	 "memory region at 0x1000, size 0x64, offset 0x0: expected whole pages of 4096 bytes"},
	{"[" R("18446744073709547520", "8192", "0") "]",
	 "memory region at 0xfffffffffffff000, size 0x2000 ends beyond the address space"},
	{"[" R("99999999999999999999999999", "4096", "0") "]",
	 "memory region at 0xffffffffffffffff, size 0x1000, offset 0x0: expected whole pages of "
	 "4096 bytes"},
	{"[" R("4096", "134221824", "0") "]",
	 "memory region at offset 0x0, size 0x8001000: expected it inside the memory file of "
	 "0x8000000 bytes"},
	{"[" R("4096", "4096", "134217728") "]",
	 "memory region at offset 0x8000000, size 0x1000: expected it inside the memory file of "
	 "0x8000000 bytes"},
	{"[" R("4096", "4096", "18446744073709547520") "]",
	 "memory region at offset 0xfffffffffffff000, size 0x1000: expected it inside the memory "
	 "file of 0x8000000 bytes"},
	{"[" R("4096", "8192", "0") "," R("8192", "4096", "8192") "]",
	 "memory regions at 0x1000 and 0x2000 overlap"},
	{"[" R("4096", "8192", "0") "," R("65536", "4096", "4096") "]",
	 "memory regions at 0x1000 and 0x10000 overlap"},
	{"[{\"base_host_virt_addr\":1073741824,\"size\":1073741824,\"offset\":0,\"page_size\":"
	 "1073741824}]",
	 "memory in pages of 1073741824 bytes, expected 4096 or 2097152"},
	{"[{\"base_host_virt_addr\":4096,\"size\":2097152,\"offset\":0,\"page_size\":2097152}]",
	 "memory region at 0x1000, size 0x200000, offset 0x0: expected whole pages of 2097152 "
	 "bytes"},
	{"[{\"base_host_virt_addr\":2097152,\"size\":2097152,\"offset\":0,\"page_size\":2097152}"
	 "," R("4096", "4096", "2097152") "]",
	 "memory in pages of 2097152 and of 4096 bytes, expected one size"},
	{"[{\"base_host_virt_addr\":4096,\"size\":4096,\"offset\":0}]",
	 "memory in pages of 0 bytes, expected 4096 or 2097152"},
	{"[" R("4096", "4096", "0") "] x", "invalid JSON at byte 71: more text after the value"},
};

Test(handshake, a_layout_that_makes_no_sense_is_refused_with_a_sentence)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct regions r = {.n = 77};
		struct err err = {0};

		cr_expect_lt(parse(hostile[i].text, &r, &err), 0, "%s", hostile[i].text);
		cr_expect_eq(strncmp(err.msg, "memory layout: ", 15), 0, "%s", err.msg);
		cr_expect_str_eq(err.msg + 15, hostile[i].message);
		cr_expect_eq(r.n, 77, "untouched");
	}
}

Test(handshake, seventeen_regions_and_deep_nesting_are_too_much)
{
	auto_buf struct buf text = BUF_INIT(65536);
	struct regions r = {.n = 0};
	struct err err = {0};

	for (int i = 0; i < 17; i++)
		buf_addf(&text,
			 "%s{\"base_host_virt_addr\":%d,\"size\":4096,\"offset\":%d,"
			 "\"page_size\":4096}",
			 i ? "," : "[", (i + 1) * 4096, i * 4096);
	buf_add_char(&text, ']');
	cr_expect_eq(parse(buf_str(&text), &r, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "memory layout: expected 1 to 16 regions, got 17");
	buf_reset(&text);
	for (int i = 0; i < 4000; i++)
		buf_add_char(&text, '[');
	cr_expect_eq(parse(buf_str(&text), &r, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "memory layout: invalid JSON at byte 32: nesting too deep");
}

/* --- receiving --- */

struct wire {
	int ours, theirs;
	struct handshake h;
};

static void wire_free(struct wire *w)
{
	cleanup_close_p(&w->ours);
	cleanup_close_p(&w->theirs);
	handshake_free(&w->h);
}
#define auto_wire __attribute__((cleanup(wire_free)))

static void wire_init(struct wire *w)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	w->ours = pair[0];
	w->theirs = pair[1];
	handshake_init(&w->h);
}

static void send_to(const struct wire *w, const char *text, const int *fds, size_t n)
{
	struct err err = {0};

	cr_assert_eq(io_send_fds(w->theirs, text, strlen(text), fds, n, &err), 0, "%s", err.msg);
}

Test(handshake, text_and_descriptor_are_waited_for_in_any_portions)
{
	auto_wire struct wire w;
	struct err err = {0};

	wire_init(&w);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), 0);
	send_to(&w, "[{", NULL, 0);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), 0);
	send_to(&w, "}]", NULL, 0);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), 0, "no descriptor yet");
	send_to(&w, " \n", &w.theirs, 1);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), 1);
	cr_expect_geq(w.h.uffd, 0);
	cr_expect_eq(w.h.len, 6);
}

Test(handshake, more_text_than_any_layout_needs_is_refused)
{
	auto_wire struct wire w;
	auto_buf struct buf text = BUF_INIT(65536);
	struct err err = {0};

	wire_init(&w);
	for (unsigned int i = 0; i < HANDSHAKE_TEXT_MAX + 1; i++)
		buf_add_char(&text, ' ');
	send_to(&w, buf_str(&text), NULL, 0);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "memory layout longer than 8192 bytes");
}

Test(handshake, hanging_up_before_the_end_is_an_error)
{
	auto_wire struct wire w;
	struct err err = {0};

	wire_init(&w);
	send_to(&w, "[", &w.ours, 1);
	cleanup_close_p(&w.theirs);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "the VM hung up in the middle of its hand-off");
}

Test(handshake, too_many_descriptors_are_refused_and_all_closed)
{
	auto_wire struct wire w;
	struct err err = {0};
	int ends[2];
	char byte;

	wire_init(&w);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	send_to(&w, "[]", (int[]){ends[1], ends[1], ends[1], ends[1], ends[1]}, 5);
	cr_expect_eq(handshake_read(&w.h, w.ours, &err), -EPROTO);
	(void)close(ends[1]);
	cr_expect_eq(read(ends[0], &byte, 1), 0);
	(void)close(ends[0]);
}

Test(handshake, a_descriptor_of_another_kind_is_refused)
{
	auto_wire struct wire w;
	struct regions r = {.n = 0};
	struct err err = {0};
	int uffd = -1;

	wire_init(&w);
	send_to(&w, "[" R("4096", "4096", "0") "]", &w.theirs, 1);
	cr_assert_eq(handshake_read(&w.h, w.ours, &err), 1);
	cr_expect_eq(handshake_finish(&w.h, FILE_SIZE, &r, &uffd, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "the VM sent another kind of descriptor, expected a userfaultfd");
	cr_expect_eq(uffd, -1);
}

/* --- the peer --- */

Test(handshake, only_that_user_that_pid_and_that_start_time_is_the_peer)
{
	auto_wire struct wire w;
	struct proc_id self;
	struct err err = {0};

	wire_init(&w);
	cr_assert_eq(proc_id_of(getpid(), &self, &err), 0);
	cr_expect_eq(handshake_check_peer(w.ours, getuid(), &self, self.boot_id, &err), 0);
	cr_expect_eq(handshake_check_peer(w.ours, getuid() + 1, &self, self.boot_id, &err), -EPERM);
	cr_expect(strstr(err.msg, "connected, expected process"), "%s", err.msg);

	struct proc_id other = self;
	other.pid = getppid();
	cr_expect_eq(handshake_check_peer(w.ours, getuid(), &other, self.boot_id, &err), -EPERM);
	other = self;
	other.start_time--;
	cr_expect_eq(handshake_check_peer(w.ours, getuid(), &other, self.boot_id, &err), -ESRCH);
	cr_expect(strstr(err.msg, "it started at another time"), "%s", err.msg);
	cr_expect_eq(handshake_check_peer(w.ours, getuid(), &self, "another-boot", &err), -ESRCH);
}
