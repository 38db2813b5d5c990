#include "qemu_vmm.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "jail.h"
#include "qemu_args.h"
#include "qemu_find.h"
#include "qemu_sight.h"
#include "strv.h"
#include "tsc.h"
#include "vmm.h"
#include "xalloc.h"

/* Descriptor numbers in the VMM: fixed, so the command line is the same for every VM. */
enum { FD_QMP = 3, FD_CHANNEL, FD_TAP, FD_UFFD_DEV, FD_READY, FD_END };

/* Between closing its monitor and being reapable QEMU only has exit handlers to run. */
#define EXIT_DEADLINE_MS 3000
/* A killed process that is still there then hangs in the kernel; the caller hears of it. */

/* What prepare (in the child) and held (in the parent) need. */
struct child {
	struct jail jail;
	const struct vm_restore *from;
};

static int prepare(void *data)
{
	struct child *c = data;

	return jail_enter(&c->jail);
}

static int announce(void *data, pid_t pid, struct err *err)
{
	const struct child *c = data;

	return c->from->announce(c->from->data, pid, err);
}

/* The shim is told by environment: QEMU itself knows nothing of it. */
static void build_env(const struct vm *vm, const struct vm_restore *from, struct strv *env)
{
	strv_add(env, "PATH=/usr/bin:/bin");
	strv_add(env, "LANG=C.UTF-8");
	if (!from)
		return;
	strv_addf(env, "LD_PRELOAD=%s", vm->shim);
	strv_addf(env, "FCVM_UFFD_FILE=%s", from->memory_path);
	strv_addf(env, "FCVM_UFFD_READY=%d", FD_READY);
	if (from->backend == MEMORY_FILE) {
		strv_add(env, "FCVM_UFFD_MODE=file");
		return;
	}
	strv_add(env, "FCVM_UFFD_MODE=uffd");
	strv_add(env, "FCVM_UFFD_SOCK=uffd.sock");
	strv_addf(env, "FCVM_UFFD_DEV=%d", FD_UFFD_DEV);
}

static int build_argv(const struct vm *vm, const struct qemu_launch *l, struct strv *argv,
		      struct err *err)
{
	auto_free char *binary = NULL;
	struct qemu_args args = {
		.config = l->config,
		.memory_path = l->from ? l->from->memory_path : VM_MEMORY,
		.incoming = l->from != NULL,
		.qmp_fd = FD_QMP,
		.channel_fd = FD_CHANNEL,
		.tap_fd = FD_TAP,
	};
	int r = qemu_find(vm->host, &binary, err);

	if (r < 0)
		return r;
	args.binary = binary;
	if (!l->from && l->config->accel == VM_ACCEL_TCG)
		args.tsc_khz = tsc_measure_khz();
	qemu_args_build(&args, argv);
	return 0;
}

struct ends {
	int ours, theirs;
};

static void close_ends(struct ends *e)
{
	cleanup_close_p(&e->ours);
	cleanup_close_p(&e->theirs);
}
#define auto_ends __attribute__((cleanup(close_ends)))

static int open_socketpair(struct ends *ret, struct err *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "cannot make a socket pair");
	*ret = (struct ends){fds[0], fds[1]};
	return 0;
}

static int spawn(struct vm *vm, const struct qemu_launch *l, const struct ends *qmp,
		 const struct ends *channel, int stderr_fd, struct err *err)
{
	auto_strv struct strv argv = {0};
	auto_strv struct strv env = {0};
	struct proc_fd fds[FD_END - FD_QMP] = {{qmp->theirs, FD_QMP},
					       {channel->theirs, FD_CHANNEL}};
	size_t n_fds = 2;
	struct child child = {
		.jail = {.as_root = vm->host->is_root,
			 .uid = vm->uid,
			 .gid = vm->gid,
			 .shared_dev = l->config->shared_dev,
			 .kvm = l->config->accel == VM_ACCEL_KVM},
		.from = l->from,
	};
	auto_sight struct qemu_sight sight = {0};
	int r = build_argv(vm, l, &argv, err);

	if (r < 0)
		return r;
	if (vm->hide_files) {
		qemu_sight_of(vm, argv.v[0], l->from ? l->from->memory_path : NULL, &sight);
		child.jail.hide = &sight.hide;
	}
	build_env(vm, l->from, &env);
	if (l->config->has_net)
		fds[n_fds++] = (struct proc_fd){vm->tap_fd, FD_TAP};
	if (l->from)
		fds[n_fds++] = (struct proc_fd){l->ready_fd, FD_READY};
	if (l->from && l->from->backend == MEMORY_UFFD)
		fds[n_fds++] = (struct proc_fd){vm->userfaultfd, FD_UFFD_DEV};
	const struct proc_spec spec = {
		/* Strings owned by the lists; proc_spec promises not to touch them. */
		.argv = (const char *const *)argv.v,
		.env = (const char *const *)env.v,
		.cwd = vm->vm_dir,
		.in = -1,
		.out = vm->console_fd,
		.err = stderr_fd,
		.fds = fds,
		.n_fds = n_fds,
		.new_session = true, /* the terminal's Ctrl-C is the supervisor's to handle */
		.death_signal = SIGKILL,
		.prepare = prepare,
		.held = l->from && l->from->backend == MEMORY_UFFD ? announce : NULL,
		.data = &child,
		/* Nor does it see, or signal, another process of the user. */
		.namespaces = vm->hide_files ? CLONE_NEWPID : 0,
	};
	return proc_spawn(&spec, &vm->pidfd, &vm->pid, err);
}

