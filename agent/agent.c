#include "agent.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "container.h"
#include "control.h"
#include "health.h"
#include "log.h"
#include "logs.h"
#include "status.h"
#include "volume_host.h"
#include "volumes.h"

int agent_init(struct agent *agent, struct loop *loop, bool machine, const char *run_dir,
	       const char *private_dir, struct err *err)
{
	static int (*const parts[])(struct agent * agent, struct err * err) = {
		status_new,       logs_new,      health_new, volumes_new,
		volume_hosts_new, container_new, control_new};

	*agent = (struct agent){
		.loop = loop, .machine = machine, .run_dir = run_dir, .private_dir = private_dir};
	/* A reader that leaves is EPIPE to one write, not the end of PID 1. */
	(void)signal(SIGPIPE, SIG_IGN);
	int r = children_init(&agent->children, loop, err);
	for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		r = parts[i](agent, err);
	return r;
}

void agent_fini(struct agent *agent)
{
	/* First: what their ends lead to still needs the rest. */
	children_fini(&agent->children);
	control_free(agent);
	health_free(agent);
	container_free(agent);
	volume_hosts_free(agent);
	volumes_free(agent);
	logs_free(agent);
	status_free(agent);
}

void agent_say(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	log_info("%s", line);
}
