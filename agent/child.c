#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

const char *const child_default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
	"LANG=C.UTF-8", NULL};

static struct child **find_slot(struct children *table, pid_t pid)
{
	struct child **at = &table->head;

	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	return at;
}

/* What a child that did not get to exec leaves in its pipe. */
struct report {
	enum child_stage stage;
	int code;
};

static struct report take_report(struct child *child)
{
	struct report r = {CHILD_RAN, 0};

	if (child->report_fd >= 0 && read(child->report_fd, &r, sizeof(r)) != sizeof(r))
		r = (struct report){CHILD_RAN, 0};
	cleanup_close_p(&child->report_fd);
	return r;
}

static void child_over(struct child **at, int wait_status)
{
	struct child *child = *at;
	struct report r = take_report(child);
	struct child_end end = {
		.status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
						   : WEXITSTATUS(wait_status),
		.stage = r.stage,
		.code = r.code,
	};

	*at = child->next;
	child->pid = 0;
	child->ended(child->data, &end);
}

static void on_sigchld(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct children *table = src->data;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)loop;
	(void)events;
	while (read(src->fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child **at = find_slot(table, pid);

		if (*at)
			child_over(at, status);
	}
}

int children_init(struct children *table, struct loop *loop, struct err *err)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, "cannot block SIGCHLD");
	table->loop = loop;
	return loop_signals(loop, &table->signals, &set, on_sigchld, table, err);
}

void children_fini(struct children *table)
{
	while (table->head) {
		int status = SIGKILL;

		child_signal(table->head, SIGKILL);
		(void)waitpid(table->head->pid, &status, 0);
		child_over(&table->head, status);
	}
	loop_remove(table->loop, &table->signals);
}

static int become_user(const struct child_user *u)
{
	if (!u)
		return 0;
	if (setgroups(u->n_groups, u->groups) < 0 || setgid(u->gid) < 0 || setuid(u->uid) < 0)
		return -errno;
	return 0;
}

/* Descriptors may stand in each other's place: first out of the way, then to 0, 1, 2. */
static int place_stdio(const struct child_spec *spec)
{
	int from[3] = {spec->in, spec->out, spec->err};

	for (int i = 0; i < 3; i++) {
		int fd = from[i];

		if (fd < 0)
			fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		from[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (from[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], i) < 0)
			return -errno;
	return 0;
}

static int prepare_child(const struct child_spec *spec)
{
	sigset_t none;
	int r;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	r = place_stdio(spec);
	if (r < 0)
		return r;
	if (spec->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		return -errno;
	return become_user(spec->user);
}

__attribute__((noreturn)) static void child_main(const struct child_spec *spec, int report_fd)
{
	const char *const *env = spec->env ? spec->env : child_default_env;
	struct report report = {CHILD_AT_SETUP, -prepare_child(spec)};

	if (report.code == 0 && chdir(spec->cwd ? spec->cwd : "/") < 0)
		report = (struct report){CHILD_AT_CWD, errno};
	if (report.code == 0 && spec->run)
		_exit(spec->run(spec->run_data));
	if (report.code == 0) {
		/* execvpe searches our own PATH, which is the default environment's. */
		(void)execvpe(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
			      (char *const *)(uintptr_t)env);
		report = (struct report){CHILD_AT_EXEC, errno};
	}
	(void)!write(report_fd, &report, sizeof(report));
	_exit(127);
}

int child_spawn(struct children *table, const struct child_spec *spec, struct child *child,
		child_ended ended, void *data, struct err *err)
{
	int report[2];

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, "cannot make a pipe");
	pid_t pid = fork();
	if (pid == 0)
		child_main(spec, report[1]);
	(void)close(report[1]);
	if (pid < 0) {
		int code = -errno;
		(void)close(report[0]);
		return err_sys_code(err, code, "cannot fork");
	}
	*child = (struct child){.next = table->head,
				.pid = pid,
				.report_fd = report[0],
				.ended = ended,
				.data = data};
	table->head = child;
	return 0;
}

void child_adopt(struct children *table, pid_t pid, struct child *child, child_ended ended,
		 void *data)
{
	*child = (struct child){
		.next = table->head, .pid = pid, .report_fd = -1, .ended = ended, .data = data};
	table->head = child;
}

void child_signal(const struct child *child, int sig)
{
	if (child->pid <= 0)
		return;
	/* The group may not be there yet: the child has just forked. */
	if (kill(-child->pid, sig) < 0)
		(void)kill(child->pid, sig);
}

void child_forget(struct children *table, struct child *child)
{
	struct child **at = &table->head;

	while (*at && *at != child)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = child->next;
	child->pid = 0;
	cleanup_close_p(&child->report_fd);
}
