#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define SINKS 3
#define EVENTS_MAX (16u << 20) /* events.jsonl is turned over beyond it */

struct events {
	const struct host *host;
	int fds[SINKS]; /* the set's, --events, stdout; -1 for none */
	uint64_t seq;
};

void events_close_p(struct events **ep)
{
	struct events *e = *ep;

	if (!e)
		return;
	for (size_t i = 0; i < 2; i++)
		if (e->fds[i] >= 0)
			close(e->fds[i]);
	free(e);
	*ep = NULL;
}

static int open_append(const char *path, int flags, int *ret, struct err *err)
{
	*ret = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | flags, 0600);
	return *ret < 0 ? err_sys(err, "cannot write events to '%s'", path) : 0;
}

int events_open(const struct host *host, const char *set_dir, const char *path, bool to_stdout,
		struct events **ret, struct err *err)
{
	auto_free char *own = path_join(set_dir, "events.jsonl");
	auto_free char *old = xasprintf("%s.1", own);
	auto_events struct events *e = xcalloc(1, sizeof(*e));
	struct stat st;
	int r;

	*e = (struct events){.host = host, .fds = {-1, -1, to_stdout ? STDOUT_FILENO : -1}};
	if (stat(own, &st) == 0 && st.st_size > EVENTS_MAX && rename(own, old) < 0)
		return err_sys(err, "cannot turn over '%s'", own);
	if ((r = open_append(own, O_NOFOLLOW, &e->fds[0], err)) < 0 ||
	    (path && (r = open_append(path, O_TRUNC, &e->fds[1], err)) < 0))
		return r;
	struct json_object *o = json_object_new_object();
	json_add_str(o, "v", "1.0");
	json_add_u64(o, "seq", e->seq++);
	char now[IO_TIME_SIZE];
	io_time_rfc3339(host->unix_ms(), now);
	json_add_str(o, "t", now);
	json_add_str(o, "type", "version");
	json_add_str(o, "fcvm", FCVM_VERSION);
	events_emit(e, o);
	*ret = TAKE_PTR(e);
	return 0;
}

struct json_object *events_new(struct events *e, const char *type)
{
	struct json_object *o = json_object_new_object();
	char now[IO_TIME_SIZE];

	io_time_rfc3339(e->host->unix_ms(), now);
	json_add_u64(o, "seq", e->seq++);
	json_add_str(o, "t", now);
	json_add_str(o, "type", type);
	return o;
}

void events_emit(struct events *e, struct json_object *o)
{
	auto_json struct json_object *own = o;
	auto_free char *text = json_line(own);
	auto_free char *line = xasprintf("%s\n", text);

	for (size_t i = 0; i < SINKS; i++)
		if (e->fds[i] >= 0)
			(void)io_write_full(e->fds[i], line, strlen(line), 0, NULL);
}
