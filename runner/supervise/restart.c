#include "restart.h"

#include "cleanup.h"

#include <errno.h>

static const char *const names[] = {
	[RESTART_NO] = "no",
	[RESTART_ON_FAILURE] = "on-failure",
	[RESTART_ALWAYS] = "always",
};

int restart_parse(const char *s, enum restart_policy *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(s ? s : "no", names[i]) == 0) {
			*ret = (enum restart_policy)i;
			return 0;
		}
	}
	return err_set(err, ERR_FAILED, -EINVAL,
		       "restart: expected no, on-failure or always, got '%s'", s);
}

bool restart_wanted(enum restart_policy policy, enum vm_ended ended, int exit_code)
{
	if (policy == RESTART_NO || ended == ENDED_REQUESTED || ended == ENDED_REAPED)
		return false;
	if (policy == RESTART_ALWAYS)
		return true;
	return ended != ENDED_POWEROFF && !(ended == ENDED_EXITED && exit_code == 0);
}

uint64_t restart_delay_ms(uint32_t tries)
{
	uint64_t ms = RESTART_FIRST_MS;

	while (tries-- > 0 && ms < RESTART_LAST_MS)
		ms *= 2;
	return ms < RESTART_LAST_MS ? ms : RESTART_LAST_MS;
}
