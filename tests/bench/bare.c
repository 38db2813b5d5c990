/* Longer than 500 lines: the peer of every engine row on one page, so that a reader can see that it
 * does what the product does and nothing else. */
#include "bare.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agentlink.h"
#include "agentmsg.h"
#include "bare_pages.h"
#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "loop.h"
#include "mux.h"
#include "proc.h"
#include "proto.h"
#include "qmp.h"
#include "tlv.h"
#include "world.h"
#include "xalloc.h"

#define LIMIT_MS 60000
#define STATE_FILE "state.saved"

/* --- the model ------------------------------------------------------------------------------ */

static void read_words(pid_t pid, const char *what, struct strv *ret)
{
	auto_free char *path = xasprintf("/proc/%d/%s", pid, what);
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct err err = {0};

	if (file_read(path, 1u << 20, &text, &err) < 0)
		world_die("%s", err.msg);
	for (size_t at = 0; at < text.len; at += strlen(text.data + at) + 1)
		strv_add(ret, text.data + at);
}

void bare_capture(pid_t vmm, struct bare_model *ret)
{
	*ret = (struct bare_model){0};
	read_words(vmm, "cmdline", &ret->argv);
	read_words(vmm, "environ", &ret->env);
}

void bare_make_incoming(struct bare_model *m)
{
	struct strv argv = {0};

	for (size_t i = 0; i < m->argv.n; i++) {
		const char *word = m->argv.v[i];

		if (strcmp(word, "-kernel") == 0 || strcmp(word, "-initrd") == 0 ||
		    strcmp(word, "-append") == 0)
			i++;
		else
			strv_add(&argv, word);
	}
	strv_add(&argv, "-incoming");
	strv_add(&argv, "defer");
	strv_free(&m->argv);
	m->argv = argv;
}

void bare_model_free(struct bare_model *m)
{
	strv_free(&m->argv);
	strv_free(&m->env);
}

/* The number behind key in any of the words, -1 when there is none. */
static int number_after(const struct strv *words, const char *key)
{
	for (size_t i = 0; i < words->n; i++) {
		const char *at = strstr(words->v[i], key);
		int n = -1;

		if (at && sscanf(at + strlen(key), "%d", &n) == 1)
			return n;
	}
	return -1;
}

/* --- one VM, in a process of its own -------------------------------------------------------- */

struct bare {
	const struct bare_job *job;
	int sock; /* to the measuring process */
	struct loop *loop;
	struct mux *mux;
	struct agentlink *link;
	struct qmp *qmp;
	int pidfd, channel;
	double began;
	bool done;
	struct bare_report {
		pid_t vmm;
		double ms[BARE_STAGES];
		double saved_ms;
		char error[512];
	} report;
};

static void stage(struct bare *b, enum bare_stage s)
{
	b->report.ms[s] = bench_now_ms() - b->began;
}

static void tell(struct bare *b)
{
	(void)send(b->sock, &b->report, sizeof(b->report), MSG_NOSIGNAL);
}

static void check(struct bare *b, int r, const struct err *err)
{
	if (r >= 0)
		return;
	(void)snprintf(b->report.error, sizeof(b->report.error), "%.500s", err->msg);
	tell(b);
	_exit(1);
}

static void check_sys(struct bare *b, int r, const char *what)
{
	struct err err = {0};

	if (r < 0)
		check(b, err_sys(&err, "%s", what), &err);
}

static int open_tap(struct bare *b)
{
	struct ifreq req = {.ifr_name = "tap0"};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	req.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	check_sys(b, fd, "/dev/net/tun");
	check_sys(b, ioctl(fd, TUNSETIFF, &req), "tap0");
	return fd;
}

static void add_fd(struct proc_fd *fds, size_t *n, int from, int to)
{
	if (to >= 0)
		fds[(*n)++] = (struct proc_fd){from, to};
}

