/* gate_sockets.c - the connections a clone inherited from its snapshot talk to nobody: ended here,
 * so that clients reconnect at once. Listeners and loopback stay. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "cleanup.h"
#include "gates.h"
#include "netlink.h"

#define SOCKETS_MAX 65536u
#define TIMER_TIMEWAIT 3 /* idiag_timer */

struct diag_request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static bool v4_is_local(const uint8_t *a)
{
	return a[0] == 127;
}

static bool is_loopback(int family, const void *addr)
{
	static const uint8_t one[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *a = addr;

	if (family == AF_INET)
		return v4_is_local(a);
	if (memcmp(a, mapped, sizeof(mapped)) == 0)
		return v4_is_local(a + 12);
	return memcmp(a, one, sizeof(one)) == 0;
}

static void collect(void *data, const struct nlmsghdr *m)
{
	struct inet_diag_msg msg;

	if (m->nlmsg_type != SOCK_DIAG_BY_FAMILY || m->nlmsg_len < NLMSG_LENGTH(sizeof(msg)))
		return;
	memcpy(&msg, (const char *)m + NLMSG_HDRLEN, sizeof(msg));
	/* An orphaned FIN_WAIT2 is one too, whatever its state says. */
	if (msg.idiag_timer == TIMER_TIMEWAIT)
		return;
	if (!is_loopback(msg.idiag_family, msg.id.idiag_src) ||
	    !is_loopback(msg.idiag_family, msg.id.idiag_dst))
		buf_add(data, &msg, sizeof(msg));
}

static struct diag_request request_for(uint16_t type, uint8_t family)
{
	return (struct diag_request){
		.head = {.nlmsg_len = sizeof(struct diag_request), .nlmsg_type = type},
		.body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP},
	};
}

static int destroy(int fd, const struct inet_diag_msg *msg)
{
	struct diag_request req = request_for(SOCK_DESTROY, msg->idiag_family);

	req.body.id = msg->id;
	int r = netlink_ack(fd, &req.head);
	/* Ended by itself meanwhile. */
	return r == -ENOENT ? 0 : r;
}

static int end_family(int fd, uint8_t family, struct err *err)
{
	auto_buf struct buf found = BUF_INIT(SOCKETS_MAX * sizeof(struct inet_diag_msg));
	struct diag_request req = request_for(SOCK_DIAG_BY_FAMILY, family);
	int r;

	/* Timewait holds no one up, and 6.1 cannot end it. */
	req.body.idiag_states = ~(1u << TCP_LISTEN | 1u << TCP_CLOSE | 1u << TCP_TIME_WAIT);
	r = netlink_dump(fd, &req.head, collect, &found);
	/* No such family or no tcp_diag module: nothing of the kind can be there to end. */
	if (r == -ENOENT || r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT)
		return 0;
	if (r < 0)
		return err_sys_code(err, r, "cannot list the guest's connections");
	for (size_t at = 0; at < found.len; at += sizeof(struct inet_diag_msg)) {
		struct inet_diag_msg msg;

		memcpy(&msg, found.data + at, sizeof(msg));
		r = destroy(fd, &msg);
		if (r < 0)
			return err_sys_code(err, r, "cannot end a connection of the snapshot");
	}
	return 0;
}

int gate_sockets(struct err *err)
{
	auto_close int fd = -1;
	int r = netlink_open(NETLINK_SOCK_DIAG, &fd, err);

	if (r == 0)
		r = end_family(fd, AF_INET, err);
	if (r == 0)
		r = end_family(fd, AF_INET6, err);
	return r;
}
