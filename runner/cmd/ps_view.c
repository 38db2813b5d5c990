#include "ps_view.h"

#include "cleanup.h"
#include "client.h"
#include "file.h"
#include "parse.h"
#include "proc.h"
#include "record.h"
#include "set.h"
#include "table.h"
#include "xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROLLUP_MAX 8192u
#define PORTS_SHOWN 3 /* in the table; JSON has them all */

bool ps_is_shown(const struct inventory_item *it)
{
	return strcmp(record_state(it->record), "reaped") != 0;
}

static const char *kind_of(const struct inventory_item *it)
{
	if (it->kind == RESOURCE_BASELINE && strcmp(it->set, SET_IMPERATIVE) == 0)
		return "vm";
	return resource_ops_of(it->kind)->kind;
}

/* Proportional set size: what the process alone accounts for. */
static struct json_object *pss_of(uint64_t pid)
{
	static const char key[] = "\nPss:";
	auto_free char *path = xasprintf("/proc/%" PRIu64 "/smaps_rollup", pid);
	auto_buf struct buf text = BUF_INIT(ROLLUP_MAX);
	uint64_t kib;

	if (file_read(path, ROLLUP_MAX, &text, NULL) < 0)
		return NULL;
	const char *at = strstr(buf_str(&text), key);
	if (!at)
		return NULL;
	at += sizeof(key) - 1;
	at += strspn(at, " \t");
	auto_free char *number = xstrndup(at, strcspn(at, " \n"));
	if (parse_u64(number, 0, UINT64_MAX >> 11, &kib, NULL) < 0)
		return NULL;
	return json_object_new_int64((int64_t)(kib << 10));
}

/* Own copy of a member; NULL (null) when it is not there. */
static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (o)
		(void)json_object_object_get_ex(o, key, &v);
	return v ? json_object_get(v) : NULL;
}

/* The VMM's pid, only while it is that very process. */
static uint64_t live_vmm(const struct host *host, struct json_object *status)
{
	struct json_object *supervisor = status ? json_opt_obj(status, "supervisor") : NULL;
	struct proc_id id = {.start_time = status ? json_opt_u64(status, "pid_start", 0) : 0};
	uint64_t pid = status ? json_opt_u64(status, "pid", 0) : 0;

	if (!supervisor || pid == 0 || pid > INT32_MAX)
		return 0;
	id.pid = (pid_t)pid;
	snprintf(id.boot_id, sizeof(id.boot_id), "%s", json_opt_str(supervisor, "boot_id", ""));
	return proc_id_alive(&id, host->boot_id) ? pid : 0;
}

static const char *vm_state(const struct inventory_item *it, struct json_object *status)
{
	const char *recorded = record_state(it->record);

	if (strcmp(recorded, "reaped") == 0 || json_opt_bool(it->record, "stopped_by_hand", false))
		return "stopped";
	if (!status)
		return strcmp(recorded, "creating") == 0 ? "creating" : "failed";
	return json_opt_str(status, "state", "failed");
}

static void add_pid(struct json_object *o, uint64_t pid)
{
	json_add(o, "pid", pid ? json_object_new_int64((int64_t)pid) : NULL);
	json_add(o, "pss_bytes", pid ? pss_of(pid) : NULL);
}

static void view_vm(const struct host *host, const struct inventory_item *it, struct json_object *o)
{
	static const char *const from_status[] = {"vm_id", "exit_code", "restarts", "engine",
						  "accel"};
	auto_json struct json_object *status = NULL;
	bool clone = it->kind == RESOURCE_CLONE;

	if (it->dir)
		(void)supervisor_peek(it->dir, host->boot_id, &status, NULL);
	uint64_t pid = live_vmm(host, status);
	json_add(o, "fleet", member(it->record, "fleet"));
	json_add(o, "index", clone ? member(it->record, "index") : NULL);
	json_add_str(o, "state", vm_state(it, status));
	json_add_str(o, "health", status ? json_opt_str(status, "health", "none") : "none");
	for (size_t i = 0; i < ARRAY_SIZE(from_status); i++)
		json_add(o, from_status[i], member(status, from_status[i]));
	if (!json_opt_str(o, "vm_id", NULL))
		json_add(o, "vm_id", member(it->record, "vm_id"));
	json_add(o, "snapshot", member(it->record, "snapshot"));
	/* A restart may have moved it to another server than the record's. */
	struct json_object *serve = member(status, "serve_pid");
	json_add(o, "serve_pid", serve ? serve : member(it->record, "serve_pid"));
	/* What a killed supervisor has left says where the VM was. */
	struct json_object *ports = pid ? member(status, "ports") : NULL;
	json_add(o, "ip", pid ? member(status, "ip") : NULL);
	json_add(o, "ports", ports ? ports : json_object_new_array());
	add_pid(o, pid);
}

