/* loop_rig.h - a spec, its graph and an invented world, without engine, image or disk. */
#ifndef FCVM_TESTS_LOOP_RIG_H
#define FCVM_TESTS_LOOP_RIG_H

#include "fleet.h"
#include "graph.h"
#include "host.h"
#include "plan.h"
#include "plan_print.h"
#include "resource.h"

struct rig {
	struct host host;
	struct resource_choice choice;
	struct resource_ctx ctx;
	struct fleet *fleet;
	struct graph g;
	struct seen *seen;
	size_t n_seen;
	struct plan plan;
};
#define auto_rig __attribute__((cleanup(rig_free)))

#define RIG_SPEC_HEAD           \
	"apiVersion: fcvm/v1\n" \
	"name: shop\n"          \
	"images:\n"             \
	"  api: { source: \"oci-archive:./api.tar\" }\n"
#define RIG_SPEC                                                                   \
	RIG_SPEC_HEAD "baselines:\n"                                               \
		      "  web:\n"                                                   \
		      "    image: api\n"                                           \
		      "    memory: 256MiB\n"                                       \
		      "    healthcheck: { http: \"http://:80/\", interval: 5s }\n" \
		      "fleets:\n"                                                  \
		      "  web:\n"                                                   \
		      "    from: web\n"                                            \
		      "    count: 3\n"                                             \
		      "    metadata: { shard: \"{{index}}\" }\n"

/* Parses (fails the test with the problems) and builds the graph; nothing exists. Text is
 * RIG_SPEC with `from` replaced by `to` when both are given. */
void rig_make(struct rig *r, const char *from, const char *to);
void rig_make_text(struct rig *r, const char *text);
void rig_free(struct rig *r);
/* As if an apply had just made everything: records, digests, baselines reaped. */
void rig_settle(struct rig *r);
/* The records of `was` are what `now` finds; digests of `now` are computed. was may be NULL. */
void rig_inherit(struct rig *now, struct rig *was);
/* plan_build() over it. */
void rig_plan(struct rig *r);
/* "create kernel/default\n..." of listed steps. Caller frees. */
char *rig_steps(const struct rig *r);
struct plan_view rig_view(struct rig *r);
size_t rig_node(const struct rig *r, const char *address);
/* The step of that verb for the node; fails the test when there is none. */
size_t rig_step(const struct rig *r, enum verb verb, const char *address);
/* Whether `later` waits, directly or not, for `earlier`. */
bool rig_waits(const struct rig *r, size_t later, size_t earlier);
/* Every step is reached when each waits for all that come before it. */
void rig_expect_no_circle(const struct rig *r);

#endif
