/* bench_memory.c - the page server beside what the kernel can do at all, in the same run.
 *
 *   raw_uffdio_copy  a loop of 4 KiB UFFDIO_COPY into memory nobody waits for: the limit
 *   bare_handler     a process of poll, read and UFFDIO_COPY and nothing else: the limit with
 * faults
 *
 * One JSON object a line on stdout; rounds are interleaved and the medians compared. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "memserver.h"
#include "xalloc.h"

#define PAGE 4096u
#define PAGES 16384u /* 64 MiB */
#define SIZE ((size_t)PAGES * PAGE)
#define ROUNDS 9
#define THREADS_MAX 8
#define SERVER_UID 65534

static const unsigned int thread_counts[] = {1, 2, 8};

struct bench {
	char dir[64];
	char *memory, *sock;
	unsigned char *source; /* the memory file, mapped, in the page cache */
	pid_t server;
};

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void check(int r, const struct err *err)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "bench_memory: %s\n", err->msg);
	exit(1);
}

static double seconds(void)
{
	return bench_now_ms() / 1e3;
}

/* --- memory that faults --- */

struct area {
	unsigned char *mem;
	int uffd;
};

static struct area area_new(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
	struct area a = {.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	a.mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	reg.range.start = (uintptr_t)a.mem;
	reg.range.len = SIZE;
	if (a.uffd < 0 || a.mem == MAP_FAILED || ioctl(a.uffd, UFFDIO_API, &api) < 0 ||
	    ioctl(a.uffd, UFFDIO_REGISTER, &reg) < 0)
		die("userfaultfd");
	return a;
}

static void area_free(struct area *a)
{
	(void)munmap(a->mem, SIZE);
	(void)close(a->uffd);
}

struct toucher {
	const struct area *area;
	unsigned int first, step;
};

static void *touch(void *data)
{
	const struct toucher *t = data;

	for (size_t page = t->first; page < PAGES; page += t->step)
		*(volatile unsigned char *)(t->area->mem + page * PAGE) = 1;
	return NULL;
}

/* Pages a second with that many threads faulting, each on its own pages. */
static double touch_all(const struct area *a, unsigned int threads)
{
	pthread_t ids[THREADS_MAX];
	struct toucher touchers[THREADS_MAX];
	double start = seconds();

	for (unsigned int i = 0; i < threads; i++) {
		touchers[i] = (struct toucher){a, i, threads};
		if (pthread_create(&ids[i], NULL, touch, &touchers[i]) != 0)
			die("pthread_create");
	}
	for (unsigned int i = 0; i < threads; i++)
		(void)pthread_join(ids[i], NULL);
	return PAGES / (seconds() - start);
}

/* --- the limits --- */

static double raw_copy(const struct bench *b)
{
	struct area a = area_new();
	double start = seconds();

	for (size_t page = 0; page < PAGES; page++) {
		struct uffdio_copy copy = {.dst = (uintptr_t)a.mem + page * PAGE,
					   .src = (uintptr_t)b->source + page * PAGE,
					   .len = PAGE};

		if (ioctl(a.uffd, UFFDIO_COPY, &copy) < 0)
			die("UFFDIO_COPY");
	}
	double rate = PAGES / (seconds() - start);
	area_free(&a);
	return rate;
}

/* Until it is killed. */
__attribute__((noreturn)) static void handle(const struct bench *b, const struct area *area)
{
	struct pollfd p = {.fd = area->uffd, .events = POLLIN};
	struct uffd_msg msgs[64];

	for (;;) {
		ssize_t n = poll(&p, 1, -1) > 0 ? read(area->uffd, msgs, sizeof(msgs)) : 0;

		for (ssize_t i = 0; i < n / (ssize_t)sizeof(msgs[0]); i++) {
			uintptr_t at = msgs[i].arg.pagefault.address & ~(uintptr_t)(PAGE - 1);
			struct uffdio_copy copy = {.dst = at,
						   .src = (uintptr_t)b->source + at -
							  (uintptr_t)area->mem,
						   .len = PAGE};

			if (ioctl(area->uffd, UFFDIO_COPY, &copy) < 0)
				_exit(1);
		}
	}
}

static double bare_handler(const struct bench *b, unsigned int threads)
{
	struct area area = area_new();
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		handle(b, &area);
	double rate = touch_all(&area, threads);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	area_free(&area);
	return rate;
}

/* --- the page server --- */

static void hand_off(const char *path, const struct area *a)
{
	struct err err = {0};
	auto_close int sock = -1;
	auto_free char *text = xasprintf("[{\"base_host_virt_addr\":%ju,\"size\":%zu,\"offset\":0,"
					 "\"page_size\":4096,\"page_size_kib\":4096}]",
					 (uintmax_t)(uintptr_t)a->mem, SIZE);

	check(io_unix_connect(path, deadline_in(5000), &sock, &err), &err);
	check(io_send_fds(sock, text, strlen(text), &a->uffd, 1, &err), &err);
	/* The server holds on to its end and does not need ours. */
}

static double served(const struct bench *b, unsigned int threads)
{
	auto_free char *path = xasprintf("%s/uffd.sock", b->dir);
	struct memserver_announce announce = {.vm_id = "bench", .uid = getuid()};
	struct area a = area_new();
	struct proc_id server;
	struct err err = {0};
	auto_close int listen_fd = -1;
	auto_close int conn = -1;

	check(proc_id_of(getpid(), &announce.vmm, &err), &err);
	check(io_unix_listen(path, 1, &listen_fd, &err), &err);
	announce.listen_fd = listen_fd;
	check(memserver_connect(b->sock, &announce, deadline_in(5000), &conn, &server, &err), &err);
	hand_off(path, &a);
	while (true) {
		int r = io_wait(conn, POLLIN, deadline_in(5000));
		if (r > 0)
			r = memserver_read(conn, &err);
		check(r, &err);
		if (r > 0)
			break;
	}
	double rate = touch_all(&a, threads);
	area_free(&a);
	return rate;
}

/* --- the whole --- */

static void start(struct bench *b)
{
	struct err err = {0};
	int ready[2];
	char byte = 0;

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/fcvm-bench-memory-XXXXXX");
	if (!mkdtemp(b->dir))
		die(b->dir);
	b->memory = path_join(b->dir, "memory");
	b->sock = path_join(b->dir, "server.sock");
	auto_close int fd = open(b->memory, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0)
		die(b->memory);
	b->source = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (b->source == MAP_FAILED || pipe2(ready, O_CLOEXEC) < 0)
		die("mmap");
	memset(b->source, 0xa5, SIZE);
	b->server = fork();
	if (b->server == 0) {
		const struct memserver_spec spec = {.dir = b->dir,
						    .memory = b->memory,
						    .uid = SERVER_UID,
						    .gid = SERVER_UID,
						    .foreground = true};

		(void)close(ready[0]);
		_exit(memserver_main(&spec, ready[1], &err));
	}
	(void)close(ready[1]);
	if (read(ready[0], &byte, 1) != 1 || byte != 'R')
		die("the page server did not start");
	(void)close(ready[0]);
}

static void end(struct bench *b)
{
	struct err err = {0};

	check(memserver_stop(b->sock, true, deadline_in(5000), &err), &err);
	(void)waitpid(b->server, NULL, 0);
	check(file_remove_tree(b->dir, &err), &err);
	free(b->memory);
	free(b->sock);
}

static double median(double v[ROUNDS])
{
	return bench_quantile(v, ROUNDS, 0.5);
}

static void print(const char *name, double value, const char *unit, const char *peer,
		  double peer_value)
{
	bench_print(&(struct bench_row){name, value, unit, peer, peer_value, ROUNDS});
}

int main(void)
{
	double raw[ROUNDS], bare[ARRAY_SIZE(thread_counts)][ROUNDS];
	double ours[ARRAY_SIZE(thread_counts)][ROUNDS];
	struct bench b = {.server = -1};

	start(&b);
	for (int round = 0; round < ROUNDS; round++) {
		raw[round] = raw_copy(&b);
		for (size_t i = 0; i < ARRAY_SIZE(thread_counts); i++) {
			bare[i][round] = bare_handler(&b, thread_counts[i]);
			ours[i][round] = served(&b, thread_counts[i]);
		}
	}
	double limit = median(raw), best = 0;
	for (size_t i = 0; i < ARRAY_SIZE(thread_counts); i++) {
		auto_free char *name = xasprintf("memory.fault_rate.%u", thread_counts[i]);
		double rate = median(ours[i]);

		best = rate > best ? rate : best;
		print(name, rate, "faults/s", "bare_handler", median(bare[i]));
	}
	print("memory.fault_rate", best, "faults/s", "raw_uffdio_copy", limit);
	print("memory.fault_bandwidth", best * PAGE / 1e9, "GB/s", "raw_uffdio_copy",
	      limit * PAGE / 1e9);
	end(&b);
	return 0;
}
