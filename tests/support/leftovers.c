/* leftovers.c - what a suite must leave as it found it (docs/testing.md). */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "strv.h"
#include "xalloc.h"

/* Whether the process works for this data directory: by its words or by where it stands. */
static bool process_is_ours(const char *pid, const char *tag)
{
	auto_free char *cmdline_path = xasprintf("/proc/%s/cmdline", pid);
	auto_free char *cwd_path = xasprintf("/proc/%s/cwd", pid);
	auto_buf struct buf cmdline = BUF_INIT(1u << 20);
	char cwd[PATH_MAX];
	ssize_t n = readlink(cwd_path, cwd, sizeof(cwd) - 1);

	cwd[n < 0 ? 0 : n] = '\0';
	if (strstr(cwd, tag))
		return true;
	return file_read(cmdline_path, 1u << 20, &cmdline, NULL) == 0 && cmdline.len &&
	       memmem(cmdline.data, cmdline.len, tag, strlen(tag));
}

static void add_processes(struct strv *lines, const char *tag)
{
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *e;

	while (proc && (e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) &&
		    strtol(e->d_name, NULL, 10) != getpid() && process_is_ours(e->d_name, tag))
			strv_addf(lines, "process %s", e->d_name);
}

/* Lines of a kernel file that name the directory. */
static void add_lines_with(struct strv *lines, const char *path, const char *what, const char *tag)
{
	auto_buf struct buf text = BUF_INIT(4u << 20);
	char *save = NULL;

	if (file_read(path, 4u << 20, &text, NULL) < 0 || !text.len)
		return;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strstr(line, tag))
			strv_addf(lines, "%s %s", what, line);
}

static void add_each(struct strv *lines, const char *dir, const char *prefix, const char *suffix,
		     const char *what, const char *tag)
{
	auto_closedir DIR *d = opendir(dir);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		auto_free char *path = xasprintf("%s/%s/%s", dir, e->d_name, suffix);

		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
			add_lines_with(lines, path, what, tag);
	}
}

/* Links and named namespaces of ours carry our prefix. */
static void add_named(struct strv *lines, const char *dir, const char *what, const char *prefix)
{
	auto_closedir DIR *d = opendir(dir);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
			strv_addf(lines, "%s %s", what, e->d_name);
}

char *host_leftovers(const char *tag)
{
	auto_strv struct strv lines = {0};
	struct buf out = BUF_INIT(8u << 20);

	add_processes(&lines, tag);
	add_lines_with(&lines, "/proc/self/mountinfo", "mount", tag);
	add_each(&lines, "/sys/block", "loop", "loop/backing_file", "loop", tag);
	if (numbers_held(tag) > 0)
		strv_addf(&lines, "%zu uids and gids", numbers_held(tag));
	add_named(&lines, "/sys/class/net", "link", "fv");
	add_named(&lines, "/run/netns", "netns", "fcvm");
	strv_sort(&lines);
	for (size_t i = 0; i < lines.n; i++)
		buf_addf(&out, "%s\n", lines.v[i]);
	buf_add_str(&out, "");
	return buf_detach(&out);
}
