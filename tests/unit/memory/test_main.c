/* The life of the page server: starting, stopping, dying, telling what it did. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

#define WAIT_MS 10000

Test(main, a_killed_server_is_the_end_of_the_supervisors_connection)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	rig_kill(&rig, SIGKILL);
	cr_expect_eq(guest_listen(&g, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "the page server is gone");
	cr_expect_eq(memserver_stop(rig.sock, false, deadline_in(WAIT_MS), &err), 0,
		     "gone already is success");
	cr_expect_not(file_exists(rig.sock));
}

Test(main, a_stopped_server_answers_no_ping_and_a_running_one_does)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	rig_kill(&rig, SIGSTOP);
	cr_assert_eq(memserver_ping(g.conn, &err), 0);
	cr_expect_eq(io_wait(g.conn, POLLIN, deadline_in(300)), 0);
	rig_kill(&rig, SIGCONT);
	cr_expect_eq(guest_listen(&g, &err), 1, "%s", err.msg);
}

Test(main, the_end_of_a_vmm_is_no_report_and_its_counts_stay)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	pid_t pid = guest_fork(&rig, &g, "vm-a", RIG_UID + 1, guest_scribble, NULL);
	cr_expect_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_expect_eq(guest_wait(pid), 0);
	cr_expect_eq(memserver_ping(g.conn, &err), 0);
	cr_expect_eq(guest_listen(&g, &err), 1, "a pong, not an end: %s", err.msg);
	rig_expect(&rig, "faults", 64);
	rig_expect(&rig, "clients", 1);
	/* No VM is left, so no force is needed. */
	cr_expect_eq(memserver_stop(rig.sock, false, deadline_in(WAIT_MS), &err), 0, "%s", err.msg);
	rig.server.pid = 0;
}

Test(main, it_does_not_stop_before_its_vms_unless_forced)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	cr_expect_eq(memserver_stop(rig.sock, false, deadline_in(WAIT_MS), &err), -EBUSY);
	auto_free char *want = xasprintf("page server %d still serves 1 VM", rig.server.pid);
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(err.class, ERR_BUSY);
	cr_expect(rig_page_is_right(g.mem, 0), "and goes on");
	cr_expect_eq(memserver_stop(rig.sock, true, deadline_in(WAIT_MS), &err), 0, "%s", err.msg);
	cr_expect_eq(guest_listen(&g, &err), -EPIPE);
	rig.server.pid = 0;
}

Test(main, it_runs_as_its_own_user_without_any_privilege)
{
	auto_rig struct rig rig;
	auto_buf struct buf text = BUF_INIT(65536);
	struct err err = {0};
	char line[64];

	rig_start(&rig, 64);
	auto_free char *path = xasprintf("/proc/%d/status", rig.server.pid);
	auto_fclose FILE *f = fopen(path, "re");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f))
		buf_add_str(&text, line);
	(void)snprintf(line, sizeof(line), "Uid:\t%u\t%u\t%u\t%u\n", RIG_UID, RIG_UID, RIG_UID,
		       RIG_UID);
	cr_expect(strstr(buf_str(&text), line));
	(void)snprintf(line, sizeof(line), "Gid:\t%u\t%u\t%u\t%u\n", RIG_UID, RIG_UID, RIG_UID,
		       RIG_UID);
	cr_expect(strstr(buf_str(&text), line));
	cr_expect(strstr(buf_str(&text), "Groups:\t \n"));
	for (const char *const *set =
		     (const char *const[]){"CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb", NULL};
	     *set; set++) {
		(void)snprintf(line, sizeof(line), "%s:\t0000000000000000\n", *set);
		cr_expect(strstr(buf_str(&text), line), "%s", line);
	}
	cr_expect(strstr(buf_str(&text), "NoNewPrivs:\t1\n"));
	cr_expect_eq(err.code, 0);
}

