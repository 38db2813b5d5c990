/* leftovers.c - what a suite must leave as it found it (docs/testing.md). */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "strv.h"
#include "xalloc.h"

static void add_processes(struct strv *lines)
{
	auto_closedir DIR *proc = opendir("/proc");
	struct dirent *e;

	while (proc && (e = readdir(proc))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		auto_free char *link = xasprintf("/proc/%s/exe", e->d_name);
		char exe[PATH_MAX];
		ssize_t n = readlink(link, exe, sizeof(exe) - 1);

		if (n <= 0)
			continue;
		exe[n] = '\0';
		const char *base = strrchr(exe, '/');

		base = base ? base + 1 : exe;
		if (strncmp(base, "fcvm", 4) == 0 || strncmp(base, "qemu-system", 11) == 0 ||
		    strncmp(base, "fake_qemu", 9) == 0)
			strv_addf(lines, "process %s %s", e->d_name, exe);
	}
}

/* One line a mount below a test directory or of a kind we make. */
static void add_mounts(struct strv *lines)
{
	auto_buf struct buf text = BUF_INIT(4u << 20);
	char *save = NULL;

	if (file_read("/proc/self/mountinfo", 4u << 20, &text, NULL) < 0)
		return;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strstr(line, "fcvm"))
			strv_addf(lines, "mount %s", line);
}

static void add_entries(struct strv *lines, const char *dir, const char *what, const char *prefix)
{
	auto_closedir DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0)
			strv_addf(lines, "%s %s", what, e->d_name);
}

static void add_loops(struct strv *lines)
{
	auto_closedir DIR *d = opendir("/sys/block");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		auto_free char *backing = xasprintf("/sys/block/%s/loop/backing_file", e->d_name);

		if (file_exists(backing))
			strv_addf(lines, "loop %s", e->d_name);
	}
}

char *host_leftovers(void)
{
	auto_strv struct strv lines = {0};
	struct buf out = BUF_INIT(8u << 20);

	add_processes(&lines);
	add_mounts(&lines);
	add_loops(&lines);
	add_entries(&lines, "/sys/class/net", "link", "");
	add_entries(&lines, "/run/netns", "netns", "");
	strv_sort(&lines);
	for (size_t i = 0; i < lines.n; i++)
		buf_addf(&out, "%s\n", lines.v[i]);
	buf_add_str(&out, "");
	return buf_detach(&out);
}
