/* holder.c - whether a port of this host is free, and if not, which process listens there. */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "net.h"
#include "parse.h"
#include "sockets.h"
#include "xalloc.h"

#define STATE_LISTEN 0x0au /* of /proc/net/tcp */
#define STATE_BOUND 0x07u  /* of /proc/net/udp: not connected */

/* The bytes of a socket in /proc/net/tcp, as the kernel has them in memory; false: no such text. */
static bool read_hex(const char *hex, size_t digits, uint32_t *ret)
{
	static const char all[] = "0123456789ABCDEF";
	uint32_t v = 0;

	for (size_t i = 0; i < digits; i++) {
		const char *digit = hex[i] ? strchr(all, hex[i]) : NULL;

		if (!digit)
			return false;
		v = v << 4 | (uint32_t)(digit - all);
	}
	*ret = v;
	return true;
}

/* An address of /proc/net/tcp or tcp6 as IPv4: 0 for "every address"; false: only IPv6 gets there.
 */
static bool read_address(const char *hex, uint32_t *ret)
{
	uint32_t words[4] = {0};
	size_t len = strcspn(hex, ":"), n = len / 8;

	if (len != 8 && len != 32)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!read_hex(hex + 8 * i, 8, &words[i]))
			return false;
	*ret = ntohl(words[n - 1]);
	if (n == 1)
		return true;
	return words[0] == 0 && words[1] == 0 && (words[2] == htonl(0xffffu) || words[2] == 0);
}

enum { WORD_LOCAL = 1, WORD_STATE = 3, WORD_INODE = 9, N_WORDS };

/* A line of /proc/net/{tcp,udp}{,6}: the socket's inode when it holds the port, else 0. */
static uint64_t inode_of(char *line, const struct net_port *port)
{
	char *words[N_WORDS] = {NULL}, *save = NULL, *at = line;
	const char *colon = NULL;
	uint32_t have = 0, number = 0, state = 0;
	struct in_addr want = {0};
	uint64_t inode = 0;

	for (size_t i = 0; i < N_WORDS; i++, at = NULL)
		if (!(words[i] = strtok_r(at, " \n", &save)))
			return 0;
	colon = strchr(words[WORD_LOCAL], ':');
	if (!colon || !read_address(words[WORD_LOCAL], &have) || !read_hex(colon + 1, 4, &number) ||
	    !read_hex(words[WORD_STATE], 2, &state) ||
	    parse_u64(words[WORD_INODE], 0, UINT64_MAX, &inode, NULL) < 0)
		return 0;
	if (number != port->host_port || state != (port->udp ? STATE_BOUND : STATE_LISTEN))
		return 0;
	(void)inet_pton(AF_INET, port->host_ip, &want);
	return have == 0 || want.s_addr == 0 || have == ntohl(want.s_addr) ? inode : 0;
}

static uint64_t find_inode(const char *path, const struct net_port *port)
{
	auto_fclose FILE *f = fopen(path, "re");
	char line[512];
	uint64_t inode = 0;

	while (f && inode == 0 && fgets(line, sizeof(line), f))
		inode = inode_of(line, port);
	return inode;
}

static bool process_has(const char *pid, const char *link)
{
	auto_free char *path = xasprintf("/proc/%s/fd", pid);
	auto_closedir DIR *dir = opendir(path);
	const struct dirent *e = NULL;
	char to[64];

	while (dir && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1);

		if (n <= 0)
			continue;
		to[n] = '\0';
		if (strcmp(to, link) == 0)
			return true;
	}
	return false;
}

static void name_process(const char *pid, struct net_holder *ret)
{
	auto_free char *path = xasprintf("/proc/%s/comm", pid);
	auto_buf struct buf comm = BUF_INIT(256);
	uint64_t number = 0;

	(void)parse_u64(pid, 1, INT32_MAX, &number, NULL);
	ret->pid = (pid_t)number;
	if (file_read(path, comm.max - 1, &comm, NULL) >= 0)
		(void)snprintf(ret->name, sizeof(ret->name), "%.*s",
			       (int)strcspn(buf_str(&comm), "\n"), buf_str(&comm));
}

static void find_process(uint64_t inode, struct net_holder *ret)
{
	auto_free char *link = xasprintf("socket:[%" PRIu64 "]", inode);
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *e = NULL;

	while (proc && (e = readdir(proc))) {
		if (!isdigit((unsigned char)e->d_name[0]) || !process_has(e->d_name, link))
			continue;
		name_process(e->d_name, ret);
		return;
	}
}

int net_port_holder(const struct net_port *port, struct net_holder *ret, struct err *err)
{
	static const char *const files[2][2] = {{"/proc/self/net/tcp", "/proc/self/net/tcp6"},
						{"/proc/self/net/udp", "/proc/self/net/udp6"}};
	auto_close int fd = -1;
	uint64_t inode = 0;
	int r = port->host_ip[0] ? sockets_reserve(port, &fd, err) : 0;

	if (r != -EADDRINUSE)
		return r;
	*ret = (struct net_holder){0};
	for (size_t i = 0; i < 2 && inode == 0; i++)
		inode = find_inode(files[port->udp][i], port);
	if (inode)
		find_process(inode, ret);
	return 1;
}