Test(main, metrics_json_is_there_from_the_start_and_at_the_end)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	auto_json struct json_object *o = NULL;
	struct json_object *totals = NULL;
	struct err err = {0};

	rig_start(&rig, 64);
	auto_free char *path = path_join(rig.dir, "metrics.json");
	cr_assert_eq(json_load(path, &o, &err), 0, "%s", err.msg);
	cr_expect_eq(json_opt_u64(o, "zero_pages", 0), 32);
	cr_expect_eq(json_opt_u64(o, "pid", 0), (uint64_t)rig.server.pid);
	cr_expect_str_eq(json_opt_str(o, "memory", ""), rig.memory);
	json_put_p(&o);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	guest_check_all(&g);
	cr_expect_eq(memserver_stop(rig.sock, true, deadline_in(WAIT_MS), &err), 0, "%s", err.msg);
	rig.server.pid = 0;
	cr_assert_eq(json_load(path, &o, &err), 0, "%s", err.msg);
	totals = json_opt_obj(o, "totals");
	cr_expect_eq(json_opt_u64(totals, "faults", 0), 64);
	cr_expect_gt(json_opt_u64(totals, "p50_us", 0), 0);
	cr_expect_geq(json_opt_u64(totals, "p99_us", 0), json_opt_u64(totals, "p50_us", 0));
}

Test(main, metrics_name_each_vm)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	auto_json struct json_object *o = NULL;
	struct json_object *clients = NULL;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	guest_check_all(&g);
	cr_assert_eq(madvise(g.mem, PAGE, MADV_DONTNEED), 0);
	cr_expect(rig_page_is_zero(g.mem), "served after the removal was counted");
	rig_expect(&rig, "zero", 33);
	cr_assert_eq(memserver_metrics(rig.sock, deadline_in(WAIT_MS), &o, &err), 0, "%s", err.msg);
	cr_assert_eq(json_get_arr(o, "clients", &clients, &err), 0);
	cr_assert_eq(json_object_array_length(clients), 1);
	struct json_object *c = json_object_array_get_idx(clients, 0);
	cr_expect_str_eq(json_opt_str(c, "vm_id", ""), "vm-a");
	cr_expect_eq(json_opt_u64(c, "pid", 0), (uint64_t)getpid());
	cr_expect_eq(json_opt_u64(c, "page_size", 0), PAGE);
	cr_expect_eq(json_opt_u64(c, "faults", 0), 65);
	cr_expect_eq(json_opt_u64(c, "copied", 0), 32);
	cr_expect_eq(json_opt_u64(c, "zero", 0), 33);
	cr_expect_eq(json_opt_u64(c, "removed", 0), 1);
}

Test(main, a_memory_file_that_is_absent_or_ragged_is_an_error_of_the_start)
{
	auto_rig struct rig rig;
	struct err err = {0};
	struct memserver_spec spec = {.uid = RIG_UID, .gid = RIG_UID, .foreground = true};

	rig_prepare(&rig, 4);
	auto_free char *absent = path_join(rig.dir, "absent");
	spec.dir = rig.dir;
	spec.memory = absent;
	cr_expect_eq(memserver_spawn(&rig.host, &spec, &rig.server, &err), -ECHILD);
	auto_free char *want =
		xasprintf("page server of '%s': cannot open snapshot memory '%s': No "
			  "such file or directory",
			  absent, absent);
	cr_expect_str_eq(err.msg, want);
	cr_assert_eq(truncate(rig.memory, 5000), 0);
	spec.memory = rig.memory;
	cr_expect_eq(memserver_spawn(&rig.host, &spec, &rig.server, &err), -ECHILD);
	cr_expect(strstr(err.msg, "expected a regular file of whole pages"), "%s", err.msg);
	cr_expect_eq(rig.server.pid, 0);
}

