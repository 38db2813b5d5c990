#include "agent_client.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 32u

/* Byte by byte: what stands behind the newline belongs to the stream. */
static int read_line(int fd, char line[LINE_MAX_BYTES], uint64_t deadline_ms)
{
	for (size_t n = 0; n < LINE_MAX_BYTES - 1; n++) {
		int r = io_read_full(fd, &line[n], 1, deadline_ms, NULL);

		if (r < 0)
			return r;
		line[n + 1] = '\0';
		if (line[n] == '\n')
			return 0;
	}
	return -EMSGSIZE;
}

static int shake_hands(int fd, uint32_t port, uint64_t deadline_ms, struct err *err)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	int r = io_write_full(fd, line, (size_t)n, deadline_ms, NULL);

	if (r >= 0)
		r = read_line(fd, line, deadline_ms);
	if (r >= 0 && strncmp(line, "OK ", 3) != 0)
		r = -EPROTO;
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_GUEST, r, "the guest does not answer on port %u", port);
	if (r < 0)
		return err_set(err, ERR_GUEST, -ECONNRESET, "the guest refuses port %u", port);
	return 0;
}

int agent_client_connect(const char *instance_dir, uint32_t port, uint64_t deadline_ms, int *ret_fd,
			 struct err *err)
{
	auto_free char *path = path_join(instance_dir, AGENT_CLIENT_SOCK);
	auto_close int fd = -1;
	int r = io_unix_connect(path, deadline_ms, &fd, err);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(err, ERR_FAILED, r, "the VM in '%s' is not running", instance_dir);
	if (r >= 0)
		r = shake_hands(fd, port, deadline_ms, err);
	if (r >= 0)
		r = io_set_nonblock(fd, true);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
