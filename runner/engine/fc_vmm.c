#include "fc_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "jail.h"
#include "strv.h"
#include "vmm.h"
#include "xalloc.h"

/* Firecracker fills its descriptor table once, up to the limit: large enough for its vsock
 * connections, small enough to cost nothing. */
#define FILES_MAX 2048
#define METRICS_FD 3 /* in Firecracker */
#define METRICS_PATH "/proc/self/fd/3"
/* Between closing its API and being reapable it only has threads to end. */
#define EXIT_DEADLINE_MS 3000
#define KILL_DEADLINE_MS 30000
#define READY_FIRST_MS 1
#define READY_MAX_MS 16

struct child {
	struct jail jail;
	struct fc_jailer *jailer; /* NULL: the jail is ours */
	const struct vm_restore *from;
};

static int prepare(void *data)
{
	struct child *c = data;

	return c->jailer ? fc_jailer_enter(c->jailer) : jail_enter(&c->jail);
}

static int announce(void *data, pid_t pid, struct err *err)
{
	const struct child *c = data;

	return c->from->announce(c->from->data, pid, err);
}

static int check_vm(const struct vm *vm, const struct vm_config *config,
		    const struct vm_restore *from, struct err *err)
{
	if (vm->host->is_root && vm->uid == 0)
		return err_set(err, ERR_FAILED, -EPERM, "firecracker is not started as root");
	if (config->jailer && !vm->host->is_root)
		return err_set(err, ERR_HOST, -EPERM, "sandbox jailer needs root");
	if (config->has_net && !vm->has_tap)
		return err_set(err, ERR_HOST, -ENODEV,
			       "the VM has a NIC, but there is no " VM_TAP " here");
	if (from && from->backend == MEMORY_UFFD && vm->userfaultfd < 0)
		return err_set(err, ERR_HOST, -EACCES, "the host refuses /dev/userfaultfd");
	if (from && from->backend == MEMORY_FILE && config->huge_pages)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "memory in huge pages comes from a page server, not from the file");
	return fc_json_check(config, err);
}

