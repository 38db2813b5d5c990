#include "netlink.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cleanup.h"

#define REPLY_SIZE 32768u

int netlink_open(int protocol, int *ret_fd, struct err *err)
{
	/* Answers come from within sendmsg; the limit only keeps a kernel bug from hanging us. */
	static const struct timeval limit = {.tv_sec = 2};
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return err_sys(err, "cannot open a netlink socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_request(int fd, struct nlmsghdr *msg, unsigned short flags)
{
	static unsigned int sequence;

	msg->nlmsg_flags |= flags;
	msg->nlmsg_seq = ++sequence;
	return send(fd, msg, msg->nlmsg_len, 0) < 0 ? -errno : 0;
}

/* The verdict of an NLMSG_ERROR or NLMSG_DONE message: 0 or a negative errno. */
static int verdict(const struct nlmsghdr *m)
{
	int code = 0;

	if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
		memcpy(&code, (const char *)m + NLMSG_HDRLEN, sizeof(code));
	return code < 0 ? code : 0;
}

/* One datagram of answers to `seq`: 1 when the last one was among them, with *ret_code set. */
static int read_answers(int fd, unsigned int seq, void (*fn)(void *data, const struct nlmsghdr *m),
			void *data, int *ret_code)
{
	static _Alignas(struct nlmsghdr) char reply[REPLY_SIZE];
	ssize_t n = recv(fd, reply, sizeof(reply), 0);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	size_t left = (size_t)n;
	for (const char *at = reply; left >= NLMSG_HDRLEN;) {
		const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)at;
		size_t step = NLMSG_ALIGN(m->nlmsg_len);

		if (m->nlmsg_len < NLMSG_HDRLEN || m->nlmsg_len > left)
			return -EBADMSG;
		if (m->nlmsg_seq == seq &&
		    (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE)) {
			*ret_code = verdict(m);
			return 1;
		}
		if (m->nlmsg_seq == seq && fn)
			fn(data, m);
		at += step;
		left -= step < left ? step : left;
	}
	return 0;
}

static int request(int fd, struct nlmsghdr *msg, unsigned short flags,
		   void (*fn)(void *data, const struct nlmsghdr *m), void *data)
{
	int code = 0;
	int r = send_request(fd, msg, flags);

	while (r == 0)
		r = read_answers(fd, msg->nlmsg_seq, fn, data, &code);
	return r < 0 ? r : code;
}

int netlink_ack(int fd, struct nlmsghdr *msg)
{
	return request(fd, msg, NLM_F_REQUEST | NLM_F_ACK, NULL, NULL);
}

int netlink_dump(int fd, struct nlmsghdr *msg, void (*fn)(void *data, const struct nlmsghdr *m),
		 void *data)
{
	return request(fd, msg, NLM_F_REQUEST | NLM_F_DUMP, fn, data);
}

void netlink_attr(struct nlmsghdr *msg, size_t size, unsigned short type, const void *value,
		  size_t len)
{
	size_t at = NLMSG_ALIGN(msg->nlmsg_len);
	struct rtattr attr = {.rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type};

	assert(at + RTA_SPACE(len) <= size);
	memcpy((char *)msg + at, &attr, sizeof(attr));
	memcpy((char *)msg + at + RTA_LENGTH(0), value, len);
	msg->nlmsg_len = (unsigned int)(at + RTA_SPACE(len));
}
