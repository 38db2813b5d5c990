#include "qemu_find.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "parse.h"
#include "proc.h"
#include "xalloc.h"

#define QEMU_NAME "qemu-system-x86_64"
#define VERSION_DEADLINE_MS 20000
#define VERSION_TEXT_MAX 4096
/* x-ignore-shared with microvm was proven from here on. */
#define OLDEST_MAJOR 7
#define OLDEST_MINOR 2

int qemu_find(const struct host *host, char **ret, struct err *err)
{
	const char *wish = host->getenv("FCVM_QEMU");
	const char *path = host->getenv("PATH");
	auto_free char *found =
		wish && *wish ? xstrdup(wish) : proc_find(QEMU_NAME, path ? path : "/usr/bin");
	auto_free char *real = found ? realpath(found, NULL) : NULL;

	if (real && access(real, X_OK) == 0) {
		*ret = TAKE_PTR(real);
		return 0;
	}
	if (wish && *wish)
		return err_set(err, ERR_HOST, -ENOENT, "FCVM_QEMU names '%s', which cannot be run",
			       wish);
	err_set(err, ERR_HOST, -ENOENT, "%s is not installed", QEMU_NAME);
	return err_hint(err, "apt-get install qemu-system-x86");
}

int qemu_parse_version(const char *text, char *ret, size_t size, struct err *err)
{
	static const char mark[] = "version ";
	const char *at = strstr(text, mark);
	size_t len;
	uint64_t major = 0, minor = 0;

	at = at ? at + strlen(mark) : "";
	len = strspn(at, "0123456789.");
	auto_free char *version = xstrndup(at, len);
	char *dot = strchr(version, '.');
	char *end = dot ? strchr(dot + 1, '.') : NULL;
	if (dot)
		*dot = '\0';
	if (end)
		*end = '\0';
	if (!dot || len >= size || parse_u64(version, 0, 1000, &major, NULL) < 0 ||
	    parse_u64(dot + 1, 0, 1000, &minor, NULL) < 0)
		return err_set(err, ERR_HOST, -EBADMSG, "cannot tell qemu's version from '%.80s'",
			       text);
	if (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
		return err_set(err, ERR_HOST, -EOPNOTSUPP,
			       "qemu %.*s is too old, at least %d.%d is needed", (int)len, at,
			       OLDEST_MAJOR, OLDEST_MINOR);
	(void)snprintf(ret, size, "%.*s", (int)len, at);
	return 0;
}

int qemu_ask(const char *binary, struct probe_binary *ret, struct err *err)
{
	const char *const argv[] = {binary, "--version", NULL};
	auto_buf struct buf text = BUF_INIT(VERSION_TEXT_MAX);
	const struct tool_spec tool = {
		.argv = argv,
		.in = -1,
		.out = -1,
		.stdout_to = &text,
		.deadline_ms = deadline_in(VERSION_DEADLINE_MS),
		.no_namespace = true,
	};
	int r = tool_run(&tool, err);

	if (r == 0)
		r = qemu_parse_version(buf_str(&text), ret->version, sizeof(ret->version), err);
	return r;
}
