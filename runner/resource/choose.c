#include <errno.h>
#include <string.h>

#include "choose_net.h"
#include "engine.h"
#include "memserver.h"
#include "resource.h"

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

static int check_backends(const struct fleet *fleet, const struct resource_choice *choice,
			  struct err *err)
{
	for (size_t i = 0; fleet && i < fleet->n_snapshots; i++) {
		const struct snapshot_spec *s = &fleet->snapshots[i];

		if (choice->uffd || strcmp(s->backend, "uffd") != 0)
			continue;
		(void)err_set(err, ERR_HOST, -EPERM,
			      "%s:%u:%u: snapshots.%s.memory.backend: uffd is not possible here: "
			      "%s",
			      fleet->path, s->backend_at.line, s->backend_at.col, s->name,
			      choice->uffd_why);
		return err_hint(err, "backend: auto falls back to file");
	}
	return 0;
}

static int check_sandboxes(const struct fleet *fleet, const char *engine,
			   const struct engine_caps *caps, struct err *err)
{
	for (size_t i = 0; fleet && i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];

		if (caps->jailer[0] || strcmp(b->sandbox, "jailer") != 0)
			continue;
		if (caps->jailer_why[0])
			(void)err_set(err, ERR_HOST, -EPERM,
				      "%s:%u:%u: baselines.%s.sandbox: jailer is not possible "
				      "here: %s",
				      fleet->path, b->sandbox_at.line, b->sandbox_at.col, b->name,
				      caps->jailer_why);
		else
			(void)err_set(err, ERR_HOST, -EPERM,
				      "%s:%u:%u: baselines.%s.sandbox: jailer is not possible "
				      "here: engine %s has none",
				      fleet->path, b->sandbox_at.line, b->sandbox_at.col, b->name,
				      engine);
		return err_hint(err, "sandbox: namespace needs no jailer; 'fcvm doctor' says what "
				     "is installed");
	}
	return 0;
}

static int refuse_huge_pages(const struct fleet *fleet, const struct baseline_spec *b,
			     const char *why, struct err *err)
{
	return err_set(err, ERR_HOST, -EOPNOTSUPP,
		       "%s:%u:%u: baselines.%s.huge_pages: 2M is not possible here: %s",
		       fleet->path, b->huge_pages_at.line, b->huge_pages_at.col, b->name, why);
}

static int check_huge_pages(const struct fleet *fleet, const struct engine_ops *ops,
			    const struct resource_choice *choice, struct err *err)
{
	for (size_t i = 0; fleet && i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];
		char why[300];

		if (b->huge_pages == HUGE_PAGES_NONE)
			continue;
		if (!(ops->can & ENGINE_HUGE_PAGES)) {
			(void)snprintf(why, sizeof(why), "engine %s has none", ops->name);
			(void)refuse_huge_pages(fleet, b, why, err);
			return err_hint(err, "engine: firecracker has them");
		}
		if (!choice->uffd) {
			(void)snprintf(why, sizeof(why), "clones need a page server, and %.200s",
				       choice->uffd_why);
			return refuse_huge_pages(fleet, b, why, err);
		}
	}
	return 0;
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
	r = check_sandboxes(fleet, ops->name, &caps, err);
	if (r >= 0)
		r = check_backends(fleet, &c, err);
	if (r >= 0)
		r = check_huge_pages(fleet, ops, &c, err);
	if (r >= 0)
		r = choose_network(host, fleet, &c, err);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}
