#include "services.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "agent_rig.h"

Test(services, there_is_no_service_on_other_ports)
{
	struct agent_rig r;
	int fd = dup(0);

	agent_rig_new(&r);
	cr_expect_eq(serve_connection(&r.agent, 22, fd), -ECONNREFUSED);
	agent_rig_free(&r);
}