static void spawn(struct bare *b)
{
	const struct bare_model *m = b->job->model;
	int qmp[2], channel[2], ready[2], uffd = -1;
	struct proc_fd fds[5];
	size_t n = 0;
	struct err err = {0};

	check_sys(b, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp), "socketpair");
	check_sys(b, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), "socketpair");
	check_sys(b, pipe2(ready, O_CLOEXEC), "pipe");
	if (number_after(&m->env, "FCVM_UFFD_DEV=") >= 0)
		check_sys(b, uffd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), "userfaultfd");
	int tap = open_tap(b);
	add_fd(fds, &n, qmp[1], number_after(&m->argv, "id=qmp,fd="));
	add_fd(fds, &n, channel[1], number_after(&m->argv, "id=channel,fd="));
	add_fd(fds, &n, tap, number_after(&m->argv, "id=n0,fd="));
	add_fd(fds, &n, ready[1], number_after(&m->env, "FCVM_UFFD_READY="));
	add_fd(fds, &n, uffd, number_after(&m->env, "FCVM_UFFD_DEV="));
	const struct proc_spec spec = {
		.argv = (const char *const *)m->argv.v,
		.env = (const char *const *)m->env.v,
		.cwd = b->job->dir,
		.in = -1,
		.out = -1,
		.err = STDERR_FILENO,
		.fds = fds,
		.n_fds = n,
		.new_session = true, /* as ours: a session is what the kernel shares CPUs by */
		.death_signal = SIGKILL,
	};
	check(b, proc_spawn(&spec, &b->pidfd, &b->report.vmm, &err), &err);
	cleanup_close_p(&qmp[1]);
	cleanup_close_p(&channel[1]);
	cleanup_close_p(&tap);
	cleanup_close_p(&uffd);
	b->qmp = qmp_new(qmp[0]);
	b->channel = channel[0];
}

/* --- the monitor ---------------------------------------------------------------------------- */

static void call(struct bare *b, const char *name, struct json_object *arguments)
{
	const struct qmp_command cmd = {.name = name, .arguments = arguments};
	struct err err = {0};

	check(b, qmp_call(b->qmp, &cmd, deadline_in(LIMIT_MS), NULL, &err), &err);
}

static void ignore_shared(struct bare *b)
{
	static const char *const wanted[] = {"x-ignore-shared", "events"};
	struct json_object *list = json_object_new_array(), *arguments = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct json_object *one = json_object_new_object();

		json_add_str(one, "capability", wanted[i]);
		json_add_bool(one, "state", true);
		(void)json_object_array_add(list, one);
	}
	json_add(arguments, "capabilities", list);
	call(b, "migrate-set-capabilities", arguments);
}

static void migrate(struct bare *b, const char *command, int fd)
{
	struct json_object *arguments = json_object_new_object();
	struct err err = {0};

	json_add_str(arguments, "uri", "fd:state");
	check(b, qmp_give_fd(b->qmp, "state", fd, deadline_in(LIMIT_MS), &err), &err);
	qmp_clear_events(b->qmp);
	call(b, command, arguments);
}

/* Until this event, or until this status of a migration. */
static void await_event(struct bare *b, enum qmp_event want, const char *status)
{
	struct err err = {0};

	for (;;) {
		auto_json struct json_object *data = NULL;
		enum qmp_event event = QMP_STOP;
		int r = qmp_next_event(b->qmp, deadline_in(LIMIT_MS), &event, &data, &err);
		const char *now = json_opt_str(data, "status", "");

		check(b, r, &err);
		if (event == want && (!status || strcmp(now, status) == 0))
			return;
		if (event == QMP_MIGRATION && strcmp(now, "failed") == 0)
			check(b, err_set(&err, ERR_FAILED, -EIO, "migration failed"), &err);
	}
}

static void load(struct bare *b)
{
	auto_close int fd = open(b->job->state, O_RDONLY | O_CLOEXEC);
	struct err err = {0};

	check_sys(b, fd, b->job->state);
	check(b, qmp_greet(b->qmp, deadline_in(LIMIT_MS), &err), &err);
	ignore_shared(b);
	migrate(b, "migrate-incoming", fd);
	await_event(b, QMP_RESUME, NULL);
}