static void view_server(const struct host *host, const struct inventory_item *it,
			struct json_object *o)
{
	static const char *const none[] = {"fleet",    "index",    "engine",    "accel",
					   "vm_id",    "ip",       "exit_code", "restarts",
					   "snapshot", "serve_pid"};
	const char *slash = strrchr(it->name, '/');
	struct proc_id id;
	bool alive =
		record_get_proc(it->record, "process", &id) && proc_id_alive(&id, host->boot_id);
	const char *state = record_state(it->record);

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		json_add(o, none[i], NULL);
	auto_free char *snapshot = xstrndup(it->name, slash ? (size_t)(slash - it->name) : 0);
	json_add_str(o, "snapshot", *snapshot ? snapshot : NULL);
	json_add_str(o, "state",
		     alive                                   ? "ready"
		     : *state && strcmp(state, "ready") != 0 ? "creating"
							     : "lost");
	json_add_str(o, "health", "none");
	json_add(o, "ports", json_object_new_array());
	add_pid(o, alive ? (uint64_t)id.pid : 0);
}

struct json_object *ps_view(const struct host *host, const struct inventory_item *it)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "name", it->full);
	json_add_str(o, "set", it->set);
	json_add_str(o, "kind", kind_of(it));
	if (it->kind == RESOURCE_MEMSERVER)
		view_server(host, it, o);
	else
		view_vm(host, it, o);
	json_add(o, "created_at", member(it->record, "created_at"));
	json_add(o, "ready_ms", member(it->record, "ready_ms"));
	return o;
}

/* "2026-01-02T03:04:05.678Z" -> how long ago; false when it is no such text. */
static bool age_of(const char *created, int64_t unix_ms, char *ret, size_t size)
{
	struct tm tm = {0};

	if (!created || !strptime(created, "%Y-%m-%dT%H:%M:%S", &tm))
		return false;
	int64_t s = unix_ms / 1000 - (int64_t)timegm(&tm);
	/* Seconds are enough for people. */
	if (s > 0)
		format_duration_ms((uint64_t)s * 1000, ret, size);
	else
		(void)snprintf(ret, size, "0s");
	return true;
}

static void number_cell(struct table *t, struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	(void)json_object_object_get_ex(o, key, &v);
	table_cell(t, v ? json_object_get_string(v) : NULL);
}

/* "127.0.0.1:8080->80/tcp", the first few of them; the caller frees. NULL: none. */
static char *ports_text(struct json_object *o)
{
	struct json_object *ports = NULL;
	struct buf text = BUF_INIT(400);
	size_t n = 0;

	if (json_object_object_get_ex(o, "ports", &ports))
		n = json_object_array_length(ports);
	for (size_t i = 0; i < n && i < PORTS_SHOWN; i++) {
		struct json_object *p = json_object_array_get_idx(ports, i);

		buf_addf(&text, "%s%s:%" PRIu64 "->%" PRIu64 "/%s", i ? ", " : "",
			 json_opt_str(p, "host_ip", "?"), json_opt_u64(p, "host_port", 0),
			 json_opt_u64(p, "guest_port", 0), json_opt_str(p, "proto", "tcp"));
	}
	if (n > PORTS_SHOWN)
		buf_addf(&text, ", %zu more", n - PORTS_SHOWN);
	return n ? buf_detach(&text) : NULL;
}

static void add_row(struct table *t, struct json_object *o, int64_t unix_ms)
{
	uint64_t pss = json_opt_u64(o, "pss_bytes", 0), ready = json_opt_u64(o, "ready_ms", 0);
	char memory[32], took[32], age[32];
	bool aged = age_of(json_opt_str(o, "created_at", NULL), unix_ms, age, sizeof(age));
	auto_free char *ports = ports_text(o);

	table_cell(t, json_opt_str(o, "name", NULL));
	table_cell(t, json_opt_str(o, "kind", NULL));
	table_cell(t, json_opt_str(o, "state", NULL));
	table_cell(t, json_opt_str(o, "health", NULL));
	number_cell(t, o, "pid");
	table_cell(t, json_opt_str(o, "ip", NULL));
	table_cell(t, ports);
	table_cell(t, pss ? format_size(pss, memory, sizeof(memory)) : NULL);
	table_cell(t, json_opt_str(o, "accel", NULL));
	table_cell(t, ready ? format_duration_ms(ready, took, sizeof(took)) : NULL);
	table_cell(t, aged ? age : NULL);
}

void ps_table(struct json_object *rows, int64_t unix_ms, struct buf *out)
{
	static const char *const headings[] = {"NAME",  "KIND",    "STATE", "HEALTH", ">PID", "IP",
					       "PORTS", ">MEMORY", "ACCEL", ">READY", ">AGE"};
	auto_table struct table *t = table_new(headings, ARRAY_SIZE(headings));

	for (size_t i = 0; i < json_object_array_length(rows); i++)
		add_row(t, json_object_array_get_idx(rows, i), unix_ms);
	table_print(t, out);
}
