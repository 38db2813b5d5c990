#include "vm_verbs.h"

#include "cleanup.h"
#include "client.h"
#include "io.h"
#include "log.h"
#include "record.h"
#include "set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void say(void *data, const char *text)
{
	(void)data;
	log_warn("%s", text);
}

static int lock_set(const struct host *host, const char *name, struct set *ret, struct err *err)
{
	const struct set_open how = {.name = name, .wait = true, .say = say};

	return set_open(host, &how, ret, err);
}

int vm_stop(const struct host *host, const struct inventory_item *it, uint64_t grace_ms,
	    struct err *err)
{
	auto_set struct set set = {.lock_fd = -1};
	auto_json struct json_object *record = NULL;
	/* No deadline but the grace's own: a wait for the lock must not eat that. */
	const struct supervisor_call call = {.dir = it->dir};
	int r = lock_set(host, it->set, &set, err);

	if (r < 0 || (r = record_load(set.dir, it->kind, it->name, &record, err)) < 0)
		return r;
	/* Written first: a stop that is cut off is still a stop by hand. */
	json_add_bool(record, "stopped_by_hand", true);
	if ((r = record_save(set.dir, record, err)) < 0)
		return r;
	r = it->dir ? supervisor_stop(&call, grace_ms, err) : 0;
	if (r >= 0)
		r = resource_sweep_networks(host, err);
	return r < 0 ? err_wrap(err, "%s", it->full) : 0;
}

int vm_remove(const struct host *host, const struct inventory_item *it, const char *run,
	      struct err *err)
{
	auto_set struct set set = {.lock_fd = -1};
	auto_json struct json_object *record = NULL;
	struct node node = {.kind = it->kind, .name = it->name};
	int r = lock_set(host, it->set, &set, err);

	if (r < 0)
		return r;
	r = record_load(set.dir, it->kind, it->name, &record, err);
	if (r == -ENOENT || (r >= 0 && run && strcmp(json_opt_str(record, "run", ""), run) != 0))
		return 0;
	if (r < 0)
		return r;
	struct seen seen = {.exists = true, .record = record};
	struct resource_ctx ctx = {
		.host = host,
		.set = set.name,
		.set_dir = set.dir,
		.started_ms = now_ms(),
	};
	r = resource_ops_of(it->kind)->destroy(&ctx, &node, &seen, err);
	if (r >= 0)
		r = resource_sweep_networks(host, err);
	return r < 0 ? err_wrap(err, "%s", it->full) : 0;
}
