#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

static int refuse(const struct net_port *port, int code, struct err *err)
{
	const char *proto = port->udp ? "udp" : "tcp";

	(void)err_set(err, ERR_HOST, code, "cannot publish %s:%u/%s: %s", port->host_ip,
		      port->host_port, proto, strerror(-code));
	if (code == -EADDRNOTAVAIL)
		return err_hint(err, "this host has no address %s", port->host_ip);
	if (code == -EACCES)
		return err_hint(err, "ports below net.ipv4.ip_unprivileged_port_start are root's");
	return code;
}

int sockets_bind(int fd, const struct net_port *port, struct err *err)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port->host_port)};
	int yes = 1;

	/* Connections that have ended are nobody's port; two who share one of UDP both get it. */
	if (!port->udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
		return err_sys(err, "cannot prepare a socket");
	if (inet_pton(AF_INET, port->host_ip, &at.sin_addr) != 1)
		return refuse(port, -EINVAL, err);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return refuse(port, -errno, err);
	return 0;
}

int sockets_reserve(const struct net_port *port, int *ret_fd, struct err *err)
{
	int type = port->udp ? SOCK_DGRAM : SOCK_STREAM;
	auto_close int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(err, "cannot open a socket");
	int r = sockets_bind(fd, port, err);

	if (r < 0)
		return r;
	if (!port->udp && listen(fd, 0) < 0)
		return refuse(port, -errno, err);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
