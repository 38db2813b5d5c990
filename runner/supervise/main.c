/* main.c - the supervisor's process: one VM, one loop, from the background to the last word in
 * status.json. */
#include "super.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "ledger.h"
#include "parse.h"
#include "xalloc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define TERM_GRACE_MS 10000
/* A supervisor nobody gives a VM to: whoever started it has died in between. */
#define IDLE_MS 120000
#define SCRATCH_MAX 2048u
#define FILES_MAX 4096u

void super_save(struct super *s)
{
	/* A full disk must not end the VM; whoever asks over ctl.sock still hears the truth. */
	(void)vmstate_save(&s->st, NULL);
	vmevents_tell(s);
}

void super_timer(struct super *s, struct loop_source *src, uint64_t ms, loop_fn fn)
{
	(void)loop_timer(s->loop, src, ms, 0, fn, s, NULL);
}

void super_progress(struct super *s, const char *text)
{
	if (s->launch_req)
		ctl_progress(s->launch_req, text);
}

static void on_signal(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	struct signalfd_siginfo info;

	(void)loop;
	(void)events;
	if (read(src->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	s->stop_wanted = true;
	stop_begin(s, ENDED_REQUESTED, TERM_GRACE_MS);
}

static void on_idle(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	struct err err = {0};

	(void)loop;
	(void)events;
	(void)err_set(&err, ERR_FAILED, -ETIMEDOUT, "nobody asked for a VM");
	super_end(s, ENDED_CRASHED, &err);
}

static int take_signals(struct super *s, struct err *err)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, "cannot block signals");
	(void)signal(SIGPIPE, SIG_IGN);
	return loop_signals(s->loop, &s->signals, &set, on_signal, s, err);
}

/* The VMM's uid: never ours when we are root. */
static int take_uid(struct super *s, struct err *err)
{
	uint32_t uid = s->host->uid;
	int r = s->host->is_root ? ledger_take(s->host, "uid", s->spec->dir, &uid, err) : 0;

	if (r < 0)
		return r;
	s->vm.uid = s->st.uid = uid;
	return 0;
}

static int set_up(struct super *s, struct err *err)
{
	auto_free char *sock = path_join(s->spec->dir, CTL_SOCK);
	int r = take_uid(s, err);

	if (r >= 0)
		r = proc_id_of(getpid(), &s->st.self, err);
	if (r >= 0)
		r = loop_new(&s->loop, err);
	if (r >= 0)
		r = take_signals(s, err);
	if (r >= 0)
		r = vmlogs_new(s->loop, s->spec->dir, &s->logs, err);
	if (r >= 0)
		r = vmstate_save(&s->st, err);
	if (r >= 0)
		r = ctl_new(s->loop, sock, verbs_handle, s, &s->ctl, err);
	if (r < 0)
		return r;
	s->vm.loop = s->loop;
	super_timer(s, &s->idle_timer, IDLE_MS, on_idle);
	return 0;
}

static void super_free(struct super *s)
{
	ctl_free(s->ctl);
	vmlogs_free(s->logs);
	vmstate_free(&s->st);
	bringup_spec_free(&s->launch);
	free(s->vm.vm_dir);
	free(s->metrics);
	net_down(s->net);
	loop_free_p(&s->loop);
}

static uint64_t boot_ms(const struct host *host)
{
	uint64_t ms = SUPER_BOOT_MS;

#ifdef FCVM_TEST_HOOKS
	const char *text = host->getenv("FCVM_TEST_BOOT_MS");

	if (text)
		(void)parse_u64(text, 1, SUPER_BOOT_MS, &ms, NULL);
#else
	(void)host;
#endif
	return ms;
}

