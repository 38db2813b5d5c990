/* io.h - whole reads and writes with a deadline, descriptor passing, time. */
#ifndef FCVM_BASE_IO_H
#define FCVM_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* Monotonic milliseconds (CLOCK_BOOTTIME); deadlines are absolute values of it, 0 = none. */
uint64_t now_ms(void);
uint64_t deadline_in(uint64_t ms);
/* Time left for poll(): -1 for no deadline, 0 when passed. */
int deadline_left(uint64_t deadline_ms);

/* All bytes or an error: -ETIMEDOUT at the deadline, -EPIPE / -ECONNRESET at the end of the peer.
 * Work on blocking and non-blocking descriptors; restart on EINTR. Return 0. */
int io_read_full(int fd, void *data, size_t len, uint64_t deadline_ms, struct err *err);
int io_write_full(int fd, const void *data, size_t len, uint64_t deadline_ms, struct err *err);
/* Waits for events (POLLIN...); 1 ready, 0 deadline passed, negative errno. */
int io_wait(int fd, short events, uint64_t deadline_ms);
int io_set_nonblock(int fd, bool on);
int io_set_cloexec(int fd, bool on);

/* One message of len bytes with up to n_fds descriptors (SCM_RIGHTS). */
int io_send_fds(int sock, const void *data, size_t len, const int *fds, size_t n_fds,
		struct err *err);
/* One recvmsg (flags 0 or MSG_DONTWAIT); *ret_n_fds <= max_fds, more are closed and reported as
 * -EPROTO. Descriptors are close-on-exec and the caller's. Returns bytes, 0 at end of file. */
ssize_t io_recv_fds(int sock, void *data, size_t size, int *ret_fds, size_t max_fds,
		    size_t *ret_n_fds, int flags, struct err *err);

/* Unix stream sockets by path. Paths longer than sun_path go through /proc/self/fd of the
 * directory, so any instance directory works. Both descriptors are close-on-exec. */
int io_unix_listen(const char *path, int backlog, int *ret_fd, struct err *err); /* unlinks first */
int io_unix_connect(const char *path, uint64_t deadline_ms, int *ret_fd, struct err *err);
/* A socket somebody we do not trust has made: dir/name is connected to if it is a socket of uid,
 * and no link is followed. -ENOENT and -ECONNREFUSED pass through. */
int io_unix_connect_owned(const char *dir, const char *name, uid_t uid, uint64_t deadline_ms,
			  int *ret_fd, struct err *err);
/* Its first half: *ret_fd (O_PATH) is that socket, whose path is /proc/self/fd/<it>. */
int io_unix_find_owned(const char *dir, const char *name, uid_t uid, int *ret_fd, struct err *err);

/* RFC 3339 UTC with milliseconds, 24 characters and NUL. */
#define IO_TIME_SIZE 25
void io_time_rfc3339(int64_t unix_ms, char ret[IO_TIME_SIZE]);
int64_t io_unix_ms(void); /* CLOCK_REALTIME */
/* Random UUID v4 text, 36 characters and NUL. Aborts when getrandom fails. */
void io_uuid(char ret[37]);

#endif
