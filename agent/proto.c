/* proto.c - names of the messages. */
#include "proto.h"

#include <stddef.h>

#include "cleanup.h"

static const struct {
	uint16_t msg;
	const char *name;
} names[] = {
	{MSG_HELLO, "hello"},
	{MSG_WORKLOAD, "workload"},
	{MSG_PREPARE, "prepare"},
	{MSG_THAW, "thaw"},
	{MSG_RESUME, "resume"},
	{MSG_METADATA, "metadata"},
	{MSG_HEALTHCHECK, "healthcheck"},
	{MSG_SHUTDOWN, "shutdown"},
	{MSG_PING, "ping"},
	{MSG_REPLY, "reply"},
	{MSG_EVENT_CONTAINER, "event container"},
	{MSG_EVENT_HEALTH, "event health"},
	{MSG_EVENT_GATE, "event gate"},
	{MSG_EVENT_VOLUME, "event volume"},
	{MSG_LOG, "log"},
	{MSG_EXEC_START, "exec start"},
	{MSG_EXEC_STDIN, "exec stdin"},
	{MSG_EXEC_STDIN_EOF, "exec stdin eof"},
	{MSG_EXEC_RESIZE, "exec resize"},
	{MSG_EXEC_SIGNAL, "exec signal"},
	{MSG_EXEC_STDOUT, "exec stdout"},
	{MSG_EXEC_STDERR, "exec stderr"},
	{MSG_EXEC_EXIT, "exec exit"},
	{MSG_VOLUME_STREAM, "volume stream"},
};

const char *agent_msg_name(uint16_t msg)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].msg == msg)
			return names[i].name;
	return "?";
}
