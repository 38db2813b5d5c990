#include "loopback.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "ledger.h"
#include "slot.h"

#define FIRST_ADDR 0x7f400001u /* 127.64.0.1 */
#define KIND "loopback"

static void format(uint32_t number, char ret[NET_IP4_SIZE])
{
	slot_format(FIRST_ADDR + number, ret);
}

/* Abstract names are one to a network namespace, as 127/8 is, and go with their process. */
static int claim(const char *ip)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "fcvm-loopback-%s", ip);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, len) < 0)
		return -1;
	return TAKE_FD(fd);
}

static bool is_free(void *data, uint32_t number)
{
	struct loopback *l = data;
	char ip[NET_IP4_SIZE];

	format(number, ip);
	l->claim = claim(ip);
	return l->claim >= 0;
}

int loopback_take(const struct host *host, const char *owner, struct loopback *ret, struct err *err)
{
	struct loopback l = LOOPBACK_NONE;
	uint32_t number = 0;
	int r = 0;

	if (ret->ip[0])
		return 0;
	r = ledger_take_if(host, KIND, owner, is_free, &l, &number, err);
	if (r < 0) {
		cleanup_close_p(&l.claim);
		return err_wrap(err, "loopback address");
	}
	format(number, l.ip);
	*ret = l;
	return 0;
}

void loopback_release(const struct host *host, const char *owner, struct loopback *l)
{
	if (l->ip[0])
		(void)ledger_release(host, KIND, owner, NULL);
	cleanup_close_p(&l->claim);
	*l = (struct loopback)LOOPBACK_NONE;
}
