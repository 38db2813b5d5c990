/* test_freeze.c - no instruction of the workload runs in a clone before the clone has an identity
 * (decisions 17): it was frozen before the snapshot, so all clones go on from one and the same. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(freeze, .fini = vm_env_cleanup);

#define CLONES 3

/* The workload counts every 5 ms; restoring takes many times that. */
static const char body[] = "    environment: { HELLO_TICK_MS: \"5\" }\n"
			   "snapshots:\n  web-warm: { from: web }\n"
			   "fleets:\n  web: { from: web-warm, count: 3 }\n";

/* Every "tick N TIME host=NAME" of a clone's log, which begins with its restore, is said under the
 * clone's own name; N of the first. */
static uint64_t first_tick(struct vm_env *env, int clone)
{
	auto_free char *path =
		xasprintf("%s/sets/%s/vms/web-%d/logs/main.log", env->dir, env->set, clone);
	auto_free char *log = vm_read(path);
	auto_free char *own = xasprintf("web-%d", clone);
	const char *at = log;
	uint64_t first = 0, n = 0;
	char name[65] = "";
	size_t seen = 0;

	for (; (at = strstr(at, " tick ")); at++) {
		/* The last line may still be on its way. */
		if (!strchr(at, '\n'))
			break;
		cr_assert_eq(sscanf(at, " tick %" SCNu64 " %*s host=%64s", &n, name), 2, "%.80s",
			     at);
		cr_assert_str_eq(name, own, "clone %d said tick %" PRIu64 " as '%s'", clone, n,
				 name);
		first = seen++ == 0 ? n : first;
	}
	cr_assert_gt(seen, 0, "no tick in %s", path);
	return first;
}

Test(freeze, the_workload_of_every_clone_goes_on_from_the_same_instruction)
{
	struct vm_env env;

	vm_env_init(&env, "freeze", body);
	vm_apply(&env, NULL, NULL);
	uint64_t n = first_tick(&env, 0);
	cr_expect_gt(n, 0);
	for (int i = 1; i < CLONES; i++) {
		uint64_t other = first_tick(&env, i);

		cr_expect_eq(other, n,
			     "clone 0 began with tick %" PRIu64 ", clone %d with %" PRIu64, n, i,
			     other);
	}
	vm_env_finish(&env);
}
