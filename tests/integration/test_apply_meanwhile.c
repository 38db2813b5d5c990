/* What ends while apply is at work, after it was looked at. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "apply_rig.h"
#include "child.h"
#include "cleanup.h"
#include "event_lines.h"
#include "file.h"
#include "gate.h"
#include "io.h"
#include "xalloc.h"

TestSuite(apply_meanwhile, .fini = apply_rig_cleanup);

static void kill_vm(struct apply_rig *r, const char *name)
{
	cr_assert_eq(kill((pid_t)apply_rig_number(r, name, "pid"), SIGKILL), 0);
}

static void end_vm(struct apply_rig *r, const char *name)
{
	auto_free char *full = xasprintf("%s.%s", r->name, name);

	apply_rig_run(r, 0, "exec", full, "--", "container-exit", "0", NULL);
}

/* Starts an apply of one step after the other; its first one waits at the gate that is returned,
 * and no later one does. */
static struct child begin_apply(struct apply_rig *r, int *ret_gate)
{
	auto_free char *path = gate_new(r->dir), *script = xasprintf("fake.gate=%s", path);

	apply_rig_script(r, script);
	struct child c = child_start(r, "apply", r->spec, "--parallelism", "1", NULL);

	*ret_gate = gate_reach(path);
	apply_rig_script(r, "");
	return c;
}

static void end_apply(struct apply_rig *r, struct child *c, int gate)
{
	cr_assert_eq(write(gate, "x", 1), 1);
	cr_assert_eq(child_end(c), 0, "%s", buf_str(&c->text));
	child_read_until(c, c->out, NULL);
	const struct run_result *out = apply_rig_run(r, 0, "apply", r->spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
}

Test(apply_meanwhile, a_clone_to_be_updated_that_fails_is_made_again_and_one_that_is_done_is_left)
{
	auto_apply_rig struct apply_rig r;
	auto_close int gate = -1;

	apply_rig_make(&r, 3, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *id = xstrdup(apply_rig_text(&r, "web-1", "vm_id"));
	kill_vm(&r, "web-0");
	apply_rig_await_state(&r, "web-0", "failed");
	apply_rig_spec(&r, 64, 3, "    metadata: { n: \"1\" }\n");
	auto_child struct child c = begin_apply(&r, &gate);

	kill_vm(&r, "web-1");
	end_vm(&r, "web-2");
	apply_rig_await_state(&r, "web-1", "failed");
	apply_rig_await_state(&r, "web-2", "stopped");
	end_apply(&r, &c, gate);
	cr_expect(strstr(buf_str(&c.text), "\nplan: 0 to create, 2 to update, 1 to replace, "),
		  "%s", buf_str(&c.text));
	cr_expect_str_neq(apply_rig_text(&r, "web-1", "vm_id"), id);
	const struct run_result *told = apply_rig_run(&r, 0, "events", NULL);
	cr_expect_eq(
		event_count(buf_str(&told->out), "type", "ready", "resource", "clone/web-1", NULL),
		2, "%s", buf_str(&told->out));
	cr_expect_str_eq(apply_rig_text(&r, "web-1", "state"), "ready");
	cr_expect_str_eq(apply_rig_text(&r, "web-2", "state"), "stopped");
	auto_free char *name = xasprintf("%s.web-1", r.name);
	const struct run_result *out = apply_rig_run(&r, 0, "exec", name, "--", "identity", NULL);
	cr_expect(strstr(buf_str(&out->out), "{\"n\":\"1\"}"), "%s", buf_str(&out->out));
	apply_rig_finish(&r);
}

/* A baseline of its own, and beside it, to be made before it, another one if wanted. */
static void spec_baselines(const struct apply_rig *r, const char *before, const char *interval)
{
	auto_free char *text = xasprintf(
		"apiVersion: fcvm/v1\nname: %s\n"
		"kernels: { default: { path: ./vmlinux } }\n"
		"rootfs: { debian: { path: ./root.sqfs, size: 64MiB } }\n"
		"baselines:\n%s"
		"  web: { image: \"dir:./image\", memory: 64MiB, network: none, healthcheck: { tcp: "
		"\":80\", interval: %s } }\n",
		r->name, before, interval);

	cr_assert_geq(file_replace(r->spec, text, strlen(text), 0644, NULL), 0);
}

Test(apply_meanwhile, a_baseline_to_be_updated_that_fails_is_made_again)
{
	auto_apply_rig struct apply_rig r;
	auto_close int gate = -1;

	apply_rig_make(&r, 1, false);
	spec_baselines(&r, "", "10s");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	spec_baselines(&r, "  box: { image: \"dir:./image\", memory: 64MiB, network: none }\n",
		       "20s");
	auto_child struct child c = begin_apply(&r, &gate);

	kill_vm(&r, "web");
	apply_rig_await_state(&r, "web", "failed");
	end_apply(&r, &c, gate);
	cr_expect(strstr(buf_str(&c.text), "\nplan: 1 to create, 1 to update, 0 to replace, "),
		  "%s", buf_str(&c.text));
	cr_expect_str_eq(apply_rig_text(&r, "web", "state"), "ready");
	apply_rig_finish(&r);
}
