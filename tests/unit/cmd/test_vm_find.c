#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "host.h"
#include "io.h"
#include "ps_view.h"
#include "record.h"
#include "run.h"
#include "vm_find.h"
#include "xalloc.h"

struct world {
	char *dir;
	struct host host;
	struct inventory all;
};

static void put(struct world *w, const char *set, const char *kind, const char *name,
		const char *state, unsigned index)
{
	auto_free char *set_dir = host_set_dir(&w->host, set);
	auto_json struct json_object *o = json_object_new_object();
	auto_free char *dir = xasprintf("%s/vms/%s", set_dir, name);
	struct err err = {0};

	json_add_u64(o, "v", RECORD_VERSION);
	json_add_str(o, "kind", kind);
	json_add_str(o, "name", name);
	json_add_str(o, "state", state);
	json_add_str(o, "dir", dir);
	json_add_str(o, "created_at", "2026-01-02T03:04:05.678Z");
	json_add_u64(o, "index", index);
	if (strcmp(kind, "clone") == 0)
		json_add_str(o, "fleet", "web");
	cr_assert_eq(record_save(set_dir, o, &err), 0, "%s", err.msg);
}

static void world_make(struct world *w)
{
	struct err err = {0};

	*w = (struct world){.dir = tmpdir_new("find")};
	cr_assert_geq(host_init(&w->host, w->dir, &err), 0);
	put(w, "shop", "baseline", "web", "reaped", 0);
	put(w, "shop", "clone", "web-1", "ready", 1);
	put(w, "shop", "clone", "web-10", "ready", 10);
	put(w, "shop", "clone", "web-2", "ready", 2);
	put(w, "shop", "memserver", "web@healthy/0", "ready", 0);
	put(w, "test", "clone", "web-1", "ready", 1);
	put(w, "default", "baseline", "box", "ready", 0);
	cr_assert_geq(inventory_load(&w->host, NULL, INVENTORY_VMS | 1u << RESOURCE_MEMSERVER,
				     &w->all, &err),
		      0, "%s", err.msg);
}

static void world_free(struct world *w)
{
	inventory_free(&w->all);
	host_free(&w->host);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(world_free)))

struct find_case {
	const char *word;
	bool exact;
	const char *full, *msg; /* one of them */
};

static const struct find_case cases[] = {
	{"shop.web-1", true, "shop.web-1", NULL},
	{"shop.web-1", false, "shop.web-1", NULL}, /* though it begins shop.web-10, too */
	{"web-2", true, "shop.web-2", NULL},
	{"box", false, "default.box", NULL},
	{"bo", false, "default.box", NULL},
	{"bo", true, NULL, "no VM is called 'bo'"},
	{"test.", false, "test.web-1", NULL},
	{"web-1", false, NULL, "'web-1' may be any of 2 VMs: shop.web-1, test.web-1"},
	{"shop.web-", false, NULL,
	 "'shop.web-' may be any of 3 VMs: shop.web-1, shop.web-2, shop.web-10"},
	{"web@healthy/0", false, NULL, "no VM is called 'web@healthy/0'"},
	{"shop.web", true, NULL, "no VM is called 'shop.web'"}, /* reaped */
};

Test(vm_find, the_best_kind_of_match_with_one_member_wins)
{
	auto_world struct world w;

	world_make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct find_case *c = &cases[i];
		const struct inventory_item *it = NULL;
		struct err err = {0};
		int r = vm_find_item(&w.all, c->word, c->exact, &it, &err);

		if (c->full) {
			cr_assert_eq(r, 0, "'%s': %s", c->word, err.msg);
			cr_expect_str_eq(it->full, c->full);
		} else {
			cr_expect_lt(r, 0, "'%s'", c->word);
			cr_expect_str_eq(err.msg, c->msg);
			cr_expect_eq(err.class, ERR_SPEC);
		}
	}
}

Test(inventory, it_is_in_order_of_set_kind_and_index)
{
	static const char *const want[] = {"default.box", "shop.web",   "shop.web@healthy/0",
					   "shop.web-1",  "shop.web-2", "shop.web-10",
					   "test.web-1"};
	auto_world struct world w;

	world_make(&w);
	cr_assert_eq(w.all.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < w.all.n; i++)
		cr_expect_str_eq(w.all.v[i].full, want[i]);
}

