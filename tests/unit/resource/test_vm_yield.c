#include "vm_yield.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "leaving.h"
#include "net_rig.h"
#include "proc.h"
#include "record.h"
#include "run.h"

/* It had 90, is to have 91, and is at its end: the port is free once it is gone. */
Test(vm_yield, who_ends_by_itself_has_let_go)
{
	for (int listens = 0; listens <= 1; listens++) {
		auto_tmpdir char *dir = tmpdir_new("yield");
		auto_net_rig struct net_rig r;
		struct host host = {0};
		struct err err = {0};
		struct proc_id id;

		net_rig_make(&r, "", "    network: bridged\n    ports: [\"{{90 + index}}:80\"]\n");
		cr_assert_geq(host_init(&host, dir, &err), 0, "%s", err.msg);
		struct resource_ctx ctx = {.host = &host, .set_dir = dir, .choice = &r.choice};
		struct seen seen = {.record = json_object_new_object()};
		pid_t pid = leaving_start(dir, listens);
		cr_assert_eq(proc_id_of(pid, &id, NULL), 0);
		json_add_str(seen.record, "dir", dir);
		json_add(seen.record, "supervisor", record_proc(&id));
		cr_expect_eq(vm_yield(&ctx, &r.clone, &seen, true, &err), 0, "%s", err.msg);
		cr_expect_not(proc_id_alive(&id, host.boot_id), "listens %d", listens);
		cr_expect(leaving_ended_well(pid), "listens %d", listens);
		seen_clear(&seen);
		host_free(&host);
	}
}
