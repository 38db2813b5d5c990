#include "restart.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"

Test(restart, the_delay_doubles_from_a_second_to_a_minute)
{
	static const uint64_t table[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

	for (uint32_t i = 0; i < ARRAY_SIZE(table); i++)
		cr_expect_eq(restart_delay_ms(i), table[i], "try %u", i);
	cr_expect_eq(restart_delay_ms(UINT32_MAX), 60000);
}

Test(restart, policy_and_end_decide)
{
	static const struct {
		enum vm_ended ended;
		int exit_code;
		bool on_failure, always;
	} cases[] = {
		{ENDED_EXITED, 0, false, true},     {ENDED_EXITED, 1, true, true},
		{ENDED_POWEROFF, -1, false, true},  {ENDED_CRASHED, -1, true, true},
		{ENDED_MEMSERVER, -1, true, true},  {ENDED_REQUESTED, -1, false, false},
		{ENDED_REQUESTED, 1, false, false}, {ENDED_REAPED, -1, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_not(restart_wanted(RESTART_NO, cases[i].ended, cases[i].exit_code));
		cr_expect_eq(restart_wanted(RESTART_ON_FAILURE, cases[i].ended, cases[i].exit_code),
			     cases[i].on_failure, "case %zu", i);
		cr_expect_eq(restart_wanted(RESTART_ALWAYS, cases[i].ended, cases[i].exit_code),
			     cases[i].always, "case %zu", i);
	}
}

Test(restart, names_are_the_specs)
{
	enum restart_policy p = RESTART_ALWAYS;
	struct err err = {0};

	cr_expect_eq(restart_parse(NULL, &p, &err), 0);
	cr_expect_eq(p, RESTART_NO);
	cr_expect_eq(restart_parse("on-failure", &p, &err), 0);
	cr_expect_eq(p, RESTART_ON_FAILURE);
	cr_expect_lt(restart_parse("never", &p, &err), 0);
	cr_expect_str_eq(err.msg, "restart: expected no, on-failure or always, got 'never'");
	cr_expect_eq(p, RESTART_ON_FAILURE, "outputs are untouched");
}
