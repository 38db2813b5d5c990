#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "eventlog.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

struct events {
	const struct host *host;
	char *own;      /* the set's, opened for each event: supervisors turn it over meanwhile */
	int asked, out; /* --events, stdout; -1 for none */
	uint64_t seq;
};

void events_close_p(struct events **ep)
{
	struct events *e = *ep;

	if (!e)
		return;
	cleanup_close_p(&e->asked);
	free(e->own);
	free(e);
	*ep = NULL;
}

/* What the caller asked for is this run's alone. */
static int open_asked(const char *path, int *ret, struct err *err)
{
	*ret = open(path, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return *ret < 0 ? err_sys(err, "cannot write events to '%s'", path) : 0;
}

int events_open(const struct host *host, const char *set_dir, const char *path, bool to_stdout,
		struct events **ret, struct err *err)
{
	auto_events struct events *e = xcalloc(1, sizeof(*e));
	auto_close int own = -1;
	int r;

	*e = (struct events){
		.host = host,
		.own = path_join(set_dir, EVENTLOG_NAME),
		.asked = -1,
		.out = to_stdout ? STDOUT_FILENO : -1,
	};
	/* Told now; a run is not stopped for it later. */
	if ((r = eventlog_open(e->own, &own, err)) < 0 ||
	    (path && (r = open_asked(path, &e->asked, err)) < 0))
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
	return eventlog_new(e->host, type, e->seq++);
}

void events_emit(struct events *e, struct json_object *o)
{
	auto_json struct json_object *event = o;
	auto_close int own = -1;

	if (eventlog_open(e->own, &own, NULL) == 0)
		eventlog_write(own, event);
	if (e->asked >= 0)
		eventlog_write(e->asked, event);
	if (e->out >= 0)
		eventlog_write(e->out, event);
}