static void copy_files(struct bare *b)
{
	const char *const argv[] = {"cp", "--reflink=auto", "memory", "data.img", "copy/", NULL};
	const struct proc_spec spec = {
		.argv = argv, .cwd = b->job->dir, .in = -1, .out = -1, .err = STDERR_FILENO};
	auto_close int pidfd = -1;
	struct err err = {0};
	int status = 1;

	check(b, proc_spawn(&spec, &pidfd, NULL, &err), &err);
	check(b, proc_wait(pidfd, deadline_in(LIMIT_MS), &status, &err), &err);
	if (status != 0)
		check(b, err_set(&err, ERR_FAILED, -EIO, "cp: status %d", status), &err);
}

static void flush_memory(struct bare *b)
{
	auto_free char *path = path_join(b->job->dir, "memory");
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	check_sys(b, fd < 0 ? fd : fsync(fd), path);
}

static void save(struct bare *b, bool copy)
{
	auto_free char *copies = path_join(b->job->dir, "copy");
	auto_free char *path = path_join(b->job->dir, STATE_FILE);
	struct json_object *limits = json_object_new_object();
	struct err err = {0};
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check_sys(b, fd, path);
	check(b, file_remove_tree(copies, &err), &err);
	check(b, file_mkdir_p(copies, 0700, &err), &err);
	flush_memory(b);
	json_add_u64(limits, "max-bandwidth", 1000000000000);
	json_add_u64(limits, "downtime-limit", 10000);
	double start = bench_now_ms();
	ignore_shared(b);
	call(b, "migrate-set-parameters", limits);
	migrate(b, "migrate", fd);
	await_event(b, QMP_MIGRATION, "completed");
	if (copy)
		copy_files(b);
	call(b, "cont", NULL);
	b->report.saved_ms = bench_now_ms() - start;
}

/* --- the channel ---------------------------------------------------------------------------- */

static void on_answer(struct bare *b, const struct agentlink_answer *a, enum bare_stage s)
{
	struct err err = {0};

	if (a->code < 0)
		check(b, err_set(&err, ERR_GUEST, a->code, "the agent says: %s", a->text), &err);
	stage(b, s);
}

static void on_ready(void *data, const struct agentlink_answer *a)
{
	struct bare *b = data;

	on_answer(b, a, BARE_READY);
	b->done = true;
}

static void on_hello(void *data, const struct agentlink_answer *a)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	struct agentmsg_identity id = {.epoch = ""};
	char http[] = "http://:8080/healthz", name[] = "bare";
	const struct health_spec health = {.http = http};
	struct agentmsg_resume r = {.id = &id, .hostname = name, .health = &health, .mtu = 1500};
	struct bare *b = data;
	struct err err = {0};

	on_answer(b, a, BARE_AGENT);
	b->done = !b->job->state;
	if (b->done)
		return;
	agentmsg_identity_draw(&id);
	r.unix_ns = (uint64_t)io_unix_ms() * 1000000u;
	agentmsg_resume(&body, &r);
	check(b, agentlink_request(b->link, MSG_RESUME, &body, LIMIT_MS, on_ready, b, &err), &err);
}

static void on_event(void *data, enum agent_msg msg, const struct agentlink_event *ev)
{
	(void)data, (void)msg, (void)ev;
}

static void on_lost(void *data, const char *why)
{
	struct err err = {0};

	check(data, err_set(&err, ERR_GUEST, -EPIPE, "the channel is lost: %s", why), &err);
}

static void on_synced(void *data, bool fresh)
{
	static const struct agentlink_ops ops = {.event = on_event, .lost = on_lost};
	auto_buf struct buf body = BUF_INIT(64);
	struct bare *b = data;
	struct err err = {0};
	int pair[2];

	(void)fresh;
	check_sys(b, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
		  "socketpair");
	check(b, mux_open(b->mux, AGENT_PORT_CONTROL, pair[1], NULL, NULL, &err), &err);
	check(b, agentlink_new(b->loop, pair[0], &ops, b, &b->link, &err), &err);
	tlv_put_u64(&body, TAG_VERSION, AGENT_PROTO_VERSION);
	check(b, agentlink_request(b->link, MSG_HELLO, &body, LIMIT_MS, on_hello, b, &err), &err);
}

