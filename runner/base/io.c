#include "io.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 32

uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t deadline_in(uint64_t ms)
{
	uint64_t now = now_ms();

	return ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
}

int deadline_left(uint64_t deadline_ms)
{
	if (!deadline_ms)
		return -1;
	uint64_t now = now_ms();
	if (now >= deadline_ms)
		return 0;
	return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

int io_wait(int fd, short events, uint64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int left = deadline_left(deadline_ms);
		int r = poll(&p, 1, left);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			return p.revents & POLLNVAL ? -EBADF : 1;
		if (r == 0 && left != INT_MAX)
			return 0;
	}
}

/* --- whole reads and writes --- */

/* Where a deadline counts, one read or write must not outlast it, even on a blocking descriptor:
 * sockets have MSG_DONTWAIT, and a pipe that polls writable takes PIPE_BUF bytes. */
static bool ready_now(int fd, short events)
{
	int r = io_wait(fd, events, deadline_in(0));

	errno = r < 0 ? -r : EAGAIN;
	return r > 0;
}

static ssize_t read_some(int fd, void *data, size_t len, bool bounded)
{
	ssize_t n = recv(fd, data, len, bounded ? MSG_DONTWAIT : 0);

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (bounded && !ready_now(fd, POLLIN))
		return -1;
	return read(fd, data, len);
}

static ssize_t write_some(int fd, const void *data, size_t len, bool bounded)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | (bounded ? MSG_DONTWAIT : 0));

	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (!bounded)
		return write(fd, data, len);
	if (!ready_now(fd, POLLOUT))
		return -1;
	return write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

static int wait_again(int fd, short events, uint64_t deadline_ms, struct err *err, const char *what)
{
	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return err_sys(err, "cannot %s", what);
	int r = io_wait(fd, events, deadline_ms);
	if (r < 0)
		return err_sys_code(err, r, "cannot wait to %s", what);
	if (r == 0)
		return err_set(err, ERR_FAILED, -ETIMEDOUT, "cannot %s: the deadline has passed",
			       what);
	return 0;
}

int io_read_full(int fd, void *data, size_t len, uint64_t deadline_ms, struct err *err)
{
	uint8_t *at = data;
	size_t done = 0;

	while (done < len) {
		ssize_t n = read_some(fd, at + done, len - done, deadline_ms != 0);

		if (n == 0)
			return done ? err_set(err, ERR_FAILED, -ECONNRESET,
					      "the peer ended after %zu of %zu bytes", done, len)
				    : err_set(err, ERR_FAILED, -EPIPE,
					      "the peer has closed the connection");
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		int r = wait_again(fd, POLLIN, deadline_ms, err, "read");
		if (r < 0)
			return r;
	}
	return 0;
}

int io_write_full(int fd, const void *data, size_t len, uint64_t deadline_ms, struct err *err)
{
	const uint8_t *at = data;
	size_t done = 0;

	while (done < len) {
		ssize_t n = write_some(fd, at + done, len - done, deadline_ms != 0);

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		int r = wait_again(fd, POLLOUT, deadline_ms, err, "write");
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0)
		return -errno;
	int want = on ? flags | flag : flags & ~flag;
	if (want != flags && fcntl(fd, set, want) < 0)
		return -errno;
	return 0;
}

