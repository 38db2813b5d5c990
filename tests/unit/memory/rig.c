#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define WAIT_MS 10000

/* memserver_spawn runs `<exe> internal memserver ...`: this very program, before Criterion looks
 * at the arguments. */
static void __attribute__((constructor)) be_memserver(int argc, char **argv)
{
	int status = 1;

	if (argc < 3 || strcmp(argv[1], "internal") != 0 || strcmp(argv[2], "memserver") != 0)
		return;
	struct err err = {0};
	if (memserver_internal(argc - 2, argv + 2, &status, &err) < 0)
		(void)fprintf(stderr, "%s\n", err.msg);
	_exit(status);
}

unsigned char rig_byte(size_t offset)
{
	size_t page = offset / PAGE;

	if (page % 4 == RIG_ZEROED || page % 4 == RIG_HOLE)
		return 0;
	/* Never zero, and different for neighbours in both directions. */
	return (unsigned char)(1 + (page * 37 + offset % PAGE * 11) % 255);
}

bool rig_page_is_right(const unsigned char *page, size_t number)
{
	for (size_t i = 0; i < PAGE; i++)
		if (page[i] != rig_byte(number * PAGE + i))
			return false;
	return true;
}

bool rig_page_is_zero(const unsigned char *page)
{
	for (size_t i = 0; i < PAGE; i++)
		if (page[i] != 0)
			return false;
	return true;
}

const char *rig_digest(const char *path)
{
	static char hex[DIGEST_HEX_SIZE];
	struct err err = {0};

	cr_assert_eq(digest_file(path, hex, &err), 0, "%s", err.msg);
	return hex;
}

uint64_t rig_random(uint64_t *seed, uint64_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % n;
}

static void write_memory(const char *path, size_t pages)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	unsigned char page[PAGE];

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	for (size_t n = 0; n < pages; n++) {
		if (n % 4 == RIG_HOLE)
			continue;
		for (size_t i = 0; i < PAGE; i++)
			page[i] = rig_byte(n * PAGE + i);
		cr_assert_eq(pwrite(fd, page, PAGE, (off_t)(n * PAGE)), (ssize_t)PAGE);
	}
	/* Blocks are given out at write-back: a later stat must not differ by that alone. */
	cr_assert_eq(fsync(fd), 0);
}

void rig_prepare(struct rig *rig, size_t pages)
{
	*rig = (struct rig){.pages = pages};
	rig->dir = tmpdir_new("memory");
	cr_assert_eq(chmod(rig->dir, 0711), 0); /* VMMs of other users connect below it */
	rig->memory = path_join(rig->dir, "memory");
	rig->sock = path_join(rig->dir, "server.sock");
	rig->host = (struct host){.data_dir = rig->dir, .exe = realpath("/proc/self/exe", NULL)};
	write_memory(rig->memory, pages);
}

void rig_start(struct rig *rig, size_t pages)
{
	rig_prepare(rig, pages);
	rig_spawn(rig);
}

void rig_spawn(struct rig *rig)
{
	struct err err = {0};
	const struct memserver_spec spec = {.dir = rig->dir,
					    .memory = rig->memory,
					    .tag = "test/memserver/x",
					    .uid = RIG_UID,
					    .gid = RIG_UID,
					    .foreground = true,
					    .deadline_ms = deadline_in(memserver_start_ms(0))};
	cr_assert_eq(memserver_spawn(&rig->host, &spec, &rig->server, &err), 0, "%s", err.msg);
}

/* What a sanitizer finds in the server process is a failure of the test that ran it. */
static void expect_clean_log(const struct rig *rig)
{
	auto_free char *path = path_join(rig->dir, "server.log");
	auto_buf struct buf text = BUF_INIT(1u << 20);

	if (file_read(path, 1u << 20, &text, NULL) < 0)
		return;
	cr_expect(!strstr(buf_str(&text), "Sanitizer") && !strstr(buf_str(&text), "runtime error"),
		  "%s", buf_str(&text));
}

void rig_stop(struct rig *rig)
{
	struct err err = {0};

	if (rig->server.pid > 0)
		cr_expect_eq(memserver_stop(rig->sock, true, deadline_in(WAIT_MS), &err), 0, "%s",
			     err.msg);
	expect_clean_log(rig);
	tmpdir_remove(&rig->dir);
	free(rig->memory);
	free(rig->sock);
	free(rig->host.exe);
}

void rig_kill(struct rig *rig, int sig)
{
	auto_close int pidfd = -1;
	int status = 0;

	cr_assert_eq(proc_id_open(&rig->server, rig->server.boot_id, &pidfd), 0);
	cr_assert_eq(proc_signal(pidfd, sig), 0);
	if (sig != SIGKILL)
		return;
	cr_assert_eq(proc_wait(pidfd, deadline_in(WAIT_MS), &status, NULL), 0);
	rig->server.pid = 0;
}

void rig_expect(struct rig *rig, const char *name, uint64_t value)
{
	uint64_t deadline = deadline_in(WAIT_MS);
	uint64_t have = 0;

	while ((have = rig_metric(rig, name)) != value && deadline_left(deadline) > 0)
		(void)poll(NULL, 0, 1);
	cr_expect_eq(have, value, "%s: %ju, expected %ju", name, (uintmax_t)have, (uintmax_t)value);
}

