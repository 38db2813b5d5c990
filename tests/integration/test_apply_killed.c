/* kill -9 of fcvm at every journal entry: the next apply converges, destroy leaves nothing. Each
 * test takes every third point, so that they run beside each other. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "memserver.h"
#include "net_host.h"
#include "xalloc.h"

TestSuite(apply_killed, .fini = apply_rig_cleanup);

#define KILLED 137
#define POINTS_MAX 400
#define STRIDE 3

/* Before the command that is killed: a fleet as it was, or nothing. */
struct scenario {
	unsigned memory_before, count_before; /* 0: nothing is there */
	unsigned memory, count;
	const char *command;       /* "apply" or "destroy" */
	const char *before, *more; /* lines of the fleet, before and after; on a host of its own */
	unsigned fleets_more;      /* clones that `more` adds */
	bool broken;               /* the snapshot's disk is gone when the command begins */
	bool back;                 /* the next apply is of the fleet as it was */
	unsigned port;             /* of the host, that web-0 has in the end */
};

static void kill_at(struct apply_rig *r, unsigned n)
{
	free(r->kill_at);
	r->kill_at = n ? xasprintf("FCVM_KILL_AT=%u", n) : NULL;
}

static struct json_object *snapshot_record(const struct apply_rig *r)
{
	auto_free char *path =
		xasprintf("%s/sets/%s/records/snapshot/web@healthy.json", r->data, r->name);
	struct json_object *record = NULL;
	struct err err = {0};

	cr_assert_geq(json_load(path, &record, &err), 0, "%s", err.msg);
	return record;
}

static void break_snapshot(const struct apply_rig *r)
{
	auto_json struct json_object *record = snapshot_record(r);
	auto_free char *disk = path_join(json_opt_str(record, "dir", ""), "data.img");

	cr_assert_eq(unlink(disk), 0, "no %s", disk);
}

/* Every record of the kind stands on dir. */
static size_t standing_on(const struct apply_rig *r, const char *kind, const char *dir, unsigned n)
{
	auto_free char *records = xasprintf("%s/sets/%s/records/%s", r->data, r->name, kind);
	auto_closedir DIR *d = opendir(records);
	size_t found = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		auto_free char *path = path_join(records, e->d_name);
		auto_json struct json_object *record = NULL;

		if (e->d_name[0] == '.')
			continue;
		cr_assert_geq(json_load(path, &record, NULL), 0);
		cr_assert_str_eq(json_opt_str(record, "snapshot_dir", ""), dir,
				 "point %u: %s of another snapshot", n, path);
		found++;
	}
	return found;
}

/* Memory, state and disks of one clone are of one and the same snapshot: the one there is. */
static void expect_one_snapshot(const struct apply_rig *r, unsigned clones, unsigned n)
{
	auto_json struct json_object *record = snapshot_record(r);
	const char *dir = json_opt_str(record, "dir", "");
	char why[256];

	cr_assert_eq(standing_on(r, "clone", dir, n), clones);
	cr_assert_eq(standing_on(r, "memserver", dir, n),
		     memserver_uffd_permitted(why, sizeof(why)) ? 1 : 0);
}

static void expect_port(struct apply_rig *r, const char *clone, unsigned port, unsigned n)
{
	auto_free char *name = xasprintf("%s.%s", r->name, clone);
	auto_json struct json_object *rows = apply_rig_ps(r);
	uint64_t found = 0;

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i), *ports = NULL;

		if (strcmp(json_opt_str(row, "name", ""), name) == 0 &&
		    json_object_object_get_ex(row, "ports", &ports) &&
		    json_object_array_length(ports) > 0)
			found = json_opt_u64(json_object_array_get_idx(ports, 0), "host_port", 0);
	}
	cr_assert_eq(found, port, "point %u: %s has port %u", n, name, (unsigned)found);
}

