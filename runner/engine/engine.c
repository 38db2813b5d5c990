#include "engine.h"

#include <errno.h>

#include "cleanup.h"
#include "qemu.h"

static const struct engine_ops *const engines[] = {&qemu_ops};

const struct engine_ops *engine_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return NULL;
}

int engine_choose(const struct host *host, const char *wish, const struct engine_ops **ret,
		  struct engine_caps *ret_caps, struct err *err)
{
	const struct engine_ops *ops = &qemu_ops;
	int r;

	if (strcmp(wish, "firecracker") == 0) {
		err_set(err, ERR_SPEC, -EOPNOTSUPP,
			"engine 'firecracker' is not available in this version");
		return err_hint(err, "use auto or qemu");
	}
	if (strcmp(wish, "auto") != 0)
		ops = engine_by_name(wish);
	if (!ops)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "engine: expected auto, qemu or firecracker, got '%s'", wish);
	r = ops->probe(host, ret_caps, err);
	if (r == 0)
		*ret = ops;
	return r;
}
