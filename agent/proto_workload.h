/* proto_workload.h - the nested parts of the control messages as plain structs: what runs, how its
 * health is probed, hooks, a clone's identity. Encoders and decoders of both sides.
 *
 * Decoders take text apart into owned strings (free with *_free), bound every part and skip
 * unknown tags. Failures are class ERR_GUEST, code -EBADMSG or -EINVAL. */
#ifndef FCVM_AGENT_PROTO_WORKLOAD_H
#define FCVM_AGENT_PROTO_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "proto_volume.h"
#include "strv.h"

#define PROTO_WORDS_MAX 4096 /* words of one argv or environment */
#define PROTO_HOOKS_MAX 64
#define PROTO_METADATA_MAX (64u << 10)
#define PROTO_ENTROPY_MIN 64u
#define PROTO_ENTROPY_MAX 256u
#define PROTO_HOOK_TIMEOUT_MS 30000u

struct proto_hook {
	char *container; /* NULL: guest OS */
	struct strv argv;
	uint64_t timeout_ms; /* 0: PROTO_HOOK_TIMEOUT_MS */
};

struct proto_hooks {
	struct proto_hook *v;
	size_t n;
};

/* At most one of http, tcp, exec; none = no check. Zero times take the defaults of fields.md. */
struct proto_health {
	char *http;
	char *tcp;
	struct strv exec;
	uint64_t interval_ms, start_interval_ms, timeout_ms, start_period_ms;
	uint64_t retries;
};

struct proto_container {
	char *name;
	char *image;
	char *store; /* serial of the disk with its store; informative */
	struct strv entrypoint, command, env;
	char *user, *cwd; /* NULL: the image's */
	struct proto_health health;
};

struct proto_resume {
	char *epoch;
	uint64_t unix_now_ns;
	uint8_t entropy[PROTO_ENTROPY_MAX];
	size_t entropy_len;
	char *hostname;
	char *machine_id;
	char *boot_id;
	uint64_t mtu;   /* 0: leave it */
	char *metadata; /* NULL: leave it; not text for us, but never holds NUL */
	bool has_health;
	struct proto_health health;   /* replaces the container's when has_health */
	struct proto_volumes volumes; /* all of them */
	struct proto_hooks hooks;
};

void proto_hook_free(struct proto_hook *h);
void proto_hooks_free(struct proto_hooks *h);
void proto_health_free(struct proto_health *h);
void proto_container_free(struct proto_container *c);
void proto_resume_free(struct proto_resume *r);
#define auto_proto_hooks __attribute__((cleanup(proto_hooks_free)))
#define auto_proto_health __attribute__((cleanup(proto_health_free)))
#define auto_proto_container __attribute__((cleanup(proto_container_free)))
#define auto_proto_resume __attribute__((cleanup(proto_resume_free)))

bool proto_health_has_check(const struct proto_health *h);

/* Append one TAG_CONTAINER, TAG_HEALTH, TAG_HOOK field; resume puts its fields at top level. */
void proto_put_container(struct buf *out, const struct proto_container *c);
void proto_put_health(struct buf *out, const struct proto_health *h);
void proto_put_hook(struct buf *out, const struct proto_hook *h);
void proto_put_resume(struct buf *out, const struct proto_resume *r);

/* The value of one such field. *ret must be zeroed; it is valid to free after a failure. */
int proto_get_container(const uint8_t *body, size_t len, struct proto_container *ret,
			struct err *err);
int proto_get_health(const uint8_t *body, size_t len, struct proto_health *ret, struct err *err);
int proto_get_hook(const uint8_t *body, size_t len, struct proto_hook *ret, struct err *err);
/* A whole body: every TAG_HOOK in it; the resume fields in it (all but mtu, metadata, health and
 * hooks are required). */
int proto_get_hooks(const uint8_t *body, size_t len, struct proto_hooks *ret, struct err *err);
int proto_get_resume(const uint8_t *body, size_t len, struct proto_resume *ret, struct err *err);

/* The first field with this tag in a body: 1, 0 when there is none, -EBADMSG. */
int proto_find(const uint8_t *body, size_t len, uint16_t tag, const uint8_t **ret_value,
	       size_t *ret_len, struct err *err);
/* Same as a number (dflt when absent) or as text (*ret untouched when absent). */
int proto_find_u64(const uint8_t *body, size_t len, uint16_t tag, uint64_t dflt, uint64_t *ret,
		   struct err *err);
int proto_find_str(const uint8_t *body, size_t len, uint16_t tag, size_t max, char **ret,
		   struct err *err);

#endif