/* False when the command ended before entry n: no point is left. */
static bool try_point(struct apply_rig *r, const struct scenario *s, unsigned n)
{
	if (s->memory_before) {
		apply_rig_spec(r, s->memory_before, s->count_before, s->before);
		apply_rig_run(r, 0, "apply", r->spec, NULL);
	}
	if (s->broken)
		break_snapshot(r);
	apply_rig_spec(r, s->memory, s->count, s->more);
	kill_at(r, n);
	int status = apply_rig_run(r, -1, s->command, r->spec, NULL)->status;
	kill_at(r, 0);
	cr_assert(status == 0 || status == KILLED, "point %u: status %d", n, status);
	if (s->back)
		apply_rig_spec(r, s->memory_before, s->count_before, s->before);
	apply_rig_run(r, 0, "apply", r->spec, NULL);
	const struct run_result *again = apply_rig_run(r, 0, "apply", r->spec, NULL);
	cr_assert_str_eq(buf_str(&again->out), "no changes\n", "point %u", n);
	cr_assert_eq(apply_rig_count(r, "clone", "ready"), s->count + s->fleets_more, "point %u",
		     n);
	expect_one_snapshot(r, s->count + s->fleets_more, n);
	if (s->port)
		expect_port(r, "web-0", s->port, n);
	apply_rig_finish(r);
	return status == KILLED;
}

static void every_third(const struct scenario *s, unsigned first)
{
	auto_apply_rig struct apply_rig r = {0};
	auto_free char *host = NULL;

	if (s->more) {
		net_host_make();
		host = net_host_look();
	}
	if (!apply_rig_make(&r, s->count, true)) {
		cr_skip_test("no build with kill points; make " TEST_BUILD_DIR "/hooks/fcvm");
		return;
	}
	for (unsigned n = first; n < POINTS_MAX && try_point(&r, s, n); n += STRIDE)
		if (host)
			net_host_expect(host);
}

#define KILLED_AT(name, ...)                               \
	static const struct scenario name = {__VA_ARGS__}; \
	Test(apply_killed, name##_at_points_1_4_7)         \
	{                                                  \
		every_third(&name, 1);                     \
	}                                                  \
	Test(apply_killed, name##_at_points_2_5_8)         \
	{                                                  \
		every_third(&name, 2);                     \
	}                                                  \
	Test(apply_killed, name##_at_points_3_6_9)         \
	{                                                  \
		every_third(&name, 3);                     \
	}

KILLED_AT(first_apply, .memory = 64, .count = 2, .command = "apply")
KILLED_AT(replace, .memory_before = 64, .count_before = 2, .memory = 80, .count = 1,
	  .command = "apply")
KILLED_AT(taken_again, .memory_before = 64, .count_before = 2, .memory = 64, .count = 3,
	  .command = "apply", .broken = true)
KILLED_AT(destroy, .memory_before = 64, .count_before = 2, .memory = 64, .count = 2,
	  .command = "destroy")
KILLED_AT(published, .memory_before = 64, .count_before = 2, .memory = 64, .count = 2,
	  .command = "apply", .fleets_more = 1,
	  .before = "    network: bridged\n    ports: [\"{{18080 + index}}:80\", 81]\n",
	  .more = "    network: bridged\n    ports: [\"{{18081 + index}}:80\"]\n"
		  "  more: { from: web, network: bridged, ports: [\"18080:80\"] }\n")
#define IN_TURN "    network: bridged\n    ports: [\"{{18080 + index}}:80\"]\n"
#define SWAPPED "    network: bridged\n    ports: [\"{{18081 - index}}:80\"]\n"
KILLED_AT(swapped, .memory_before = 64, .count_before = 2, .memory = 64, .count = 2,
	  .command = "apply", .before = IN_TURN, .more = SWAPPED, .port = 18081)
KILLED_AT(swapped_and_replaced, .memory_before = 64, .count_before = 2, .memory = 80, .count = 2,
	  .command = "apply", .before = IN_TURN, .more = SWAPPED, .port = 18081)
KILLED_AT(swapped_and_back, .memory_before = 64, .count_before = 2, .memory = 64, .count = 2,
	  .command = "apply", .before = IN_TURN, .more = SWAPPED, .back = true, .port = 18080)
