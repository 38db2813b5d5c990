#include "snapshot_find.h"

#include "cleanup.h"
#include "client.h"
#include "file.h"
#include "io.h"
#include "memserver.h"
#include "record.h"
#include "set.h"
#include "xalloc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_snapshot(const struct inventory_item *it)
{
	return it->kind == RESOURCE_SNAPSHOT && strcmp(record_state(it->record), "ready") == 0;
}

int snapshot_find(const struct inventory *all, const char *word, const struct inventory_item **ret,
		  struct err *err)
{
	const struct inventory_item *found = NULL;

	for (size_t i = 0; i < all->n; i++) {
		const struct inventory_item *it = &all->v[i];

		if (!is_snapshot(it))
			continue;
		if (strcmp(it->full, word) == 0) {
			found = it;
			break;
		}
		if (strcmp(it->name, word) != 0)
			continue;
		if (found)
			return err_set(err, ERR_SPEC, -EEXIST,
				       "'%s' may be '%s' or '%s': say which set", word, found->full,
				       it->full);
		found = it;
	}
	if (!found) {
		(void)err_set(err, ERR_SPEC, -ENOENT, "no snapshot is called '%s'", word);
		return err_hint(err, "fcvm snapshot ls lists them");
	}
	*ret = found;
	return 0;
}

static const struct inventory_item *snapshot_in(const struct inventory *all, const char *dir)
{
	for (size_t i = 0; dir && i < all->n; i++)
		if (is_snapshot(&all->v[i]) && all->v[i].dir && strcmp(all->v[i].dir, dir) == 0)
			return &all->v[i];
	return NULL;
}

int snapshot_find_served(const struct inventory *all, uint64_t pid,
			 const struct inventory_item **ret_server,
			 const struct inventory_item **ret_snapshot, struct err *err)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct inventory_item *it = &all->v[i];
		struct proc_id id;

		if (it->kind != RESOURCE_MEMSERVER ||
		    !record_get_proc(it->record, "process", &id) || (uint64_t)id.pid != pid)
			continue;
		const struct inventory_item *s =
			snapshot_in(all, json_opt_str(it->record, "snapshot_dir", NULL));
		if (!s)
			continue;
		*ret_server = it;
		*ret_snapshot = s;
		return 0;
	}
	(void)err_set(err, ERR_SPEC, -ESRCH, "process %llu serves no snapshot",
		      (unsigned long long)pid);
	return err_hint(err, "fcvm ps shows memory servers and their pids");
}

int snapshot_refuse_used(const struct inventory *all, const struct inventory_item *snapshot,
			 struct err *err)
{
	for (size_t i = 0; snapshot->dir && i < all->n; i++) {
		const struct inventory_item *it = &all->v[i];
		const char *dir = json_opt_str(it->record, "snapshot_dir", "");

		if (it->kind == RESOURCE_SNAPSHOT || strcmp(dir, snapshot->dir) != 0)
			continue;
		return err_set(err, ERR_SPEC, -EBUSY, "snapshot '%s' is in use by %s",
			       snapshot->full, it->full);
	}
	return 0;
}

char *snapshot_container(const struct host *host, const char *dir)
{
	auto_json struct json_object *status = NULL;

	if (supervisor_peek(dir, host->boot_id, &status, NULL) < 0)
		return xstrdup("");
	return xstrdup(json_opt_str(status, "container", ""));
}

/* --- a server in the foreground --- */

/* One that did not come up: nobody else knows its name. */
static void remove_server(const struct resource_ctx *ctx, const struct node *node)
{
	auto_json struct json_object *record = NULL;
	struct seen seen = {.exists = true};

	(void)record_load(ctx->set_dir, RESOURCE_MEMSERVER, node->name, &record, NULL);
	seen.record = record;
	(void)resource_ops_of(RESOURCE_MEMSERVER)->destroy(ctx, node, &seen, NULL);
}

/* Its signals are blocked: it must give up by itself. */
static uint64_t start_ms(const struct inventory_item *snapshot)
{
	auto_free char *memory = snapshot->dir ? path_join(snapshot->dir, "memory") : NULL;
	struct stat st;

	return memserver_start_ms(memory && stat(memory, &st) == 0 ? (uint64_t)st.st_size : 0);
}

static int create_server(const struct resource_ctx *ctx, const struct inventory_item *snapshot,
			 const char *name, struct proc_id *ret_id, struct err *err)
{
	auto_free char *own = xstrdup(name);
	struct node from = {.kind = RESOURCE_SNAPSHOT, .name = snapshot->name};
	struct node node = {.kind = RESOURCE_MEMSERVER, .name = own};
	struct seen seen = {.exists = true, .healthy = true, .record = snapshot->record};
	struct seen nothing = {0};
	struct need_list needs = {.v = {{&from, &seen}}, .n = 1};
	auto_json struct json_object *record = NULL;
	const struct resource_ops *ops = resource_ops_of(RESOURCE_MEMSERVER);
	int r = ops->create(ctx, &needs, &node, &nothing, &record, err);

	if (r < 0) {
		remove_server(ctx, &node);
		return r;
	}
	json_add_bool(record, "imperative", true);
	if (!record_get_proc(record, "process", ret_id))
		return err_set(err, ERR_FAILED, -EIO, "the memory server has no pid");
	return record_save(ctx->set_dir, record, err);
}

int snapshot_serve_start(const struct host *host, const struct inventory_item *snapshot,
			 char **ret_name, struct proc_id *ret_id, struct err *err)
{
	const struct set_open how = {.name = SET_IMPERATIVE, .create = true, .wait = true};
	auto_set struct set set = {.lock_fd = -1};
	char uuid[37];
	int r = set_open(host, &how, &set, err);

	if (r < 0)
		return r;
	io_uuid(uuid);
	struct resource_ctx ctx = {
		.host = host,
		.set = set.name,
		.set_dir = set.dir,
		.started_ms = now_ms(),
		.deadline_ms = deadline_in(start_ms(snapshot)),
		.foreground = true,
	};
	snprintf(ctx.run, sizeof(ctx.run), "%.8s", uuid);
	auto_free char *name = xasprintf("%s/%s", snapshot->name, ctx.run);
	r = create_server(&ctx, snapshot, name, ret_id, err);
	if (r < 0)
		return r;
	*ret_name = TAKE_PTR(name);
	return 0;
}

int snapshot_serve_wait(const struct host *host, const struct proc_id *id, struct err *err)
{
	sigset_t set;
	int pidfd = -1;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	auto_close int signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return err_sys(err, "cannot wait for signals");
	if (proc_id_open(id, host->boot_id, &pidfd) < 0)
		return err_set(err, ERR_FAILED, -ESRCH, "the memory server ended at once");
	auto_close int server = pidfd;
	struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = server, .events = POLLIN}};
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return err_sys(err, "cannot wait for the memory server");
	if (fds[0].revents & POLLIN)
		return 0;
	return err_set(err, ERR_FAILED, -ESRCH, "the memory server ended; see its server.log");
}
