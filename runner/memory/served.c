/* served.c - one announced VM: waiting for its hand-off, being served, ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "log.h"
#include "server.h"
#include "xalloc.h"

#define ID_MAX 64
#define ID_CHARS "-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WRONG_PEERS_MAX 16 /* only root and the VM's own user reach the socket */

struct served {
	struct server *server;
	struct conn *conn;
	char id[ID_MAX + 1];
	uid_t uid;
	struct proc_id vmm;
	int listen_fd, sock, pidfd;
	struct loop_source listen, handing, deadline, exited;
	struct handshake handshake;
	struct serve_vm *serving;
	uint64_t page_size; /* of its memory, once it is served */
	bool gone;
	unsigned int wrong_peers;
};

static uint64_t load(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

void served_add_counts(const struct served *vm, struct counts *counts, struct hist *service)
{
	if (!vm->serving)
		return;
	const struct pager_stats *stats = serve_stats(vm->serving);
	counts->faults += load(&stats->faults);
	counts->copied += load(&stats->copied);
	counts->zero += load(&stats->zero);
	counts->removed += load(&stats->removed);
	counts->retried += load(&stats->retried);
	hist_merge(service, &stats->service);
}

static uint64_t to_us(uint64_t ns)
{
	return (ns + 999) / 1000;
}

struct json_object *served_metrics(const struct served *vm)
{
	if (!vm->serving)
		return NULL;
	const struct pager_stats *stats = serve_stats(vm->serving);
	struct json_object *o = json_object_new_object();
	json_add_str(o, "vm_id", vm->id);
	json_add_u64(o, "pid", (uint64_t)vm->vmm.pid);
	json_add_u64(o, "page_size", vm->page_size);
	json_add_u64(o, "faults", load(&stats->faults));
	json_add_u64(o, "copied", load(&stats->copied));
	json_add_u64(o, "zero", load(&stats->zero));
	json_add_u64(o, "removed", load(&stats->removed));
	json_add_u64(o, "retried", load(&stats->retried));
	json_add_u64(o, "p50_us", to_us(hist_percentile(&stats->service, 50)));
	json_add_u64(o, "p99_us", to_us(hist_percentile(&stats->service, 99)));
	return o;
}

bool served_is_live(const struct served *vm)
{
	return !vm->gone;
}

static void stop_handing(struct served *vm)
{
	loop_remove(vm->server->loop, &vm->handing);
	loop_remove(vm->server->loop, &vm->deadline);
	handshake_free(&vm->handshake);
}

static void stop_listening(struct served *vm)
{
	loop_remove(vm->server->loop, &vm->listen);
	cleanup_close_p(&vm->listen_fd);
}

static void stop_serving(struct served *vm)
{
	served_add_counts(vm, &vm->server->ended, &vm->server->service);
	if (vm->serving)
		serve_remove(vm->serving);
	vm->serving = NULL;
}

static void release(struct served *vm)
{
	stop_handing(vm);
	stop_listening(vm);
	stop_serving(vm);
	loop_remove(vm->server->loop, &vm->exited);
	cleanup_close_p(&vm->sock);
	cleanup_close_p(&vm->pidfd);
}

void served_free(struct served *vm)
{
	if (!vm)
		return;
	release(vm);
	free(vm);
}

/* The VMM has ended: its supervisor sees that by itself and is told nothing. The connection stays,
 * since its end would mean that *we* have gone. */
static void set_gone(struct served *vm)
{
	log_debug("vm %s: process %d ended", vm->id, vm->vmm.pid);
	release(vm);
	vm->gone = true;
}

static void fail(struct served *vm, const struct err *why)
{
	struct conn *conn = vm->conn;

	log_debug("vm %s: %s", vm->id, why->msg);
	release(vm);
	vm->gone = true;
	control_report(conn, why); /* vm may be freed */
}

void served_ended(struct served *vm, const struct err *why)
{
	if (why->code == -ESRCH)
		set_gone(vm);
	else
		fail(vm, why);
}

static void on_exited(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	set_gone(src->data);
}

static void on_deadline(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct err why;

	(void)loop;
	(void)events;
	(void)err_set(&why, ERR_GUEST, -ETIMEDOUT, "the VM connected but handed no memory over");
	fail(src->data, &why);
}

static int take_over(struct served *vm, struct err *err)
{
	struct server *s = vm->server;
	struct regions regions;
	uint64_t bytes = 0;
	int uffd = -1;
	int r = handshake_finish(&vm->handshake, s->size, &regions, &uffd, err);

	if (r == 0)
		r = serve_add(s->serve, uffd, &regions, vm, &vm->serving, err);
	if (r < 0)
		return r;
	/* The supervisor holds it too: whoever comes now is refused, not left waiting. */
	(void)shutdown(vm->listen_fd, SHUT_RDWR);
	stop_handing(vm);
	stop_listening(vm);
	for (size_t i = 0; i < regions.n; i++)
		bytes += regions.v[i].size;
	vm->page_size = regions.page_size;
	s->clients++;
	log_debug("vm %s: serving %ju bytes to process %d", vm->id, (uintmax_t)bytes, vm->vmm.pid);
	control_note_handoff(vm->conn, bytes); /* vm may be freed */
	return 0;
}

static void on_handing(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct served *vm = src->data;
	struct err why = {0};

	(void)loop;
	(void)events;
	int r = handshake_read(&vm->handshake, vm->sock, &why);
	if (r > 0)
		r = take_over(vm, &why);
	if (r < 0) {
		vm->server->refused++;
		fail(vm, &why);
	}
}

/* One peer at a time; the socket stays with us for the VM's life, as Firecracker expects. */
static int start_handing(struct served *vm, int sock, struct err *err)
{
	struct loop *loop = vm->server->loop;
	int r;

	vm->sock = sock;
	loop_remove(loop, &vm->listen);
	handshake_init(&vm->handshake);
	r = loop_add(loop, &vm->handing, sock, EPOLLIN, on_handing, vm, err);
	if (r == 0)
		r = loop_timer(loop, &vm->deadline, HANDSHAKE_MS, 0, on_deadline, vm, err);
	return r;
}

static void on_connect(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct served *vm = src->data;
	auto_close int sock = accept4(vm->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err why = {0};
	int r;

	(void)loop;
	(void)events;
	if (sock < 0)
		return;
	r = handshake_check_peer(sock, vm->uid, &vm->vmm, vm->server->self.boot_id, &why);
	if (r < 0) {
		vm->server->refused++;
		log_debug("vm %s: refused: %s", vm->id, why.msg);
		if (++vm->wrong_peers < WRONG_PEERS_MAX)
			return;
	} else {
		r = start_handing(vm, TAKE_FD(sock), &why);
	}
	if (r < 0)
		fail(vm, &why);
}

static int parse_announce(struct served *vm, struct json_object *body, struct err *err)
{
	const char *id = "", *boot_id = "";
	uint64_t uid = 0, pid = 0;
	int r = json_get_str(body, "vm_id", &id, err);

	if (r == 0)
		r = json_get_u64(body, "uid", &uid, err);
	if (r == 0)
		r = json_get_u64(body, "pid", &pid, err);
	if (r == 0)
		r = json_get_u64(body, "start_time", &vm->vmm.start_time, err);
	if (r == 0)
		r = json_get_str(body, "boot_id", &boot_id, err);
	if (r < 0)
		return r;
	size_t len = strlen(id);
	if (len == 0 || len > ID_MAX || strspn(id, ID_CHARS) != len)
		return err_set(err, ERR_FAILED, -EINVAL,
			       "vm_id: expected 1 to %d letters and digits", ID_MAX);
	if (uid >= UINT32_MAX || pid == 0 || pid > INT32_MAX ||
	    strlen(boot_id) >= sizeof(vm->vmm.boot_id))
		return err_set(err, ERR_FAILED, -EINVAL, "vm %s: bad uid, pid or boot_id", id);
	memcpy(vm->id, id, len + 1);
	memcpy(vm->vmm.boot_id, boot_id, strlen(boot_id) + 1);
	vm->uid = (uid_t)uid;
	vm->vmm.pid = (pid_t)pid;
	return 0;
}

static int check_listening(int fd, struct err *err)
{
	int domain = 0, listening = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
		return err_set(err, ERR_FAILED, -EINVAL,
			       "an announcement comes with a listening Unix socket");
	int r = io_set_nonblock(fd, true);
	return r < 0 ? err_sys_code(err, r, "cannot make the VM's socket non-blocking") : 0;
}

static int watch(struct served *vm, struct err *err)
{
	struct loop *loop = vm->server->loop;
	int r = proc_id_open(&vm->vmm, vm->server->self.boot_id, &vm->pidfd);

	if (r < 0)
		return err_set(err, ERR_FAILED, r, "vm %s: process %d is gone", vm->id,
			       vm->vmm.pid);
	r = loop_add(loop, &vm->exited, vm->pidfd, EPOLLIN, on_exited, vm, err);
	if (r == 0)
		r = loop_add(loop, &vm->listen, vm->listen_fd, EPOLLIN, on_connect, vm, err);
	return r;
}

int served_announce(struct server *s, struct conn *conn, struct json_object *body, int listen_fd,
		    struct served **ret, struct err *err)
{
	struct served *vm = xcalloc(1, sizeof(*vm));
	int r;

	vm->server = s;
	vm->conn = conn;
	vm->listen_fd = listen_fd;
	vm->sock = vm->pidfd = -1;
	handshake_init(&vm->handshake);
	r = parse_announce(vm, body, err);
	if (r == 0)
		r = check_listening(listen_fd, err);
	if (r == 0)
		r = watch(vm, err);
	if (r < 0) {
		served_free(vm);
		return r;
	}
	log_debug("vm %s: announced, process %d of user %u", vm->id, vm->vmm.pid, vm->uid);
	*ret = vm;
	return 0;
}
