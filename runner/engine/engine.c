#include "engine.h"

#include <errno.h>

#include "cleanup.h"
#include "firecracker.h"
#include "probe.h"
#include "qemu.h"

/* The best first: what `auto` tries in this order. */
static const struct engine_ops *const engines[] = {&firecracker_ops, &qemu_ops};

const struct engine_ops *engine_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return NULL;
}

static bool is_fast(const struct engine_ops *ops, const struct engine_caps *caps)
{
	return (ops->can & ENGINE_TCG) || caps->kvm_minsn_s >= PROBE_KVM_FAST_MINSN_S;
}

/* Why a better engine was passed over belongs to the reason, unless it is just not there. */
static void add_passed_over(struct engine_caps *caps, const char *note)
{
	size_t len = strlen(caps->why);

	if (*note)
		(void)snprintf(caps->why + len, sizeof(caps->why) - len, "; %s", note);
}

static int choose_best(const struct host *host, const struct engine_ops **ret,
		       struct engine_caps *ret_caps, struct err *err)
{
	char note[256] = "";
	struct err why = {.code = 0};

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct engine_caps caps;
		int r = engines[i]->probe(host, &caps, &why);

		if (r == 0 && is_fast(engines[i], &caps)) {
			add_passed_over(&caps, note);
			*ret_caps = caps;
			*ret = engines[i];
			return 0;
		}
		if (r != -ENOENT)
			(void)snprintf(note, sizeof(note), "not %s: %.200s", engines[i]->name,
				       r < 0 ? why.msg : caps.why);
	}
	if (err)
		*err = why;
	return why.code;
}

int engine_choose(const struct host *host, const char *wish, const struct engine_ops **ret,
		  struct engine_caps *ret_caps, struct err *err)
{
	const struct engine_ops *ops = engine_by_name(wish);
	int r;

	if (strcmp(wish, "auto") == 0)
		return choose_best(host, ret, ret_caps, err);
	if (!ops)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "engine: expected auto, qemu or firecracker, got '%s'", wish);
	r = ops->probe(host, ret_caps, err);
	if (r == 0)
		*ret = ops;
	return r;
}
