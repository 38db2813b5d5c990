#include "hostfacts.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LINE_BYTES 16384 /* flags are the longest, some 2 kB today */

/* The value of the first line "name\t: value" of /proc/cpuinfo. */
static int read_cpuinfo(const char *name, char *ret, size_t size, struct err *err)
{
	auto_fclose FILE *f = fopen("/proc/cpuinfo", "re");
	auto_free char *line = xmalloc(LINE_BYTES);

	while (f && fgets(line, LINE_BYTES, f)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, name, strlen(name)) != 0 || !colon)
			continue;
		colon += 1 + (colon[1] == ' ');
		colon[strcspn(colon, "\n")] = '\0';
		(void)snprintf(ret, size, "%s", colon);
		return 0;
	}
	return err_set(err, ERR_FAILED, -ENOENT, "cannot read the CPU's %s from /proc/cpuinfo",
		       name);
}

static int read_cpu_flags(char ret[DIGEST_HEX_SIZE], struct err *err)
{
	auto_free char *flags = xmalloc(LINE_BYTES);
	int r = read_cpuinfo("flags", flags, LINE_BYTES, err);

	if (r < 0)
		return r;
	digest_of(flags, strlen(flags), ret);
	return 0;
}

int hostfacts_read(struct hostfacts *ret, struct err *err)
{
	struct hostfacts f = {0};
	struct utsname u = {0};
	int r = read_cpuinfo("model name", f.cpu_model, sizeof(f.cpu_model), err);

	if (r == 0)
		r = read_cpu_flags(f.cpu_flags, err);
	if (r < 0)
		return r;
	if (uname(&u) < 0)
		return err_sys(err, "cannot read the kernel's version");
	(void)snprintf(f.kernel, sizeof(f.kernel), "%s", u.release);
	f.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	*ret = f;
	return 0;
}
