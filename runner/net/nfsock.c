#include "nfsock.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* A thousand elements in one transaction, and their answers. */
#define SOCKET_BYTES (8 << 20)
#define ANSWER_SIZE 32768u

void nfsock_close_p(struct mnl_socket **nl)
{
	if (*nl)
		(void)mnl_socket_close(*nl);
	*nl = NULL;
}

int nfsock_open(struct mnl_socket **ret, struct err *err)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	const int bytes = SOCKET_BYTES;

	if (!nl)
		return err_sys(err, "cannot open a netfilter socket");
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		(void)err_sys(err, "cannot bind a netfilter socket");
		nfsock_close_p(&nl);
		return -EIO;
	}
	(void)setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	(void)setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	*ret = nl;
	return 0;
}

uint32_t nfsock_sequence(void)
{
	static uint32_t sequence;

	return ++sequence;
}

struct answers {
	mnl_cb_t fn;
	void *data;
	int code;  /* the first error */
	bool more; /* the rest of a dump follows */
};

static void take_verdict(struct answers *a, const struct nlmsghdr *m)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

	if (mnl_nlmsg_get_payload_len(m) >= sizeof(*e) && e->error < 0 && a->code == 0)
		a->code = e->error;
}

static void take_message(struct answers *a, const struct nlmsghdr *m)
{
	if (m->nlmsg_type == NLMSG_ERROR)
		take_verdict(a, m);
	else if (m->nlmsg_type >= NLMSG_MIN_TYPE && a->fn)
		(void)a->fn(m, a->data);
	if (m->nlmsg_type == NLMSG_DONE)
		a->more = false;
	else if (m->nlmsg_flags & NLM_F_MULTI)
		a->more = true;
}

/* Transactions and single requests are answered by the time send() returns; dumps go on with every
 * read until they say that they are done. */
int nfsock_talk(struct mnl_socket *nl, const void *data, size_t len, mnl_cb_t fn, void *data_of_fn)
{
	static _Alignas(struct nlmsghdr) char answer[ANSWER_SIZE];
	struct answers a = {.fn = fn, .data = data_of_fn};
	int fd = mnl_socket_get_fd(nl);

	if (mnl_socket_sendto(nl, data, len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, answer, sizeof(answer), a.more ? 0 : MSG_DONTWAIT);
		const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)answer;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? a.code : -errno;
		for (; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left))
			take_message(&a, m);
	}
}
