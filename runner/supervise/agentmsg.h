/* agentmsg.h - bodies of the requests the supervisor sends to the agent (agent/proto.h). Pure. */
#ifndef FCVM_SUPERVISE_AGENTMSG_H
#define FCVM_SUPERVISE_AGENTMSG_H

#include "buf.h"
#include "client.h"

#define AGENTMSG_MAX (256u << 10)

void agentmsg_workload(struct buf *out, const struct workload *w);    /* MSG_WORKLOAD */
void agentmsg_health(struct buf *out, const struct health_spec *h);   /* MSG_HEALTHCHECK */
void agentmsg_hooks(struct buf *out, const struct hook *h, size_t n); /* TAG_HOOK... */

/* What makes this VM another one than its source. */
struct agentmsg_identity {
	char epoch[37];
	char boot_id[37];
	char machine_id[33];
	uint8_t entropy[64];
};
/* Fresh random values. Aborts when the host has none. */
void agentmsg_identity_draw(struct agentmsg_identity *ret);

struct agentmsg_resume {
	struct agentmsg_identity *id;
	char *hostname, *metadata;        /* metadata may be NULL */
	const struct health_spec *health; /* NULL: as in the snapshot */
	uint64_t unix_ns;
	uint32_t mtu;                      /* 0: no network */
	const struct volume_list *volumes; /* NULL: none */
	const struct hook *hooks;
	size_t n_hooks;
};
void agentmsg_resume(struct buf *out, const struct agentmsg_resume *r); /* MSG_RESUME */

#endif
