#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "proc_priv.h"
#include "xalloc.h"

#define KERNEL_SIGSET_SIZE 8 /* bytes */
#define FIXED_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const minimal_env[] = {"PATH=" FIXED_PATH, "HOME=/", "LANG=C.UTF-8", NULL};

/* What the child needs, all made before the fork: it must not allocate. */
struct launch {
	const struct proc_spec *spec;
	const char *const *env;
	const char *path; /* of the executable */
	int status_fd;    /* close-on-exec; the child writes a struct failure */
	int hold_fd;      /* -1: not held; else the child waits for one byte */
	int parent;       /* pidfd of ours: readable = we died */
	int std[3];
	struct proc_fd *fds; /* scratch copy of spec->fds */
};

enum step { STEP_STDIO, STEP_DESCRIPTORS, STEP_CWD, STEP_PREPARE, STEP_DEATH_SIGNAL, STEP_EXEC };
static const char *const step_text[] = {
	[STEP_STDIO] = "cannot set up standard descriptors for",
	[STEP_DESCRIPTORS] = "cannot hand descriptors to",
	[STEP_CWD] = "cannot enter the working directory of",
	[STEP_PREPARE] = "cannot prepare the process of",
	[STEP_DEATH_SIGNAL] = "cannot tie to our life",
	[STEP_EXEC] = "cannot run",
};
struct failure {
	enum step step;
	int code;
};

char *proc_find(const char *name, const char *path)
{
	if (strchr(name, '/'))
		return xstrdup(name);
	while (*path) {
		size_t len = strcspn(path, ":");
		auto_free char *file = xasprintf("%.*s/%s", (int)len, path, name);

		if (len > 0 && access(file, X_OK) == 0)
			return TAKE_PTR(file);
		path += len + (path[len] == ':');
	}
	return NULL;
}

static char *find_executable(const char *name, const char *const *env)
{
	const char *path = FIXED_PATH;

	for (size_t i = 0; env[i]; i++) {
		if (strncmp(env[i], "PATH=", 5) == 0)
			path = env[i] + 5;
	}
	return proc_find(name, path);
}

