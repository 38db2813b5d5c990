#include "hostfacts.h"

#include "cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* "model name\t: AMD EPYC 7571" -> "AMD EPYC 7571" */
static int read_cpu_model(char *ret, size_t size, struct err *err)
{
	auto_fclose FILE *f = fopen("/proc/cpuinfo", "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		colon += 1 + (colon[1] == ' ');
		colon[strcspn(colon, "\n")] = '\0';
		(void)snprintf(ret, size, "%s", colon);
		return 0;
	}
	return err_set(err, ERR_FAILED, -ENOENT, "cannot read the CPU model from /proc/cpuinfo");
}

int hostfacts_read(struct hostfacts *ret, struct err *err)
{
	struct hostfacts f = {0};
	struct utsname u = {0};
	int r = read_cpu_model(f.cpu_model, sizeof(f.cpu_model), err);

	if (r < 0)
		return r;
	if (uname(&u) < 0)
		return err_sys(err, "cannot read the kernel's version");
	(void)snprintf(f.kernel, sizeof(f.kernel), "%s", u.release);
	f.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	*ret = f;
	return 0;
}
