/* test_client.c - supervisors that end by themselves: while their status is read, while they are
 * asked to stop. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "leaving.h"
#include "proc.h"
#include "run.h"
#include "xalloc.h"

struct world {
	char *dir, *path;
	struct proc_id self;
};

/* Done once, when the process that a status names is looked for. */
static void (*meanwhile)(const struct world *w);
static const struct world *world;

int pidfd_open(pid_t pid, unsigned int flags)
{
	void (*run)(const struct world *) = meanwhile;

	meanwhile = NULL;
	if (run)
		run(world);
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static void put(const struct world *w, const char *members, bool alive)
{
	auto_free char *text = xasprintf(
		"{%s,\"supervisor\":{\"pid\":%d,\"start_time\":%llu,\"boot_id\":\"%s\"}}", members,
		(int)w->self.pid, (unsigned long long)w->self.start_time + (alive ? 0 : 1),
		w->self.boot_id);

	cr_assert_eq(file_replace(w->path, text, strlen(text), 0600, NULL), 0);
}

static void say_last_word(const struct world *w)
{
	put(w, "\"state\":\"stopped\",\"ended\":\"exited\",\"exit_code\":3", false);
}

static void remove_it(const struct world *w)
{
	cr_assert_eq(unlink(w->path), 0);
}

static void put_another(const struct world *w)
{
	put(w, "\"state\":\"creating\"", true);
}

static const struct {
	void (*meanwhile)(const struct world *w);
	int code;
	const char *state, *ended, *error; /* "-": none */
} cases[] = {
	{NULL, 0, "failed", "crashed", "its supervisor is gone"},
	{say_last_word, 0, "stopped", "exited", "-"},
	{remove_it, -ENOENT, "-", "-", "-"},
	{put_another, 0, "creating", "-", "-"},
};

Test(client, what_a_dead_supervisor_wrote_last_is_what_counts)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_tmpdir char *dir = tmpdir_new("client");
		auto_free char *path = path_join(dir, SUPERVISE_STATUS);
		auto_json struct json_object *o = NULL;
		struct world w = {.dir = dir, .path = path};

		cr_assert_eq(proc_id_of(getpid(), &w.self, NULL), 0);
		put(&w, "\"state\":\"ready\"", false);
		world = &w;
		meanwhile = cases[i].meanwhile;
		cr_expect_eq(supervisor_peek(dir, w.self.boot_id, &o, NULL), cases[i].code,
			     "case %zu", i);
		if (cases[i].code < 0)
			continue;
		cr_assert_not_null(o);
		cr_expect_str_eq(json_opt_str(o, "state", "-"), cases[i].state, "case %zu", i);
		cr_expect_str_eq(json_opt_str(o, "ended", "-"), cases[i].ended, "case %zu", i);
		cr_expect_str_eq(json_opt_str(o, "error", "-"), cases[i].error, "case %zu", i);
	}
}

/* --- a stop that meets a supervisor at its end --- */

Test(client, a_stop_lets_a_supervisor_end_that_is_about_to)
{
	for (int listens = 0; listens <= 1; listens++) {
		auto_tmpdir char *dir = tmpdir_new("client");
		auto_free char *path = path_join(dir, SUPERVISE_STATUS);
		struct supervisor_call call = {.dir = dir, .deadline_ms = deadline_in(20000)};
		struct world w = {.dir = dir, .path = path};
		struct err err = {0};

		pid_t pid = leaving_start(dir, listens);
		cr_assert_eq(proc_id_of(pid, &w.self, NULL), 0);
		put(&w, "\"state\":\"ready\"", true);
		cr_expect_eq(supervisor_stop(&call, 0, &err), 0, "%s", err.msg);
		cr_expect(leaving_ended_well(pid), "listens %d", listens);
	}
}
