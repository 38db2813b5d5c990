/* test_soak.c - one cold boot, for `make soak`, which repeats it on an overloaded host. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "vm_env.h"

TestSuite(soak, .fini = vm_env_cleanup);

Test(soak, a_baseline_boots_at_the_first_try)
{
	struct vm_env env;

	vm_env_init(&env, "soak", "snapshots:\n  web-warm: { from: web, when: booted }\n");
	vm_apply(&env, NULL, NULL);
	auto_run struct run_result r = RUN_INIT;
	VM_RUN(&env, &r, 0, "snapshot", "ls");
	vm_env_finish(&env);
}
