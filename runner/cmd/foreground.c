#include "foreground.h"

#include "cleanup.h"
#include "client.h"
#include "io.h"
#include "json.h"
#include "log_tail.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_INTERRUPTED 130
#define STOP_GRACE_MS 10000u

static void stop_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGTERM);
}

void foreground_block_signals(void)
{
	sigset_t set;

	stop_signals(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

struct watch {
	const struct host *host;
	const char *dir;
	struct log_tail *tail;
	bool follow;
	int signals, supervisor;
	unsigned interrupts;
};

static bool has_ended(const struct watch *w, struct json_object **ret)
{
	auto_json struct json_object *status = NULL;

	if (supervisor_peek(w->dir, w->host->boot_id, &status, NULL) < 0 ||
	    !json_opt_str(status, "ended", NULL))
		return false;
	*ret = TAKE_PTR(status);
	return true;
}

static int stop(struct watch *w, struct err *err)
{
	struct signalfd_siginfo info;
	uint64_t grace_ms = w->interrupts++ ? 0 : STOP_GRACE_MS;
	struct supervisor_call call = {.dir = w->dir,
				       .deadline_ms = deadline_in(grace_ms + STOP_GRACE_MS)};

	(void)!read(w->signals, &info, sizeof(info));
	return supervisor_stop(&call, grace_ms, err);
}

static int pump(struct watch *w, struct err *err)
{
	return w->follow ? log_tail_pump(w->tail, STDOUT_FILENO, STDERR_FILENO, err) : 0;
}

static int watch_until_end(struct watch *w, struct json_object **ret, struct err *err)
{
	int r;

	for (;;) {
		struct pollfd fds[] = {
			{.fd = w->signals, .events = POLLIN},
			{.fd = w->supervisor, .events = POLLIN},
			{.fd = log_tail_fd(w->tail), .events = POLLIN},
		};

		if ((r = pump(w, err)) < 0)
			return r;
		if (has_ended(w, ret))
			return pump(w, err);
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return err_sys(err, "cannot wait for the VM");
		if ((fds[0].revents & POLLIN) && (r = stop(w, err)) < 0)
			return r;
		if (fds[1].revents & POLLIN)
			w->supervisor = -1; /* the next look at the status says how it ended */
	}
}

static int judge(struct json_object *status, int *ret_code, struct err *err)
{
	int64_t code = -1;

	if (json_get_i64(status, "exit_code", &code, NULL) >= 0 && code >= 0 && code <= 255) {
		*ret_code = (int)code;
		return 0;
	}
	return err_set(err, ERR_FAILED, -EIO, "the VM ended before its container: %s",
		       json_opt_str(status, "error", json_opt_str(status, "ended", "unknown")));
}

static int open_supervisor(const struct watch *w)
{
	auto_json struct json_object *status = NULL;
	struct proc_id id = {0};
	int pidfd = -1;

	if (supervisor_peek(w->dir, w->host->boot_id, &status, NULL) < 0)
		return -1;
	struct json_object *o = json_opt_obj(status, "supervisor");
	id.pid = (pid_t)(o ? json_opt_u64(o, "pid", 0) : 0);
	id.start_time = o ? json_opt_u64(o, "start_time", 0) : 0;
	(void)snprintf(id.boot_id, sizeof(id.boot_id), "%s",
		       o ? json_opt_str(o, "boot_id", "") : "");
	return id.pid > 0 && proc_id_open(&id, w->host->boot_id, &pidfd) >= 0 ? pidfd : -1;
}

int foreground_wait(const struct host *host, const char *dir, bool follow_logs, int *ret_code,
		    struct err *err)
{
	auto_json struct json_object *status = NULL;
	auto_log_tail struct log_tail *tail = NULL;
	struct watch w = {.host = host, .dir = dir, .follow = follow_logs, .supervisor = -1};
	sigset_t set;
	int r = log_tail_open(dir, NULL, true, &tail, err);

	if (r < 0)
		return r;
	stop_signals(&set);
	auto_close int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_sys(err, "cannot wait for signals");
	auto_close int supervisor = open_supervisor(&w);
	w.tail = tail;
	w.signals = signals;
	w.supervisor = supervisor;
	r = watch_until_end(&w, &status, err);
	if (r < 0)
		return r;
	if (w.interrupts) {
		*ret_code = EXIT_INTERRUPTED;
		return 0;
	}
	return judge(status, ret_code, err);
}
