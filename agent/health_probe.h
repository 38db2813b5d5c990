/* health_probe.h - one health probe: connect (tcp), GET (http, 200-399, redirects not followed), or
 * a command in the container. Never blocks; ends by its timeout at the latest. */
#ifndef FCVM_AGENT_HEALTH_PROBE_H
#define FCVM_AGENT_HEALTH_PROBE_H

#include "agent.h"
#include "proto_workload.h"

struct probe;
/* The probe frees itself after this. output: one line for people. */
typedef void (*probe_done)(void *data, bool ok, const char *output);

/* spec must stay until done. Errors that are known at once are results too. */
int probe_start(struct agent *agent, const char *container, const struct proto_health *spec,
		probe_done done, void *data, struct probe **ret, struct err *err);
void probe_abandon(struct probe *p);

#define PROBE_HOST_MAX 256

struct probe_target {
	char host[PROBE_HOST_MAX]; /* of the Host: header, as written; "localhost" when empty */
	char address[64];          /* numeric */
	uint16_t port;
	char path[2048];
};

/* Pure: "http://[HOST][:PORT][/PATH]" and "[HOST]:PORT"; HOST is empty, localhost or an address. */
int probe_parse_http(const char *url, struct probe_target *ret, struct err *err);
int probe_parse_tcp(const char *text, struct probe_target *ret, struct err *err);
/* Pure: the status of "HTTP/1.x NNN ..."; 0 when more bytes are needed, -EBADMSG. */
int probe_http_status(const char *text, size_t len);

#endif
