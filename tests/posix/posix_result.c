/* posix_result.c - what an operation gave, as words that mean the same on both sides. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "posix.h"

long posix_result(struct posix_at *at, const char *what, long r)
{
	if (r < 0)
		buf_addf(at->out, " %s=-%s", what, strerrorname_np(errno));
	else
		buf_addf(at->out, " %s=%ld", what, r);
	return r;
}

int posix_result_fd(struct posix_at *at, const char *what, int fd)
{
	if (fd < 0)
		(void)posix_result(at, what, fd);
	else
		buf_addf(at->out, " %s=ok", what);
	return fd;
}

void posix_result_stat(struct posix_at *at, const char *what, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		(void)posix_result(at, what, -1);
		return;
	}
	buf_addf(at->out, " %s=%06o,%u:%u,n%ju,s%jd", what, st.st_mode, st.st_uid, st.st_gid,
		 (uintmax_t)st.st_nlink, S_ISDIR(st.st_mode) ? 0 : (intmax_t)st.st_size);
}

void posix_result_data(struct posix_at *at, const char *what, const void *data, long n)
{
	const unsigned char *p = data;

	if (posix_result(at, what, n) <= 0)
		return;
	buf_add_char(at->out, ':');
	for (long i = 0; i < n && i < 64; i++)
		if (p[i] > ' ' && p[i] < 0x7f)
			buf_add_char(at->out, (char)p[i]);
		else
			buf_addf(at->out, "\\%02x", p[i]);
}
