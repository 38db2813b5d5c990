#include <errno.h>
#include <string.h>

#include "choose_net.h"
#include "cleanup.h"
#include "engine.h"
#include "memserver.h"
#include "resource.h"
#include "xalloc.h"

const char *resource_backend(const struct resource_choice *choice, const struct snapshot_spec *s)
{
	if (strcmp(s->backend, "auto") != 0)
		return s->backend;
	return choice->uffd ? "uffd" : "file";
}

bool resource_uses_auto_network(const struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n_networks; i++)
		if (strcmp(fleet->networks[i].mode, "auto") == 0)
			return true;
	return false;
}

static bool is_auto(const char *wish)
{
	return !wish || !*wish || strcmp(wish, "auto") == 0;
}

/* The command line, then the baselines, then the environment, then the spec's default. Only one
 * engine runs a set, so the first baseline that asks speaks for all. */
static const char *wished(const struct host *host, const char *wish, const struct fleet *fleet)
{
	if (!is_auto(wish))
		return wish;
	for (size_t i = 0; fleet && i < fleet->n_baselines; i++)
		if (!is_auto(fleet->baselines[i].engine))
			return fleet->baselines[i].engine;
	if (!is_auto(host->getenv("FCVM_ENGINE")))
		return host->getenv("FCVM_ENGINE");
	return fleet && !is_auto(fleet->engine) ? fleet->engine : "auto";
}

static int refuse(const struct fleet *fleet, struct place at, const char *section, const char *name,
		  const char *field, struct err *err)
{
	auto_free char *path = xasprintf("%s.%s.%s", section, name, field);

	return fleet_refuse(fleet, at, path, err);
}

static int check_backends(const struct fleet *fleet, const struct resource_choice *choice,
			  struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < fleet->n_snapshots; i++) {
		const struct snapshot_spec *s = &fleet->snapshots[i];

		if (choice->uffd || strcmp(s->backend, "uffd") != 0)
			continue;
		(void)err_set(err, ERR_HOST, -EPERM, "uffd is not possible here: %s",
			      choice->uffd_why);
		(void)err_hint(err, "backend: auto falls back to file");
		r = refuse(fleet, s->backend_at, "snapshots", s->name, "memory.backend", err);
	}
	return r;
}

static int check_sandboxes(const struct fleet *fleet, const char *engine,
			   const struct engine_caps *caps, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];

		if (caps->jailer[0] || strcmp(b->sandbox, "jailer") != 0)
			continue;
		if (caps->jailer_why[0])
			(void)err_set(err, ERR_HOST, -EPERM, "jailer is not possible here: %s",
				      caps->jailer_why);
		else
			(void)err_set(err, ERR_HOST, -EPERM,
				      "jailer is not possible here: engine %s has none", engine);
		(void)err_hint(err, "sandbox: namespace needs no jailer; 'fcvm doctor' says what "
				    "is installed");
		r = refuse(fleet, b->sandbox_at, "baselines", b->name, "sandbox", err);
	}
	return r;
}

static int check_huge_pages(const struct fleet *fleet, const struct engine_ops *ops,
			    const struct resource_choice *choice, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];
		bool can = ops->can & ENGINE_HUGE_PAGES;

		if (b->huge_pages == HUGE_PAGES_NONE || (can && choice->uffd))
			continue;
		if (can) {
			(void)err_set(err, ERR_HOST, -EOPNOTSUPP,
				      "2M is not possible here: clones need a page server, and %s",
				      choice->uffd_why);
		} else {
			(void)err_set(err, ERR_HOST, -EOPNOTSUPP,
				      "2M is not possible here: engine %s has none", ops->name);
			(void)err_hint(err, "engine: firecracker has them");
		}
		r = refuse(fleet, b->huge_pages_at, "baselines", b->name, "huge_pages", err);
	}
	return r;
}

/* All that is wrong with the spec on this host is told. */
static int check(const struct host *host, const struct fleet *fleet, const struct engine_ops *ops,
		 const struct engine_caps *caps, struct resource_choice *choice, struct err *err)
{
	int sandbox = check_sandboxes(fleet, ops->name, caps, err);
	int backend = check_backends(fleet, choice, err);
	int pages = check_huge_pages(fleet, ops, choice, err);
	int network = choose_network(host, fleet, choice, err);

	return sandbox < 0 ? sandbox : backend < 0 ? backend : pages < 0 ? pages : network;
}

/* What plan says of tcg by itself need not be said twice. */
static const char *reason_of(const char *why)
{
	static const char prefix[] = "tcg, for development and trusted guests: ";

	return strncmp(why, prefix, sizeof(prefix) - 1) == 0 ? why + sizeof(prefix) - 1 : why;
}

int resource_choose(const struct host *host, const char *wish, const struct fleet *fleet,
		    struct resource_choice *ret, struct err *err)
{
	const struct engine_ops *ops = NULL;
	struct engine_caps caps = {0};
	struct resource_choice c = {0};
	int r = engine_choose(host, wished(host, wish, fleet), &ops, &caps, err);

	if (r < 0)
		return r;
	snprintf(c.engine, sizeof(c.engine), "%s", ops->name);
	snprintf(c.version, sizeof(c.version), "%s", caps.version);
	snprintf(c.sha256, sizeof(c.sha256), "%s", caps.sha256);
	snprintf(c.why, sizeof(c.why), "%s", reason_of(caps.why));
	snprintf(c.machine, sizeof(c.machine), "%s", caps.machine);
	snprintf(c.guest_cpu, sizeof(c.guest_cpu), "%s", caps.cpu_model);
	snprintf(c.snapshot_format, sizeof(c.snapshot_format), "%s", caps.snapshot_format);
	c.tsc_khz = caps.tsc_khz;
	c.tcg = caps.accel == VM_ACCEL_TCG;
	if (ops->can & ENGINE_UFFD)
		c.uffd = memserver_uffd_permitted(c.uffd_why, sizeof(c.uffd_why));
	else
		snprintf(c.uffd_why, sizeof(c.uffd_why), "engine %s cannot", ops->name);
	r = fleet ? check(host, fleet, ops, &caps, &c, err) : choose_network(host, NULL, &c, err);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}
