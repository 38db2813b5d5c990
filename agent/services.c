#include "services.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "control.h"
#include "file.h"
#include "logs.h"
#include "op_exec.h"
#include "proto.h"
#include "status.h"
#include "volume_host.h"
#include "xalloc.h"

#define PORTS_DIR "/sys/class/virtio-ports"
#define VSOCK_BACKLOG 64
#define SYSFS_FILE_SIZE 4096 /* what fstat claims, whatever is in it */

static const struct service {
	uint32_t port;
	void (*accept)(struct agent *agent, int fd);
} services[] = {
	{AGENT_PORT_CONTROL, control_accept},     {AGENT_PORT_LOGS, logs_accept},
	{AGENT_PORT_EXEC, op_exec_accept},        {AGENT_PORT_STATUS, status_accept},
	{AGENT_PORT_VOLUMES, volume_host_accept},
};

static const struct service *find_service(uint32_t port)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (services[i].port == port)
			return &services[i];
	return NULL;
}

int serve_connection(struct agent *agent, uint32_t port, int fd)
{
	auto_close int owned = fd;
	const struct service *s = find_service(port);

	if (!s)
		return -ECONNREFUSED;
	s->accept(agent, TAKE_FD(owned));
	return 0;
}

/* --- mux ---------------------------------------------------------------------------------------
 */

struct link {
	struct agent *agent;
	void (*lost)(void *data, const char *why);
	void *data;
};

static int on_accept(void *data, uint32_t port, int *ret_fd)
{
	struct link *link = data;
	int pair[2];

	if (!find_service(port))
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ret_fd = pair[0];
	return serve_connection(link->agent, port, pair[1]);
}

static void on_synced(void *data, bool fresh)
{
	(void)data;
	(void)fresh;
}

static void on_quiesced(void *data)
{
	(void)data;
}

static void on_lost(void *data, const char *why)
{
	struct link *link = data;

	agent_say("link to the host lost: %s", why);
	if (link->lost)
		link->lost(link->data, why);
}

int serve_mux(struct agent *agent, int fd, void (*lost)(void *data, const char *why), void *data,
	      struct mux **ret, struct err *err)
{
	static const struct mux_ops ops = {on_accept, on_synced, on_quiesced, on_lost};
	static struct link link; /* one agent has one link */

	link = (struct link){.agent = agent, .lost = lost, .data = data};
	return mux_new(agent->loop, fd, false, &ops, &link, ret, err);
}

/* True when the port called `entry` is ours. */
static bool is_our_port(const char *entry)
{
	auto_free char *path = xasprintf(PORTS_DIR "/%s/name", entry);
	auto_buf struct buf name = BUF_INIT(128);

	if (file_read(path, SYSFS_FILE_SIZE, &name, NULL) < 0)
		return false;
	return strcmp(buf_str(&name), SERVE_PORT_NAME "\n") == 0;
}

int serve_find_port(int *ret_fd, struct err *err)
{
	auto_closedir DIR *dir = opendir(PORTS_DIR);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.' || !is_our_port(entry->d_name))
			continue;
		auto_free char *path = path_join("/dev", entry->d_name);
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return err_sys(err, "cannot open '%s'", path);
		*ret_fd = fd;
		return 0;
	}
	return err_set(err, ERR_GUEST, -ENOENT, "no virtio port named '%s'", SERVE_PORT_NAME);
}

/* --- vsock -------------------------------------------------------------------------------------
 */

struct listener {
	struct agent *agent;
	uint32_t port;
	struct loop_source src;
};

static void on_listener(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct listener *l = src->data;
	struct sockaddr_vm peer = {.svm_cid = VMADDR_CID_ANY};
	socklen_t size = sizeof(peer);
	auto_close int fd =
		accept4(src->fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)loop;
	(void)events;
	/* Whoever is root here is so for the host only: a guest's loopback has another address. */
	if (fd >= 0 && peer.svm_cid == VMADDR_CID_HOST)
		(void)serve_connection(l->agent, l->port, TAKE_FD(fd));
}

int serve_vsock(struct agent *agent, struct err *err)
{
	static struct listener listeners[ARRAY_SIZE(services)];

	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		struct sockaddr_vm addr = {.svm_family = AF_VSOCK,
					   .svm_cid = VMADDR_CID_ANY,
					   .svm_port = services[i].port};
		auto_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		listeners[i] = (struct listener){.agent = agent, .port = services[i].port};
		if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		    listen(fd, VSOCK_BACKLOG) < 0)
			return err_sys(err, "cannot listen on vsock port %u", services[i].port);
		int r = loop_add(agent->loop, &listeners[i].src, fd, EPOLLIN, on_listener,
				 &listeners[i], err);
		if (r < 0)
			return r;
		(void)TAKE_FD(fd);
	}
	return 0;
}
