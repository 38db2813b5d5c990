/* test_clock.c - a clone of an old snapshot: its clock is right before its workload runs again. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(clock, .fini = vm_env_cleanup);

#define AGE_MS 20000
#define SKEW_MS 500

/* "2026-11-23T11:36:24.214Z" to Unix milliseconds; -1 when the text is something else. */
static int64_t parse_time(const char *text)
{
	struct tm tm = {0};
	int ms = 0;
	const char *dot = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!dot || sscanf(dot, ".%3dZ", &ms) != 1)
		return -1;
	return (int64_t)timegm(&tm) * 1000 + ms;
}

/* Every "tick N TIME" the workload wrote into the clone's log lies between the two moments. */
static void check_ticks(const char *log, int64_t from, int64_t to)
{
	auto_free char *text = vm_read(log);
	char *save = NULL;
	int ticks = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *tick = strstr(line, "tick ");
		char when[40];

		if (!tick || sscanf(tick, "tick %*u %39s", when) != 1)
			continue;
		int64_t t = parse_time(when);
		cr_assert_geq(t, from - SKEW_MS, "%s", line);
		cr_assert_leq(t, to + SKEW_MS, "%s", line);
		ticks++;
	}
	cr_assert_gt(ticks, 0, "the workload logged nothing in %s", log);
}

Test(clock, the_first_thing_a_clone_of_an_old_snapshot_logs_has_the_right_time)
{
	struct vm_env env;

	/* It logs so often that a moment of running with the old clock would show. */
	vm_env_init(&env, "clock",
		    "    environment: { HELLO_TICK_MS: \"5\" }\n"
		    "snapshots:\n  web-warm: { from: web }\n"
		    "fleets:\n  web: { from: web-warm, count: 1 }\n");
	vm_apply(&env, "fleets.web.count=0", NULL);
	int64_t taken = io_unix_ms();
	/* Age is what is tested here, so real time must pass. */
	while (io_unix_ms() < taken + AGE_MS)
		(void)poll(NULL, 0, (int)(taken + AGE_MS - io_unix_ms()));

	int64_t from = io_unix_ms();
	vm_apply(&env, "fleets.web.count=1", NULL);
	auto_json struct json_object *who = vm_get(&env, vm_name(&env, "web-0"), "/");
	int64_t to = io_unix_ms();
	int64_t said = parse_time(json_opt_str(who, "time", ""));

	cr_assert_geq(said, from - SKEW_MS);
	cr_assert_leq(said, to + SKEW_MS);
	auto_free char *log = xasprintf("%s/sets/%s/vms/web-0/logs/main.log", env.dir, env.set);
	check_ticks(log, from, to);
	vm_env_finish(&env);
}