static int on_accept(void *data, uint32_t port, int *ret_fd)
{
	(void)data, (void)port, (void)ret_fd;
	return -ECONNREFUSED;
}

static void on_quiesced(void *data)
{
	(void)data;
}

static void talk(struct bare *b)
{
	static const struct mux_ops ops = {
		.accept = on_accept, .synced = on_synced, .quiesced = on_quiesced, .lost = on_lost};
	uint64_t deadline = deadline_in(LIMIT_MS);
	struct err err = {0};

	check(b, loop_new(&b->loop, &err), &err);
	check(b, mux_new(b->loop, b->channel, true, &ops, b, &b->mux, &err), &err);
	check(b, mux_sync(b->mux, false, &err), &err);
	while (!b->done) {
		check(b, loop_once(b->loop, deadline_left(deadline), &err), &err);
		if (deadline_left(deadline) == 0)
			check(b, err_set(&err, ERR_TIMEOUT, -ETIMEDOUT, "not ready in time"), &err);
	}
}

/* --- the process around it ------------------------------------------------------------------ */

__attribute__((noreturn)) static void run_vm(const struct bare_job *job, int sock)
{
	struct bare b = {.job = job, .sock = sock, .pidfd = -1, .channel = -1};
	struct err err = {0};
	int status = 0;
	char word = 0;

	(void)setsid();
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	check_sys(&b, unshare(CLONE_NEWNET), "network namespace");
	if (number_after(&job->model->env, "FCVM_UFFD_DEV=") >= 0)
		check_sys(&b, bare_pages_start(job->dir, job->memory), "page handler");
	tell(&b);
	if (recv(sock, &word, 1, 0) != 1)
		_exit(1);
	b.began = bench_now_ms();
	spawn(&b);
	if (job->state)
		load(&b);
	else
		check(&b, qmp_greet(b.qmp, deadline_in(LIMIT_MS), &err), &err);
	stage(&b, BARE_RESTORED);
	talk(&b);
	tell(&b);
	while (recv(sock, &word, 1, 0) == 1) {
		save(&b, word == 'c');
		tell(&b);
	}
	(void)proc_signal(b.pidfd, SIGKILL);
	(void)proc_wait(b.pidfd, deadline_in(LIMIT_MS), &status, NULL);
	_exit(0);
}

static struct bare_report hear(const struct bare_vm *vm)
{
	struct bare_report report = {0};
	ssize_t n = recv(vm->fd, &report, sizeof(report), 0);

	if (n != (ssize_t)sizeof(report))
		world_die("the process of a bare VM ended");
	if (report.error[0])
		world_die("bare VM: %s", report.error);
	return report;
}

static void say(const struct bare_vm *vm, char word)
{
	if (send(vm->fd, &word, 1, MSG_NOSIGNAL) != 1)
		world_die("the process of a bare VM ended");
}

static void prepare(const struct bare_job *job, struct bare_vm *vm)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		world_die("cannot make a socket pair");
	vm->pid = fork();
	if (vm->pid == 0) {
		cleanup_close_p(&pair[0]);
		run_vm(job, pair[1]);
	}
	cleanup_close_p(&pair[1]);
	vm->fd = pair[0];
	(void)hear(vm);
}

void bare_start(const struct bare_job *jobs, size_t n, struct bare_vm *ret)
{
	for (size_t i = 0; i < n; i++)
		prepare(&jobs[i], &ret[i]);
	for (size_t i = 0; i < n; i++)
		say(&ret[i], 'g');
	for (size_t i = 0; i < n; i++) {
		struct bare_report report = hear(&ret[i]);

		ret[i].vmm = report.vmm;
		memcpy(ret[i].ms, report.ms, sizeof(report.ms));
	}
}

double bare_save(struct bare_vm *vm, bool copy_files)
{
	say(vm, copy_files ? 'c' : 's');
	return hear(vm).saved_ms;
}

/* Later ones hold the ends of earlier ones, so they end from the last to the first. */
void bare_end(struct bare_vm *vms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cleanup_close_p(&vms[i].fd);
	for (size_t i = 0; i < n; i++)
		while (waitpid(vms[i].pid, NULL, 0) < 0 && errno == EINTR)
			continue;
}