/* Firecracker binds and never unlinks; the page server's socket is not its own. */
static int remove_sockets(const struct vm *vm, struct err *err)
{
	static const char *const names[] = {FC_API_SOCK, FC_VSOCK};
	auto_close int dir = open(vm->vm_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return err_sys(err, "cannot open '%s'", vm->vm_dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (unlinkat(dir, names[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, "cannot remove '%s/%s'", vm->vm_dir, names[i]);
	return 0;
}

static int build_argv(const struct vm *vm, const struct fc_jailer *jailer, struct strv *argv,
		      struct err *err)
{
	auto_free char *binary = NULL;
	int r = fc_find(vm->host, &binary, err);

	if (r < 0)
		return r;
	if (jailer) {
		fc_jailer_add_args(jailer, vm, binary, argv);
	} else {
		strv_add(argv, binary);
		strv_add(argv, "--id");
		strv_add(argv, "fcvm");
	}
	strv_add(argv, "--api-sock");
	strv_add(argv, FC_API_SOCK);
	/* Its stdout is the console: what it says itself goes to stderr, which we read. */
	strv_add(argv, "--log-path");
	strv_add(argv, jailer ? FC_JAILER_LOG : "/proc/self/fd/2");
	strv_add(argv, "--level");
	strv_add(argv, "Warning");
	strv_add(argv, "--show-level");
	strv_add(argv, "--http-api-max-payload-size");
	strv_addf(argv, "%d", FC_PAYLOAD_MAX);
	if (vm->metrics) {
		strv_add(argv, "--metrics-path");
		strv_add(argv, jailer ? FC_JAILER_METRICS : METRICS_PATH);
	}
	return 0;
}

/* It opens its log and the like by name, as the VM's user. */
static int give_pipe(const struct vm *vm, int fd, struct err *err)
{
	if (fd >= 0 && vm->host->is_root && fchown(fd, vm->uid, vm->gid) < 0)
		return err_sys(err, "cannot give a pipe to uid %u", vm->uid);
	return 0;
}

struct pipes {
	int words, metrics; /* write ends */
};

static int spawn(struct vm *vm, struct fc_vmm *v, const struct vm_config *config,
		 const struct vm_restore *from, const struct pipes *pipes, struct err *err)
{
	static const char *const env[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL};
	auto_strv struct strv argv = {0};
	bool uffd = from && from->backend == MEMORY_UFFD;
	struct fc_jailer *jailer = config->jailer ? &v->jailer : NULL;
	struct child child = {
		.jail = {.as_root = vm->host->is_root,
			 .uid = vm->uid,
			 .gid = vm->gid,
			 .kvm = true,
			 .tun = config->has_net,
			 .shared_dev = config->shared_dev,
			 .userfaultfd = uffd,
			 .files = FILES_MAX},
		.jailer = jailer,
		.from = from,
	};
	int r = build_argv(vm, jailer, &argv, err);

	if (r == 0)
		r = give_pipe(vm, pipes->words, err);
	if (r == 0)
		r = give_pipe(vm, pipes->metrics, err);
	if (r < 0)
		return r;
	const struct proc_fd metrics = {pipes->metrics, METRICS_FD};
	const struct proc_spec spec = {
		.argv = (const char *const *)argv.v,
		.env = env,
		.cwd = vm->vm_dir,
		.in = -1,
		.out = vm->console_fd,
		.err = pipes->words,
		.fds = &metrics,
		.n_fds = pipes->metrics >= 0 && !jailer,
		.new_session = true, /* the terminal's Ctrl-C is the supervisor's to handle */
		.death_signal = SIGKILL,
		.prepare = prepare,
		.held = uffd ? announce : NULL,
		.data = &child,
		.pid_ns = jailer ? v->pid_ns : 0,
	};
	return proc_spawn(&spec, &vm->pidfd, &vm->pid, err);
}

/* There is no descriptor that says when it listens: its end is waited for meanwhile. */
static int await_api(const struct vm *vm, uint64_t deadline_ms, struct err *err)
{
	uint64_t pause_ms = READY_FIRST_MS;

	for (;;) {
		auto_close int fd = -1;
		struct err why = {.code = 0};
		int r = io_unix_connect_owned(vm->vm_dir, FC_API_SOCK, vm->uid, deadline_ms, &fd,
					      &why);

		if (r == 0)
			return 0;
		if (r != -ENOENT && r != -ECONNREFUSED)
			return err_set(err, why.class, r, "%s", why.msg);
		if (io_wait(vm->pidfd, POLLIN, deadline_in(pause_ms)) == 1)
			return err_set(err, ERR_FAILED, -ECONNRESET,
				       "firecracker did not open its API");
		if (deadline_left(deadline_ms) == 0)
			return err_set(err, ERR_FAILED, -ETIMEDOUT,
				       "firecracker did not open its API in time");
		pause_ms = pause_ms < READY_MAX_MS ? 2 * pause_ms : READY_MAX_MS;
	}
}

static int set_up(struct vm *vm, struct fc_vmm *v, uint64_t deadline_ms, struct err *err)
{
	int r = words_watch(&v->words, vm->loop, err);

	if (r == 0 && vm->metrics && vm->loop)
		r = fc_metrics_watch(&v->metrics, vm->loop, err);
	if (r == 0)
		r = fc_api_new(vm->vm_dir, vm->uid, &v->api, err);
	return r < 0 ? r : await_api(vm, deadline_ms, err);
}

static int probed_version(const struct vm *vm, struct fc_version *ret, struct err *err)
{
	auto_free char *binary = NULL;
	struct probe_binary b;
	int r = fc_find(vm->host, &binary, err);

	if (r == 0)
		r = probe_binary(vm->host, binary, fc_ask, &b, err);
	return r < 0 ? r : fc_read_version(b.version, ret, err);
}

/* After the VMM's own end: what is left in the namespace ends with its first process. */
static void end_pid_ns(struct fc_vmm *v)
{
	int status;

	if (v->pid_ns < 0)
		return;
	(void)proc_signal(v->pid_ns, SIGKILL);
	(void)proc_wait(v->pid_ns, deadline_in(KILL_DEADLINE_MS), &status, NULL);
	cleanup_close_p(&v->pid_ns);
}

static void free_vmm(struct fc_vmm *v)
{
	end_pid_ns(v);
	fc_jailer_remove(&v->jailer);
	words_close(&v->words);
	fc_metrics_close(&v->metrics);
	fc_api_free_p(&v->api);
	free(v);
}

/* The jailer changes its user, which takes a death signal off: the VMM's life hangs on the
 * namespace it is born into. Nor is the jailer's own one made use of: its VMM would be nobody's
 * child. */
static int make_jail(struct vm *vm, struct fc_vmm *v, const struct vm_config *config,
		     const struct vm_restore *from, struct err *err)
{
	auto_free char *binary = NULL;
	int r = fc_find(vm->host, &binary, err);

	if (r == 0)
		r = fc_jailer_make(vm, config, from, binary, &v->jailer, err);
	if (r == 0) {
		v->jailer.files = FILES_MAX;
		r = proc_pid_ns(&v->pid_ns, err);
	}
	return r;
}

static int start_process(struct vm *vm, struct fc_vmm *v, const struct vm_config *config,
			 const struct vm_restore *from, struct err *err)
{
	auto_close int words = -1, metrics = -1;
	auto_free char *log_pipe = NULL, *metrics_pipe = NULL;
	int r = config->jailer ? make_jail(vm, v, config, from, err) : 0;

	if (config->jailer) {
		log_pipe = path_join(vm->vm_dir, FC_JAILER_LOG);
		metrics_pipe = path_join(vm->vm_dir, FC_JAILER_METRICS);
	}
	if (r == 0)
		r = words_open(&v->words, log_pipe, &words, err);
	if (r == 0 && vm->metrics)
		r = fc_metrics_open(&v->metrics, vm->metrics, metrics_pipe, &metrics, err);
	if (r < 0)
		return r;
	const struct pipes pipes = {words, metrics};

	return spawn(vm, v, config, from, &pipes, err);
}

int fc_vmm_launch(struct vm *vm, const struct vm_config *config, const struct vm_restore *from,
		  uint64_t deadline_ms, struct err *err)
{
	struct fc_vmm *v = NULL;
	struct fc_version version;
	int r = check_vm(vm, config, from, err);

	if (r == 0)
		r = probed_version(vm, &version, err);
	if (r == 0)
		r = remove_sockets(vm, err);
	if (r < 0)
		return r;
	v = xcalloc(1, sizeof(*v));
	*v = (struct fc_vmm){.words = {.fd = -1, .prefix = fc_vmm_log_prefix},
			     .metrics = {.fd = -1},
			     .version = version,
			     .pid_ns = -1,
			     .restored = from != NULL};
	r = start_process(vm, v, config, from, err);
	if (r < 0) {
		free_vmm(v);
		return r;
	}
	vm->engine = v;
	vm->vsock = FC_VSOCK;
	r = set_up(vm, v, deadline_ms, err);
	if (r < 0) {
		(void)fc_vmm_explain(vm, err);
		(void)fc_vmm_end(vm, 0, NULL);
	}
	return r;
}

size_t fc_vmm_log_prefix(const char *line, size_t len)
{
	const char *bracket = memchr(line, '[', len);
	const char *end;

	if (!bracket || bracket == line || bracket[-1] != ' ' || line[0] < '0' || line[0] > '9')
		return 0;
	end = memchr(bracket, ']', len - (size_t)(bracket - line));
	if (!end || (size_t)(end + 2 - line) > len || end[1] != ' ')
		return 0;
	return (size_t)(end + 2 - line);
}

int fc_vmm_explain(struct vm *vm, struct err *err)
{
	struct fc_vmm *v = vm->engine;
	bool hung_up = err->code == -ECONNRESET || err->code == -EPIPE;
	char words[sizeof(vm->last_words)];
	struct err was = *err;
	bool ended = io_wait(vm->pidfd, POLLIN, deadline_in(hung_up ? EXIT_DEADLINE_MS : 0)) == 1;

	words_last(&v->words, words, sizeof(words));
	if (ended && *words)
		return err_set(err, was.class, was.code, "%s: firecracker has ended: %s", was.msg,
			       words);
	if (ended)
		return err_set(err, was.class, was.code, "%s: firecracker has ended", was.msg);
	return was.code;
}

int fc_vmm_end(struct vm *vm, uint64_t grace_ms, struct err *err)
{
	struct fc_vmm *v = vm->engine;
	int r = vmm_reap(vm, grace_ms, err);

	if (r < 0)
		return r;
	words_last(&v->words, vm->last_words, sizeof(vm->last_words));
	free_vmm(v);
	(void)remove_sockets(vm, NULL);
	vm->engine = NULL;
	vm->vsock = NULL;
	cleanup_close_p(&vm->pidfd);
	vm->pid = 0;
	return 0;
}