uint64_t rig_metric(struct rig *rig, const char *name)
{
	auto_json struct json_object *o = NULL;
	struct json_object *totals = NULL;
	struct err err = {0};
	uint64_t value = 0;

	cr_assert_eq(memserver_metrics(rig->sock, deadline_in(WAIT_MS), &o, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(json_get_obj(o, "totals", &totals, &err), 0, "%s", err.msg);
	cr_assert_eq(json_get_u64(totals, name, &value, &err), 0, "%s", err.msg);
	return value;
}

void guest_init(struct guest *g)
{
	*g = (struct guest){.page_size = PAGE, .uffd = -1, .sock = -1, .listen = -1, .conn = -1};
}

void guest_init_huge(struct guest *g)
{
	guest_init(g);
	g->page_size = HUGE;
}

void guest_free(struct guest *g)
{
	cleanup_close_p(&g->conn);
	cleanup_close_p(&g->sock);
	cleanup_close_p(&g->listen);
	if (g->mem)
		(void)munmap(g->mem, g->len);
	cleanup_close_p(&g->uffd);
	free(g->path);
}

int guest_announce(struct rig *rig, struct guest *g, const char *id, pid_t pid, uid_t uid,
		   struct err *err)
{
	struct memserver_announce a = {.vm_id = id, .uid = uid};
	struct proc_id server;
	int r;

	cr_assert_eq(proc_id_of(pid, &a.vmm, err), 0, "%s", err->msg);
	g->path = xasprintf("%s/%s.sock", rig->dir, id);
	cr_assert_eq(io_unix_listen(g->path, 8, &g->listen, err), 0, "%s", err->msg);
	cr_assert_eq(chmod(g->path, 0777), 0);
	a.listen_fd = g->listen;
	r = memserver_connect(rig->sock, &a, deadline_in(WAIT_MS), &g->conn, &server, err);
	if (r == 0)
		cr_assert_eq(server.pid, rig->server.pid);
	return r;
}

void guest_map(struct guest *g, size_t pages, uint64_t features)
{
	int huge = g->page_size == HUGE ? MAP_HUGETLB | MAP_HUGE_2MB : 0;
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	g->len = pages * PAGE;
	g->mem = mmap(NULL, g->len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | huge, -1, 0);
	cr_assert_neq(g->mem, MAP_FAILED);
	g->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	cr_assert_geq(g->uffd, 0);
	cr_assert_eq(ioctl(g->uffd, UFFDIO_API, &api), 0);
	reg.range.start = (uintptr_t)g->mem;
	reg.range.len = g->len;
	cr_assert_eq(ioctl(g->uffd, UFFDIO_REGISTER, &reg), 0);
}

void guest_connect(struct guest *g)
{
	struct err err = {0};

	cr_assert_eq(io_unix_connect(g->path, deadline_in(WAIT_MS), &g->sock, &err), 0, "%s",
		     err.msg);
}

void guest_send(const struct guest *g, const char *text, const int *fds, size_t n_fds)
{
	struct err err = {0};

	cr_assert_eq(io_send_fds(g->sock, text, strlen(text), fds, n_fds, &err), 0, "%s", err.msg);
}

void guest_hand_off(struct guest *g)
{
	auto_free char *text =
		xasprintf("[{\"base_host_virt_addr\":%ju,\"size\":%zu,\"offset\":0,"
			  "\"page_size\":%zu,\"page_size_kib\":%zu}]",
			  (uintmax_t)(uintptr_t)g->mem, g->len, g->page_size, g->page_size);

	guest_connect(g);
	guest_send(g, text, &g->uffd, 1);
}

int guest_listen(const struct guest *g, struct err *err)
{
	uint64_t deadline = deadline_in(WAIT_MS);
	int r = 0;

	while (r == 0) {
		if (io_wait(g->conn, POLLIN, deadline) == 0)
			return err_set(err, ERR_FAILED, -ETIMEDOUT, "nothing came");
		r = memserver_read(g->conn, err);
	}
	return r;
}

void guest_start(struct rig *rig, struct guest *g, const char *id)
{
	struct err err = {0};

	cr_assert_eq(guest_announce(rig, g, id, getpid(), getuid(), &err), 0, "%s", err.msg);
	guest_map(g, rig->pages, UFFD_FEATURE_EVENT_REMOVE);
	guest_hand_off(g);
	cr_assert_eq(guest_listen(g, &err), 1, "%s", err.msg);
}

static int run_vmm(struct rig *rig, struct guest *g, uid_t uid, int go, guest_fn fn, void *data)
{
	char byte;

	guest_map(g, rig->pages, UFFD_FEATURE_EVENT_REMOVE);
	if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return 99;
	/* A test that fails half way leaves no process behind. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || read(go, &byte, 1) != 1)
		return 99;
	return fn(g, data);
}

pid_t guest_fork(struct rig *rig, struct guest *g, const char *id, uid_t uid, guest_fn fn,
		 void *data)
{
	struct err err = {0};
	int go[2];

	cr_assert_eq(pipe2(go, O_CLOEXEC), 0);
	g->path = xasprintf("%s/%s.sock", rig->dir, id);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(run_vmm(rig, g, uid, go[0], fn, data));
	free(g->path);
	cr_assert_eq(guest_announce(rig, g, id, pid, uid, &err), 0, "%s", err.msg);
	cr_assert_eq(write(go[1], "g", 1), 1);
	(void)close(go[0]);
	(void)close(go[1]);
	return pid;
}

int guest_wait(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void guest_check_all(const struct guest *g)
{
	for (size_t page = 0; page < g->len / PAGE; page++)
		cr_assert(rig_page_is_right(g->mem + page * PAGE, page), "page %zu", page);
}

int guest_scribble(struct guest *g, void *data)
{
	int wrong = 0;

	(void)data;
	guest_hand_off(g);
	for (size_t page = 0; page < g->len / PAGE; page++) {
		wrong |= !rig_page_is_right(g->mem + page * PAGE, page);
		memset(g->mem + page * PAGE, 0xee, PAGE);
	}
	return wrong;
}
