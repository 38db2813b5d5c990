/* kill -9 of fcvm while a page server runs that no record names yet: only its arguments tell whose
 * it is. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>

#include "apply_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "memserver.h"
#include "xalloc.h"

TestSuite(memserver_killed, .fini = apply_rig_cleanup);

#define KILLED 137
#define JOURNAL_MAX (1u << 20)

/* Which entry of the journal says that the server runs, counted from 1, and as which process. */
static unsigned find_note(const struct apply_rig *r, int *ret_pid)
{
	auto_free char *path = xasprintf("%s/sets/%s/journal", r->data, r->name);
	auto_buf struct buf text = BUF_INIT(JOURNAL_MAX);
	struct err err = {0};
	unsigned n = 0;

	cr_assert_eq(file_read(path, JOURNAL_MAX - 1, &text, &err), 0, "%s", err.msg);
	for (char *at = text.data, *line; (line = strsep(&at, "\n")) && *line;) {
		auto_json struct json_object *o = NULL;

		n++;
		cr_assert_eq(json_parse(line, strlen(line), &o, &err), 0, "%s", err.msg);
		if (sscanf(json_opt_str(o, "text", ""), "memory server runs as process %d",
			   ret_pid) == 1)
			return n;
	}
	cr_assert(false, "no such entry in the journal");
	return 0;
}

/* An apply that dies right there, on a host that has the assets; *ret_pidfd is the server it left.
 */
static void leave_server(struct apply_rig *r, int *ret_pidfd)
{
	struct proc_id id;
	int pid = 0;

	apply_rig_run(r, 0, "apply", r->spec, NULL);
	apply_rig_run(r, 0, "destroy", r->spec, NULL);
	apply_rig_run(r, 0, "apply", r->spec, NULL);
	unsigned n = find_note(r, &pid);
	apply_rig_run(r, 0, "destroy", r->spec, NULL);
	r->kill_at = xasprintf("FCVM_KILL_AT=%u", n);
	apply_rig_run(r, KILLED, "apply", r->spec, NULL);
	free(r->kill_at);
	r->kill_at = NULL;
	cr_assert_eq(find_note(r, &pid), n);
	cr_assert_eq(proc_id_of(pid, &id, NULL), 0, "the server went with apply");
	cr_assert_eq(proc_id_open(&id, id.boot_id, ret_pidfd), 0);
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* False: not here. */
static bool make(struct apply_rig *r)
{
	char why[256];

	if (!memserver_uffd_permitted(why, sizeof(why))) {
		cr_skip("%s", why);
		return false;
	}
	if (apply_rig_make(r, 1, true))
		return true;
	cr_skip("no build with kill points; make " TEST_BUILD_DIR "/hooks/fcvm");
	return false;
}

Test(memserver_killed, destroy_ends_it)
{
	auto_apply_rig struct apply_rig r = {0};
	auto_close int server = -1;

	if (!make(&r))
		return;
	leave_server(&r, &server);
	cr_expect_not(has_ended(server));
	apply_rig_run(&r, 0, "destroy", r.spec, NULL);
	cr_expect(has_ended(server));
	apply_rig_finish(&r);
}

Test(memserver_killed, apply_puts_another_in_its_place)
{
	auto_apply_rig struct apply_rig r = {0};
	auto_close int server = -1;

	if (!make(&r))
		return;
	leave_server(&r, &server);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(has_ended(server));
	const struct run_result *again = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&again->out), "no changes\n");
	apply_rig_finish(&r);
}