Test(main, a_start_has_time_for_every_byte_it_reads)
{
	static const struct {
		uint64_t bytes, ms;
	} cases[] = {
		{0, 60000},
		{16384, 60001},
		{UINT64_C(1) << 30, 60000 + 65536},
		{UINT64_C(1) << 40, 60000 + 1024 * UINT64_C(65536)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(memserver_start_ms(cases[i].bytes), cases[i].ms, "case %zu: %ju", i,
			     (uintmax_t)memserver_start_ms(cases[i].bytes));
}

Test(main, whoever_starts_it_waits_to_its_own_deadline)
{
	auto_rig struct rig rig;
	struct err err = {0};
	static const char mute[] = "#!/bin/sh\nexec sleep 60\n";

	rig_prepare(&rig, 4);
	free(rig.host.exe);
	rig.host.exe = path_join(rig.dir, "mute");
	cr_assert_eq(file_replace(rig.host.exe, mute, sizeof(mute) - 1, 0700, &err), 0);
	const struct memserver_spec spec = {.dir = rig.dir,
					    .memory = rig.memory,
					    .foreground = true,
					    .deadline_ms = deadline_in(1)};
	cr_expect_eq(memserver_spawn(&rig.host, &spec, &rig.server, &err), -ETIMEDOUT);
	auto_free char *want =
		xasprintf("page server of '%s': it was not ready in time", rig.memory);
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(rig.server.pid, 0);
}

/* --- whoever started it is gone --- */

#define KNEW_WHY 42

/* A server as main() runs it, in a child; 42 when it ended because nobody waits for it. */
static pid_t fork_server(const struct rig *rig, const int ready[2])
{
	const struct memserver_spec spec = {
		.dir = rig->dir, .memory = rig->memory, .uid = RIG_UID, .gid = RIG_UID};
	struct err err = {0};
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(ready[0]);
	int status = memserver_main(&spec, ready[1], &err);
	bool knew = err.code == -EPIPE && !strcmp(err.msg, "nobody waits for this page server");
	_exit(knew ? KNEW_WHY : status);
}

/* Its exit status; one that goes on is killed: 128 and the signal. */
static int end_of(pid_t pid)
{
	auto_close int pidfd = -1;
	struct proc_id id;

	cr_assert_eq(proc_id_of(pid, &id, NULL), 0);
	cr_assert_eq(proc_id_open(&id, id.boot_id, &pidfd), 0);
	if (io_wait(pidfd, POLLIN, deadline_in(WAIT_MS)) <= 0)
		cr_assert_eq(proc_signal(pidfd, SIGKILL), 0);
	return guest_wait(pid);
}

Test(main, a_server_nobody_waits_for_touches_nothing)
{
	auto_rig struct rig rig;
	int ready[2];

	rig_prepare(&rig, 4);
	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	(void)close(ready[0]);
	pid_t pid = fork_server(&rig, ready);
	(void)close(ready[1]);
	cr_expect_eq(end_of(pid), KNEW_WHY);
	cr_expect_not(file_exists(rig.sock));
}

static void fill(int fd)
{
	static const char zeros[PAGE];

	cr_assert_eq(io_set_nonblock(fd, true), 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		continue;
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(io_set_nonblock(fd, false), 0);
}

/* Waits until the directory watched gets an entry of that name. */
static void await_name(int watch, const char *name)
{
	_Alignas(struct inotify_event) char text[4096];

	for (;;) {
		ssize_t n = read(watch, text, sizeof(text));

		cr_assert_gt(n, 0);
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(text + at);

			if (strcmp(e->name, name) == 0)
				return;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}

/* It reads the whole memory file between the one and the other: a full pipe holds it there. */
Test(main, a_server_whose_starter_dies_before_it_is_ready_ends)
{
	auto_rig struct rig rig;
	auto_close int watch = inotify_init1(IN_CLOEXEC);
	int ready[2];

	rig_prepare(&rig, 4);
	cr_assert_geq(inotify_add_watch(watch, rig.dir, IN_CREATE), 0);
	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	fill(ready[1]);
	pid_t pid = fork_server(&rig, ready);
	(void)close(ready[1]);
	await_name(watch, "server.sock");
	(void)close(ready[0]);
	cr_expect_eq(end_of(pid), KNEW_WHY);
}
