#include "volume_pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "guest_pump.h"
#include "io.h"
#include "volume_head.h"

#define SOCK_FD 3
#define STREAM_MS 1000 /* for the host to open a stream; then it is asked again */
#define IO_FLUSHER 57  /* PR_SET_IO_FLUSHER: reclaim must not wait for what we are to write */
#define QUEUES_MAX 2u

static void say(const struct volume_pump *p, char word, const char *text)
{
	char line[VOLUME_SENTENCE_MAX];
	int n = snprintf(line, sizeof(line), "%c%s", word, text);

	(void)send(p->sock, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1,
		   MSG_NOSIGNAL);
}

/* One message of the agent's: 1 and the stream, 0 when it is another one, or there is none. */
static int take_stream(const struct volume_pump *p, uint16_t stream, int *ret_fd)
{
	uint8_t number = 0;
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n = io_recv_fds(p->sock, &number, 1, &fd, 1, &n_fds, MSG_DONTWAIT, NULL);

	if (n <= 0)
		return n == -EAGAIN || n == -EINTR ? 0 : -EPIPE;
	if (n_fds == 0)
		return 0;
	if (number != stream) {
		(void)close(fd);
		return 0;
	}
	*ret_fd = fd;
	return 1;
}

/* A stream that came too late for the call that asked for it is not for this one. */
static void drop_late(const struct volume_pump *p)
{
	int fd = -1;

	while (io_wait(p->sock, POLLIN, now_ms()) > 0 &&
	       take_stream(p, VOLUME_STREAMS_MAX, &fd) == 0)
		;
}

static int connect_stream(void *data, uint16_t stream, int *ret_fd, struct err *err)
{
	const struct volume_pump *p = data;
	const uint8_t want[2] = {VOLUME_WANTS, (uint8_t)stream};
	uint64_t deadline_ms = deadline_in(STREAM_MS);
	int r = 0;

	drop_late(p);
	if (send(p->sock, want, sizeof(want), MSG_NOSIGNAL) < 0)
		return err_sys(err, "cannot ask for a stream");
	while (r == 0 && io_wait(p->sock, POLLIN, deadline_ms) > 0)
		r = take_stream(p, stream, ret_fd);
	if (r <= 0)
		return err_set(err, ERR_TIMEOUT, r < 0 ? r : -ETIMEDOUT, "no stream to the host");
	return 0;
}

static int mount_it(void *data, int *ret_fd, struct err *err)
{
	const struct volume_pump *p = data;
	const struct guest_mount_config config = {.target = p->target,
						  .source = "fcvm",
						  .read_only = p->read_only,
						  .trusted = p->trusted};
	if (p->again)
		(void)umount2(p->target, MNT_DETACH);
	int r = file_mkdir_p(p->target, 0755, err);

	return r < 0 ? r : guest_mount(&config, ret_fd, err);
}

/* One more queue only pays where there are CPUs for both. */
static unsigned int count_queues(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 2 ? QUEUES_MAX : 1;
}

static void stand_alone(struct volume_pump *p)
{
	auto_close int oom = -1;

	(void)dup2(p->sock, SOCK_FD);
	p->sock = SOCK_FD;
	(void)syscall(SYS_close_range, SOCK_FD + 1, ~0u, 0);
	(void)io_set_cloexec(SOCK_FD, true);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_NAME, "fc-volume");
	(void)prctl(IO_FLUSHER, 1, 0, 0, 0);
	/* The workload's files would hang with it. */
	oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (oom >= 0)
		(void)!write(oom, "-1000", 5);
}

int volume_pump_run(void *data)
{
	struct volume_pump *p = data;
	struct guest_pump_config config = {
		.queues = count_queues(),
		.spin_us = GUEST_PUMP_SPIN_US,
		.reconnect_ms = GUEST_PUMP_RECONNECT_MS,
		.connect = connect_stream,
		.mount = mount_it,
		.data = p,
	};
	auto_guest_pump struct guest_pump *pump = NULL;
	struct err err = {0};

	stand_alone(p);
	if (guest_pump_start(&config, &pump, &err) < 0) {
		say(p, VOLUME_FAILED, err.msg);
		(void)umount2(p->target, MNT_DETACH);
		return 1;
	}
	say(p, VOLUME_READY, "");
	/* Messages are for the queues; here only the end of the socket matters. */
	struct pollfd ends[] = {{.fd = guest_pump_fd(pump), .events = POLLIN},
				{.fd = p->sock, .events = POLLRDHUP}};

	while (poll(ends, ARRAY_SIZE(ends), -1) < 0 && errno == EINTR)
		;
	if (ends[1].revents)
		(void)umount2(p->target, MNT_DETACH);
	return 0;
}
