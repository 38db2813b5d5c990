/* volume_host.h - host volumes: one pump process each (volume_pump.h), and the streams they ask the
 * host for. Mounts and pumps live through a snapshot; their streams do not. */
#ifndef FCVM_AGENT_VOLUME_HOST_H
#define FCVM_AGENT_VOLUME_HOST_H

#include "agent.h"
#include "proto_volume.h"

int volume_hosts_new(struct agent *agent, struct err *err);
/* Every pump unmounts and ends. */
void volume_hosts_free(struct agent *agent);

/* Begins to mount it, in a running container, too; whether it worked is volume_host_await()'s to
 * say. */
int volume_host_mount(struct agent *agent, const struct proto_volume *v, struct err *err);
/* Of one that is mounted: begins to make its mounts, a running container's too, what it says now.
 * Nothing when they are; volume_host_await() waits for it, too. */
int volume_host_change(struct agent *agent, const struct proto_volume *v, struct err *err);
/* done runs once, perhaps from inside: 0 when every host volume answers, else the first that does
 * not, with a sentence. A second call ends the first with -ECANCELED. */
void volume_host_await(struct agent *agent, void (*done)(void *data, int code, const char *text),
		       void *data);
/* A stream of the host's. */
void volume_host_accept(struct agent *agent, int fd);
/* Asks again for every stream that has not come: the host is a new one. */
void volume_host_announce(struct agent *agent);
/* In a child of ours, since it waits for the pumps: takes all of them off. */
void volume_host_unmount(const struct agent *agent);

#endif