int io_set_nonblock(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int io_set_cloexec(int fd, bool on)
{
	return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int64_t io_unix_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void io_time_rfc3339(int64_t unix_ms, char ret[IO_TIME_SIZE])
{
	/* Years 0000 to 9999, so that the text always has 24 characters. */
	const int64_t first = -62167219200000, last = 253402300799999;
	struct tm tm = {0};

	if (unix_ms < first)
		unix_ms = first;
	if (unix_ms > last)
		unix_ms = last;
	int64_t ms = ((unix_ms % 1000) + 1000) % 1000;
	time_t t = (time_t)((unix_ms - ms) / 1000);
	(void)gmtime_r(&t, &tm);
	(void)snprintf(ret, IO_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		       (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		       (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
		       (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)ms % 1000);
}

void io_uuid(char ret[37])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t b[16];
	char *at = ret;

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		abort();
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[b[i] >> 4];
		*at++ = digits[b[i] & 15];
	}
	*at = '\0';
}

/* --- Unix sockets --- */

int io_send_fds(int sock, const void *data, size_t len, const int *fds, size_t n_fds,
		struct err *err)
{
	/* sendmsg only reads, but iovec has no const. */
	union {
		const void *in;
		void *out;
	} bytes = {.in = data};
	struct iovec iov = {.iov_base = bytes.out, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;

	if (n_fds > FDS_MAX || (n_fds && !len))
		return err_set(err, ERR_FAILED, -EINVAL,
			       "cannot pass %zu descriptors with %zu bytes", n_fds, len);
	if (n_fds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = &control.align; /* the first header */

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	ssize_t n;
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "cannot send a message");
	/* The descriptors went with the first byte; the rest is an ordinary stream. */
	return io_write_full(sock, (const char *)data + n, len - (size_t)n, 0, err);
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* musl's macro mixes signs. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
static struct cmsghdr *next_control(struct msghdr *msg, struct cmsghdr *c)
{
	return CMSG_NXTHDR(msg, c);
}
#pragma GCC diagnostic pop

/* Collects every descriptor of the message: also those nobody asked for have to be closed. */
static size_t collect_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = next_control(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = ((size_t)c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count && n < FDS_MAX; i++)
			memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

ssize_t io_recv_fds(int sock, void *data, size_t size, int *ret_fds, size_t max_fds,
		    size_t *ret_n_fds, int flags, struct err *err)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	int fds[FDS_MAX];
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "cannot receive a message");
	size_t n_fds = collect_fds(&msg, fds);
	if (n_fds > max_fds || (msg.msg_flags & MSG_CTRUNC)) {
		close_all(fds, n_fds);
		return err_set(err, ERR_FAILED, -EPROTO,
			       "the peer sent more descriptors than the %zu expected", max_fds);
	}
	if (n_fds)
		memcpy(ret_fds, fds, n_fds * sizeof(int));
	*ret_n_fds = n_fds;
	return n;
}

/* The address of path; *ret_dir keeps the directory open while a /proc path stands in for it. */
static int make_address(const char *path, struct sockaddr_un *addr, int *ret_dir, struct err *err)
{
	const char *slash = strrchr(path, '/');

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(addr->sun_path)) {
		memcpy(addr->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!slash || slash == path)
		return err_set(err, ERR_FAILED, -ENAMETOOLONG, "socket name '%s' is too long",
			       path);
	auto_free char *parent = xstrndup(path, (size_t)(slash - path));
	auto_close int dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "cannot open directory of socket '%s'", path);
	int n = snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d%s", dir, slash);
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
		return err_set(err, ERR_FAILED, -ENAMETOOLONG, "socket name '%s' is too long",
			       slash + 1);
	*ret_dir = TAKE_FD(dir);
	return 0;
}

int io_unix_listen(const char *path, int backlog, int *ret_fd, struct err *err)
{
	auto_close int dir = -1;
	struct sockaddr_un addr;
	struct stat st;
	int r = make_address(path, &addr, &dir, err);

	if (r < 0)
		return r;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, ERR_FAILED, -EEXIST,
				       "cannot listen on '%s': it exists and is not a socket",
				       path);
		if (unlink(path) < 0 && errno != ENOENT)
			return err_sys(err, "cannot remove old socket '%s'", path);
	}
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, backlog) < 0)
		return err_sys(err, "cannot listen on '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A full backlog makes connect() block, and poll() cannot wait for it: the send timeout does. */
static int set_send_timeout(int fd, int left_ms)
{
	struct timeval tv = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000L};

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

int io_unix_connect(const char *path, uint64_t deadline_ms, int *ret_fd, struct err *err)
{
	auto_close int dir = -1;
	struct sockaddr_un addr;
	int r = make_address(path, &addr, &dir, err);

	if (r < 0)
		return r;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, "cannot make a socket");
	do {
		int left = deadline_left(deadline_ms);
		if (left == 0)
			left = 1;
		if (set_send_timeout(fd, left < 0 ? 0 : left) < 0)
			return err_sys(err, "cannot set a timeout");
		r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		return err_set(err, ERR_FAILED, -ETIMEDOUT,
			       "cannot connect to '%s': nobody accepted in time", path);
	if (r < 0)
		return err_sys(err, "cannot connect to '%s'", path);
	if (set_send_timeout(fd, 0) < 0)
		return err_sys(err, "cannot set a timeout");
	*ret_fd = TAKE_FD(fd);
	return 0;
}
