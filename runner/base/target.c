#include "target.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"

/* Mounting over them, or over what they lie in, takes the guest apart. What the agent itself reads
 * or writes must not lie on a host volume either: its bytes come through the agent's own loop. */
static const char *const taken[] = {
	"/etc/hostname", "/etc/hosts",  "/etc/machine-id",
	"/etc/passwd",   "/etc/group",  "/proc",
	"/sys",          "/dev",        "/run/fcvm",
	"/run/fc-agent", "/run/libpod", "/run/containers",
	"/fcvm",         "/images",     "/var/lib/containers",
};

/* No empty part, no "." and no "..": one way to write it, and none that leads out. */
static bool is_normalized(const char *path)
{
	while (*path == '/') {
		size_t len = strcspn(path + 1, "/");
		bool dots = path[1] == '.' && (len == 1 || (len == 2 && path[2] == '.'));

		if (len == 0 || dots)
			return false;
		path += 1 + len;
	}
	return *path == '\0';
}

/* Colons and commas divide Podman's mount options. */
static bool is_plain(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || strchr("\x7f:,", *text))
			return false;
	return true;
}

/* a is b, or lies below it. */
static bool is_within(const char *a, const char *b)
{
	size_t len = strlen(b);

	return strncmp(a, b, len) == 0 && (a[len] == '/' || a[len] == '\0');
}

int target_check(const char *target, struct err *err)
{
	if (target[0] != '/' || !is_normalized(target) || !is_plain(target) ||
	    strlen(target) > TARGET_MAX)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected an absolute path below / as target, without '..', ':' and "
			       "',', got '%.100s'",
			       target);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (is_within(target, taken[i]) || is_within(taken[i], target))
			return err_set(err, ERR_SPEC, -EINVAL,
				       "target '%.100s' would cover %s, which is the guest's own",
				       target, taken[i]);
	return 0;
}

bool target_overlaps(const char *a, const char *b)
{
	return is_within(a, b) || is_within(b, a);
}