static void reset_signals(void)
{
	/* struct sigaction as the kernel has it on x86-64: handler, flags, restorer, mask. */
	static const unsigned long by_default[4];
	sigset_t none;

	/* The kernel's own call: the C library hides two signals, and a make that starts us by
	 * posix_spawn leaves one of them ignored. */
	for (int sig = 1; sig < NSIG; sig++)
		(void)syscall(SYS_rt_sigaction, sig, &by_default, NULL, KERNEL_SIGSET_SIZE);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int move_up(int *fd, int floor)
{
	if (*fd < 0 || *fd >= floor)
		return 0;
	*fd = fcntl(*fd, F_DUPFD_CLOEXEC, floor);
	return *fd < 0 ? -errno : 0;
}

/* First everything out of the way of the target numbers, then onto them, so that no order of
 * sources and targets can overwrite a descriptor that is still needed. */
static int place_descriptors(struct launch *l)
{
	int floor = 3;
	int r = 0;

	for (size_t i = 0; i < l->spec->n_fds; i++)
		floor = l->fds[i].to >= floor ? l->fds[i].to + 1 : floor;
	for (size_t i = 0; i < l->spec->n_fds && r == 0; i++)
		r = move_up(&l->fds[i].from, floor);
	for (size_t i = 0; i < ARRAY_SIZE(l->std) && r == 0; i++)
		r = move_up(&l->std[i], floor);
	r = r < 0 ? r : move_up(&l->status_fd, floor);
	r = r < 0 ? r : move_up(&l->hold_fd, floor);
	r = r < 0 ? r : move_up(&l->parent, floor);
	if (r < 0)
		return r;
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	for (size_t i = 0; i < l->spec->n_fds; i++) {
		if (dup2(l->fds[i].from, l->fds[i].to) < 0)
			return -errno;
	}
	return 0;
}

static int place_stdio(const struct launch *l)
{
	for (int i = 0; i < (int)ARRAY_SIZE(l->std); i++) {
		int fd = l->std[i];

		if (fd < 0)
			fd = open("/dev/null", (i == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
		if (fd < 0 || dup2(fd, i) < 0)
			return -errno;
	}
	return 0;
}

/* getppid() would tell nothing in a pid namespace. */
static bool parent_died(int parent_pidfd)
{
	struct pollfd p = {.fd = parent_pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

static int tie_to_parent(const struct launch *l)
{
	if (!l->spec->death_signal)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, l->spec->death_signal) < 0)
		return -errno;
	/* Had the parent died before the call, the signal would never come. */
	if (parent_died(l->parent))
		_exit(128 + SIGKILL);
	return 0;
}

static void await_release(int fd)
{
	char byte;
	ssize_t n;

	if (fd < 0)
		return;
	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(128 + SIGKILL); /* the parent died or gave up */
}

static void try(const struct launch *l, enum step step, int r)
{
	const struct failure f = {.step = step, .code = r};

	if (r >= 0)
		return;
	(void)!write(l->status_fd, &f, sizeof(f));
	_exit(127);
}

__attribute__((noreturn)) static void run_child(struct launch *l)
{
	const struct proc_spec *spec = l->spec;

	reset_signals();
	if (spec->new_session)
		(void)setsid();
	else if (spec->own_group)
		(void)setpgid(0, 0);
	try(l, STEP_DESCRIPTORS, place_descriptors(l));
	try(l, STEP_STDIO, place_stdio(l));
	/* Twice: a change of uid in `prepare` clears it, and `prepare` may hang. */
	try(l, STEP_DEATH_SIGNAL, tie_to_parent(l));
	try(l, STEP_CWD, chdir(spec->cwd ? spec->cwd : "/") < 0 ? -errno : 0);
	try(l, STEP_PREPARE, spec->prepare ? spec->prepare(spec->data) : 0);
	try(l, STEP_DEATH_SIGNAL, tie_to_parent(l));
	await_release(l->hold_fd);
	/* execve takes char *const[] for history's sake and changes nothing. */
	(void)execve(l->path, (char *const *)(uintptr_t)spec->argv,
		     (char *const *)(uintptr_t)l->env);
	try(l, STEP_EXEC, -errno);
	_exit(127);
}

int proc_fork_raw(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : (int)pid;
}

static int fork_plain(int namespaces, int *ret_pidfd, pid_t *ret_pid, struct err *err)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD | (uint64_t)(unsigned int)namespaces,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return err_sys(err, "cannot fork");
	*ret_pid = (pid_t)pid;
	*ret_pidfd = pidfd;
	return 0;
}

/* It stays our child, wherever it is born. What cannot be undone must not be gone on with: every
 * later child of ours would be born there, too. */
static int fork_with_pidfd(const struct proc_spec *spec, int *ret_pidfd, pid_t *ret_pid,
			   struct err *err)
{
	auto_close int ours = -1;
	int r;

	if (!spec->pid_ns)
		return fork_plain(spec->namespaces, ret_pidfd, ret_pid, err);
	ours = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (ours < 0)
		return err_sys(err, "cannot open our pid namespace");
	if (setns(spec->pid_ns, CLONE_NEWPID) < 0)
		return err_sys(err, "cannot use the pid namespace of '%s'", spec->argv[0]);
	r = fork_plain(spec->namespaces, ret_pidfd, ret_pid, err);
	if ((r < 0 || *ret_pid > 0) && setns(ours, CLONE_NEWPID) < 0)
		abort();
	return r;
}

static void kill_and_reap(int pidfd)
{
	siginfo_t info;

	(void)proc_signal(pidfd, SIGKILL);
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		continue;
}

static int release(const struct launch *l, int hold_fd, pid_t pid, struct err *err)
{
	int r;

	if (hold_fd < 0)
		return 0;
	r = l->spec->held(l->spec->data, pid, err);
	if (r < 0)
		return r;
	return io_write_full(hold_fd, "", 1, 0, err);
}

/* End of file on the status pipe means exec succeeded (or a held child was killed). */
static int read_status(const struct launch *l, int status_fd, struct err *err)
{
	struct failure f;
	ssize_t n;

	do {
		n = read(status_fd, &f, sizeof(f));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	if (n != sizeof(f) || (size_t)f.step >= ARRAY_SIZE(step_text))
		return err_set(err, ERR_FAILED, -EPROTO, "lost the child of '%s'",
			       l->spec->argv[0]);
	return err_sys_code(err, f.code, "%s '%s'", step_text[f.step], l->spec->argv[0]);
}

static int start(struct launch *l, int *ret_pidfd, pid_t *ret_pid, struct err *err)
{
	auto_close int pidfd = -1;
	int status[2], hold[2] = {-1, -1};
	pid_t pid = 0;
	int r;

	if (pipe2(status, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int status_read = status[0];
	auto_close int status_write = status[1];
	if (l->spec->held && pipe2(hold, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int hold_read = hold[0];
	auto_close int hold_write = hold[1];
	l->status_fd = status_write;
	l->hold_fd = hold_read;

	r = fork_with_pidfd(l->spec, &pidfd, &pid, err);
	if (r < 0)
		return r;
	if (pid == 0) {
		/* Only the parent may hold the write end: its death must read as end of file. */
		(void)close(hold_write);
		run_child(l);
	}
	(void)close(TAKE_FD(status_write));
	r = release(l, hold_write, pid, err);
	if (r == 0)
		r = read_status(l, status_read, err);
	if (r < 0) {
		kill_and_reap(pidfd);
		return r;
	}
	*ret_pidfd = TAKE_FD(pidfd);
	*ret_pid = pid;
	return 0;
}

int proc_spawn(const struct proc_spec *spec, int *ret_pidfd, pid_t *ret_pid, struct err *err)
{
	const char *const *env = spec->env ? spec->env : minimal_env;
	auto_free char *path = find_executable(spec->argv[0], env);
	auto_free struct proc_fd *fds = xcalloc(spec->n_fds + 1, sizeof(*fds));
	auto_close int parent = -1;
	struct launch launch = {
		.spec = spec,
		.env = env,
		.path = path,
		.fds = fds,
		.std = {spec->in, spec->out, spec->err},
	};
	pid_t pid = 0;
	int r;

	if (!path)
		return err_set(err, ERR_HOST, -ENOENT, "'%s' is not installed", spec->argv[0]);
	for (size_t i = 0; i < spec->n_fds; i++)
		fds[i] = spec->fds[i];
	parent = pidfd_open(getpid(), 0);
	if (parent < 0)
		return err_sys(err, "cannot open a pidfd of ourselves");
	launch.parent = parent;

	r = start(&launch, ret_pidfd, &pid, err);
	if (r == 0 && ret_pid)
		*ret_pid = pid;
	return r;
}

int proc_wait(int pidfd, uint64_t deadline_ms, int *ret_status, struct err *err)
{
	siginfo_t info = {.si_pid = 0};
	int r = io_wait(pidfd, POLLIN, deadline_ms);

	if (r == 0)
		return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "the process did not end in time");
	if (r < 0)
		return err_sys_code(err, r, "cannot wait for a process");
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0) {
		if (errno != EINTR)
			return err_sys(err, "cannot reap a process");
	}
	*ret_status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return 0;
}

int proc_signal(int pidfd, int sig)
{
	return pidfd_send_signal(pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}
