#include <criterion/criterion.h>

#include "kinds.h"
#include "memserver.h"

/* Whoever waits for it and whoever kills the step that waits agree: both have the step's deadline.
 */
Test(memserver, its_step_has_the_time_its_start_may_take)
{
	const struct baseline_spec baseline = {.memory_bytes = UINT64_C(256) << 30};
	const struct snapshot_spec snapshot = {.from = &baseline};
	const struct node node = {.kind = RESOURCE_MEMSERVER, .spec = &snapshot};
	const struct node recorded = {.kind = RESOURCE_MEMSERVER};

	cr_expect_eq(resource_memserver.deadline_ms(&node),
		     memserver_start_ms(baseline.memory_bytes));
	cr_expect_eq(resource_memserver.deadline_ms(&recorded), memserver_start_ms(0));
}
