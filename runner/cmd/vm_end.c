#include "vm_end.h"

#include "cleanup.h"
#include "client.h"
#include "io.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

void vm_end_close(struct vm_end *e)
{
	cleanup_close_p(&e->supervisor);
}

void vm_end_open(const struct host *host, const char *dir, struct vm_end *ret)
{
	auto_json struct json_object *status = NULL;
	struct proc_id id = {0};

	*ret = (struct vm_end){.host = host, .dir = dir, .supervisor = -1};
	if (supervisor_peek(dir, host->boot_id, &status, NULL) < 0)
		return;
	struct json_object *o = json_opt_obj(status, "supervisor");
	id.pid = (pid_t)json_opt_u64(o, "pid", 0);
	id.start_time = json_opt_u64(o, "start_time", 0);
	(void)snprintf(id.boot_id, sizeof(id.boot_id), "%s", json_opt_str(o, "boot_id", ""));
	(void)proc_id_open(&id, host->boot_id, &ret->supervisor);
}

static bool is_gone(const struct vm_end *e)
{
	struct pollfd p = {.fd = e->supervisor, .events = POLLIN};

	return e->supervisor < 0 || poll(&p, 1, 0) > 0;
}

int vm_end_look(const struct vm_end *e, struct json_object **ret, struct err *err)
{
	auto_json struct json_object *status = NULL;
	/* Asked first: what one that is gone has written is its last word. */
	bool gone = is_gone(e);
	struct err why = {0};
	int r = supervisor_peek(e->dir, e->host->boot_id, &status, &why);

	if (r >= 0 && json_opt_str(status, "ended", NULL)) {
		*ret = TAKE_PTR(status);
		return 1;
	}
	if (!gone)
		return 0;
	if (r == -ENOENT)
		return err_set(err, ERR_FAILED, r, "the VM was removed");
	if (r >= 0)
		return err_set(err, ERR_FAILED, -ESRCH, "the VM was replaced by another");
	if (err)
		*err = why;
	return err_wrap(err, "cannot tell how the VM ended");
}
