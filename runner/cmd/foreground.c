#include "foreground.h"

#include "cleanup.h"
#include "client.h"
#include "io.h"
#include "json.h"
#include "log_tail.h"
#include "vm_end.h"

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
	const struct vm_end *end;
	struct log_tail *tail;
	bool follow;
	int signals;
	unsigned interrupts;
};

static int stop(struct watch *w, struct err *err)
{
	struct signalfd_siginfo info;
	uint64_t grace_ms = w->interrupts++ ? 0 : STOP_GRACE_MS;
	struct supervisor_call call = {.dir = w->end->dir,
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
			{.fd = w->end->supervisor, .events = POLLIN},
			{.fd = log_tail_fd(w->tail), .events = POLLIN},
		};

		if ((r = pump(w, err)) < 0)
			return r;
		if ((r = vm_end_look(w->end, ret, err)) != 0)
			return r < 0 ? r : pump(w, err);
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return err_sys(err, "cannot wait for the VM");
		if ((fds[0].revents & POLLIN) && (r = stop(w, err)) < 0)
			return r;
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

int foreground_wait(const struct host *host, const char *dir, bool follow_logs, int *ret_code,
		    struct err *err)
{
	auto_json struct json_object *status = NULL;
	auto_log_tail struct log_tail *tail = NULL;
	auto_vm_end struct vm_end end = {.supervisor = -1};
	struct watch w = {.end = &end, .follow = follow_logs};
	sigset_t set;
	int r = log_tail_open(dir, NULL, true, &tail, err);

	if (r < 0)
		return r;
	stop_signals(&set);
	auto_close int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_sys(err, "cannot wait for signals");
	vm_end_open(host, dir, &end);
	w.tail = tail;
	w.signals = signals;
	r = watch_until_end(&w, &status, err);
	if (r < 0)
		return r;
	if (w.interrupts) {
		*ret_code = EXIT_INTERRUPTED;
		return 0;
	}
	return judge(status, ret_code, err);
}
