#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "guest_queue.h"
#include "xalloc.h"

#define STATUS_MAX (64u << 10) /* 4096 groups of ten digits, and the rest */

static ssize_t read_status(uint32_t pid, char *text, size_t size)
{
	char path[32];
	ssize_t n = 1;
	size_t len = 0;

	(void)snprintf(path, sizeof(path), "/proc/%u/status", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (n > 0 && len < size - 1) {
		n = read(fd, text + len, size - 1 - len);
		if (n > 0)
			len += (size_t)n;
	}
	text[len] = '\0';
	return n < 0 ? -1 : (ssize_t)len;
}

static size_t parse_groups(const char *p, uint32_t *gids)
{
	size_t n = 0;

	while (n < FP_GROUPS_MAX && (*p == ' ' || *p == '\t' || (*p >= '0' && *p <= '9'))) {
		uint64_t gid = 0;
		bool any = false;

		for (; *p >= '0' && *p <= '9' && gid <= UINT32_MAX; p++, any = true)
			gid = gid * 10 + (uint64_t)(*p - '0');
		if (any)
			gids[n++] = (uint32_t)gid;
		else
			p++;
	}
	return n;
}

uint16_t guest_groups_item(uint32_t pid, struct buf *out)
{
	static const char label[] = "\nGroups:";
	/* Not on the stack: musl's threads have little. */
	auto_free char *text = xmalloc(STATUS_MAX);
	auto_free uint32_t *gids = xreallocarray(NULL, FP_GROUPS_MAX, sizeof(*gids));

	if (pid == 0 || read_status(pid, text, STATUS_MAX) < 0)
		return 0;
	const char *line = strstr(text, label);
	if (!line)
		return 0;
	size_t n = parse_groups(line + sizeof(label) - 1, gids);
	fp_item_put(out, FP_T_GROUPS, gids, n * sizeof(*gids));
	return 1;
}