Test(inventory, a_set_that_is_not_there_is_told)
{
	auto_world struct world w;
	auto_inventory struct inventory none = {0};
	auto_strv struct strv sets = {0};
	struct err err = {0};

	world_make(&w);
	strv_add(&sets, "nothing");
	cr_expect_eq(inventory_load(&w.host, &sets, INVENTORY_VMS, &none, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "there is no set 'nothing'");
}

Test(ps_view, every_member_is_there_and_what_is_unknown_is_null)
{
	static const char *const keys[] = {
		"name",     "set",   "kind", "fleet",     "index",     "state",     "health",
		"engine",   "accel", "pid",  "vm_id",     "snapshot",  "serve_pid", "created_at",
		"ready_ms", "ports", "ip",   "pss_bytes", "exit_code", "restarts"};
	auto_world struct world w;

	world_make(&w);
	for (size_t i = 0; i < w.all.n; i++) {
		auto_json struct json_object *o = ps_view(&w.host, &w.all.v[i]);

		for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
			cr_expect(json_object_object_get_ex(o, keys[k], NULL), "%s has no %s",
				  w.all.v[i].full, keys[k]);
		cr_expect_eq(json_object_object_length(o), (int)ARRAY_SIZE(keys));
		/* None of them has a process: no record is believed alone. */
		cr_expect_eq(json_opt_u64(o, "pid", 0), 0);
		cr_expect_str_neq(json_opt_str(o, "state", ""), "ready", "%s", w.all.v[i].full);
	}
}

Test(ps_view, a_vm_made_by_hand_is_a_vm_and_a_reaped_baseline_is_hidden)
{
	auto_world struct world w;

	world_make(&w);
	auto_json struct json_object *box = ps_view(&w.host, &w.all.v[0]);
	auto_json struct json_object *web = ps_view(&w.host, &w.all.v[1]);
	cr_expect_str_eq(json_opt_str(box, "kind", ""), "vm");
	cr_expect(ps_is_shown(&w.all.v[0]));
	cr_expect_str_eq(json_opt_str(web, "kind", ""), "baseline");
	cr_expect_str_eq(json_opt_str(web, "state", ""), "stopped");
	cr_expect_not(ps_is_shown(&w.all.v[1]));
}

Test(ps_view, the_table_is_aligned_and_shows_ages)
{
	auto_json struct json_object *rows = json_object_new_array();
	auto_buf struct buf out = BUF_INIT(65536);
	struct json_object *o = json_object_new_object();

	json_add_str(o, "name", "shop.web-0");
	json_add_str(o, "kind", "clone");
	json_add_str(o, "state", "ready");
	json_add_str(o, "health", "healthy");
	json_add_u64(o, "pid", 42);
	json_add_u64(o, "pss_bytes", 3u << 20);
	json_add_str(o, "accel", "tcg");
	json_add_u64(o, "ready_ms", 150);
	json_add_str(o, "created_at", "1970-01-01T00:00:10.500Z");
	json_object_array_add(rows, o);
	ps_table(rows, 75999, &out);
	cr_expect_str_eq(
		buf_str(&out),
		"NAME        KIND   STATE  HEALTH   PID  IP  PORTS  MEMORY  ACCEL  READY   AGE\n"
		"shop.web-0  clone  ready  healthy   42  -   -       3 MiB  tcg    150ms  1m5s\n");
}

Test(ps_view, the_table_shows_the_first_ports_and_how_many_more_there_are)
{
	auto_json struct json_object *rows = json_object_new_array();
	auto_buf struct buf out = BUF_INIT(65536);
	struct json_object *o = json_object_new_object(), *ports = json_object_new_array();

	json_add_str(o, "name", "shop.web-0");
	json_add_str(o, "ip", "10.200.0.2");
	for (uint64_t i = 0; i < 5; i++) {
		struct json_object *p = json_object_new_object();

		json_add_str(p, "host_ip", "127.0.0.1");
		json_add_u64(p, "host_port", 8080 + i);
		json_add_u64(p, "guest_port", 80);
		json_add_str(p, "proto", i ? "udp" : "tcp");
		json_object_array_add(ports, p);
	}
	json_add(o, "ports", ports);
	json_object_array_add(rows, o);
	ps_table(rows, 0, &out);
	cr_expect_not_null(strstr(buf_str(&out),
				  "10.200.0.2  127.0.0.1:8080->80/tcp, 127.0.0.1:8081->80/udp, "
				  "127.0.0.1:8082->80/udp, 2 more  "),
			   "%s", buf_str(&out));
}