static int check_vm(const struct vm *vm, const struct qemu_launch *l, struct err *err)
{
	if (vm->host->is_root && vm->uid == 0)
		return err_set(err, ERR_FAILED, -EPERM, "qemu is not started as root");
	if (l->config->has_net && vm->tap_fd < 0)
		return err_set(err, ERR_HOST, -ENODEV,
			       "the VM has a NIC, but there is no tap0 here");
	if (l->from && !vm->shim)
		return err_set(err, ERR_FAILED, -EINVAL, "a restore needs the preload shim");
	if (l->from && l->from->backend == MEMORY_UFFD && vm->userfaultfd < 0)
		return err_set(err, ERR_HOST, -EACCES, "the host refuses /dev/userfaultfd");
	return 0;
}

int qemu_vmm_launch(struct vm *vm, const struct qemu_launch *l, struct err *err)
{
	auto_ends struct ends qmp = {-1, -1}, channel = {-1, -1};
	auto_close int errs = -1;
	struct words words = {.fd = -1};
	struct qemu_vmm *v;
	int r = check_vm(vm, l, err);

	if (r == 0)
		r = open_socketpair(&qmp, err);
	if (r == 0)
		r = open_socketpair(&channel, err);
	if (r == 0)
		r = words_open(&words, NULL, &errs, err);
	if (r == 0)
		r = spawn(vm, l, &qmp, &channel, errs, err);
	if (r < 0) {
		words_close(&words);
		return r;
	}
	v = xcalloc(1, sizeof(*v));
	v->qmp = qmp_new(TAKE_FD(qmp.ours));
	v->words = words;
	v->loop = vm->loop;
	v->restored = l->from != NULL;
	vm->channel_fd = TAKE_FD(channel.ours);
	vm->engine = v;
	return 0;
}

static void qmp_ready(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct qemu_vmm *v = src->data;

	(void)events;
	/* That QEMU is gone is for the holder of the pidfd to act on. */
	if (qmp_drain(v->qmp, NULL) < 0)
		loop_remove(loop, src);
}

int qemu_vmm_watch(struct vm *vm, struct err *err)
{
	struct qemu_vmm *v = vm->engine;
	int r;

	if (!v->loop)
		return 0;
	r = loop_add(v->loop, &v->on_qmp, qmp_fd(v->qmp), EPOLLIN, qmp_ready, v, err);
	if (r < 0)
		return r;
	r = words_watch(&v->words, v->loop, err);
	if (r < 0)
		loop_remove(v->loop, &v->on_qmp);
	v->watched = r == 0;
	return r;
}

int qemu_vmm_explain(struct vm *vm, struct err *err)
{
	struct qemu_vmm *v = vm->engine;
	bool hung_up = err->code == -ECONNRESET || err->code == -EPIPE;
	char words[sizeof(vm->last_words)];
	struct err was = *err;
	bool ended = io_wait(vm->pidfd, POLLIN, deadline_in(hung_up ? EXIT_DEADLINE_MS : 0)) == 1;

	words_last(&v->words, words, sizeof(words));
	if (ended)
		return err_set(err, was.class, was.code, "%s: qemu has ended%s%s", was.msg,
			       *words ? ": " : "", words);
	if (*words)
		return err_set(err, was.class, was.code, "%s (qemu says: %s)", was.msg, words);
	return was.code;
}

int qemu_vmm_end(struct vm *vm, uint64_t grace_ms, struct err *err)
{
	struct qemu_vmm *v = vm->engine;
	int r = vmm_reap(vm, grace_ms, err);

	if (r < 0)
		return r;
	words_last(&v->words, vm->last_words, sizeof(vm->last_words));
	if (v->watched)
		loop_remove(v->loop, &v->on_qmp);
	qmp_free_p(&v->qmp);
	words_close(&v->words);
	free(v);
	vm->engine = NULL;
	cleanup_close_p(&vm->pidfd);
	cleanup_close_p(&vm->channel_fd);
	vm->pid = 0;
	return 0;
}