static int super_init(struct super *s, const struct host *host,
		      const struct supervise_options *options, struct err *err)
{
	const struct supervisor_spec *spec = &options->spec;

	*s = (struct super){
		.host = host,
		.spec = spec,
		.mem_conn = -1,
		.uffd_listen = -1,
		.boot_ms = boot_ms(host),
		.vm = {.host = host,
		       .tap_fd = -1,
		       .console_fd = -1,
		       .userfaultfd = -1,
		       .pidfd = -1,
		       .channel_fd = -1,
		       .hide_files = !host->is_root,
		       .shim = options->shim},
		.st = {.vm_id = spec->vm_id,
		       .engine = spec->engine,
		       .exit_code = -1,
		       .created_at = host->unix_ms()},
	};
	s->st.path = path_join(spec->dir, SUPERVISE_STATUS);
	s->vm.vm_dir = path_join(spec->dir, SUPER_VM_DIR);
	s->metrics = path_join(spec->dir, SUPER_METRICS);
	s->vm.metrics = s->metrics;
	s->engine = engine_by_name(spec->engine);
	if (!s->engine)
		return err_set(err, ERR_SPEC, -EINVAL, "unknown engine '%s'", spec->engine);
	return set_up(s, err);
}

static int tell(int fd, const char *line)
{
	int r = 0;

	if (fd >= 0)
		r = io_write_full(fd, line, strlen(line), deadline_in(1000), NULL);
	return r;
}

static int run(const struct host *host, const struct supervise_options *options, int ready_fd,
	       struct err *err)
{
	struct super s;
	char line[SCRATCH_MAX];
	struct err local = {0};
	int r = super_init(&s, host, options, err = err ? err : &local);

	if (r < 0)
		(void)snprintf(line, sizeof(line), "-%s\n", err->msg);
	else
		(void)snprintf(line, sizeof(line), "+%d\n", (int)getpid());
	/* Whoever started us may be gone (kill -9 of apply): then nobody knows of us, and the next
	 * apply must find this directory free. */
	int told = tell(ready_fd, line);
	cleanup_close_p(&ready_fd);
	if (r >= 0 && told < 0)
		r = err_sys_code(err, told, "nobody waits for this supervisor");
	if (r >= 0)
		r = loop_run(s.loop, err);
	super_save(&s);
	super_free(&s);
	return r;
}

/* A pipe without a reader is in error, whatever is asked of it. */
static bool is_awaited(int ready_fd)
{
	struct pollfd p = {.fd = ready_fd};

	return ready_fd < 0 || poll(&p, 1, 0) == 0;
}

/* Two supervisors of one directory would fight over its sockets and files. And whoever started us
 * may have been killed before we came to run: the next apply kills what it finds at work for this
 * directory and makes it anew. What it could not find yet must not touch it. */
static int enter_dir(const char *dir, int ready_fd, int *ret_lock, struct err *err)
{
	if (!is_awaited(ready_fd))
		return err_set(err, ERR_FAILED, -EPIPE, "nobody waits for this supervisor");
	auto_free char *path = path_join(dir, SUPERVISE_LOCK);
	auto_buf struct buf holder = BUF_INIT(256);
	int r = file_lock(path, false, 0, &holder, ret_lock, err);

	if (r == -EWOULDBLOCK)
		return err_set(err, ERR_BUSY, r, "'%s' has a supervisor already: %s", dir,
			       buf_str(&holder));
	if (r >= 0 && chdir(dir) < 0)
		return err_sys(err, "cannot enter '%s'", dir);
	return r;
}

/* Every stream of the channel and every client holds a descriptor, and a listener that cannot
 * accept wakes the loop for ever: there are enough for all that may be open at once. */
static void raise_limits(void)
{
	struct rlimit files = {0};

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= FILES_MAX)
		return;
	files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

int supervise_main(const struct host *host, const struct supervise_options *options,
		   struct err *err)
{
	auto_close int lock = -1, ready_fd = options->ready_fd;
	pid_t pid = options->spec.foreground ? 0 : fork();
	struct err local = {0};
	char line[SCRATCH_MAX];
	int r = 0;

	/* The parent has nothing more to do: the child's word goes to whoever started us. */
	if (pid > 0)
		return 0;
	(void)umask(077);
	raise_limits();
	r = pid < 0 ? err_sys(&local, "cannot go into the background")
		    : enter_dir(options->spec.dir, ready_fd, &lock, &local);
	if (r >= 0)
		return run(host, options, TAKE_FD(ready_fd), err);
	(void)snprintf(line, sizeof(line), "-%s\n", local.msg);
	(void)tell(ready_fd, line);
	if (err)
		*err = local;
	return r;
}
