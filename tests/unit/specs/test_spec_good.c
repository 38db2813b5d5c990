#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "helper.h"

Test(spec_good, each_file_is_valid_without_a_word)
{
	auto_closedir DIR *dir = opendir("tests/data/spec-good");
	struct dirent *e;
	size_t n = 0;

	cr_assert_not_null(dir, "run from the top of the source tree");
	while ((e = readdir(dir))) {
		auto_fleet struct fleet *fleet = NULL;
		auto_buf struct buf out = BUF_INIT(1u << 20);
		struct err err = {0};

		if (!strstr(e->d_name, ".yaml"))
			continue;
		auto_free char *path = path_join("tests/data/spec-good", e->d_name);

		cr_expect_eq(fleet_load(path, NULL, &fleet, &out, &err), 0, "%s: %s", path,
			     err.msg);
		cr_expect_str_eq(buf_str(&out), "", "%s", buf_str(&out));
		n++;
	}
	cr_expect_geq(n, 5);
}

static struct fleet *load(const char *name)
{
	auto_free char *path = path_join("tests/data/spec-good", name);
	struct fleet *fleet = NULL;
	auto_buf struct buf out = BUF_INIT(1u << 20);

	cr_assert_eq(fleet_load(path, NULL, &fleet, &out, NULL), 0, "%s", buf_str(&out));
	return fleet;
}

Test(spec_good, the_minimal_spec_has_all_defaults)
{
	auto_fleet struct fleet *f = load("minimal.yaml");

	cr_assert_eq(f->n_baselines, 1);
	const struct baseline_spec *b = &f->baselines[0];

	cr_expect_str_eq(f->name, "hello");
	cr_expect_str_eq(f->engine, "auto");
	cr_expect_eq(f->policy.memory_reserve_bytes, 1ull << 30);
	cr_expect_float_eq(f->policy.memory_overcommit, 1.0, 1e-9);
	cr_expect_eq(f->policy.build, 1);
	cr_expect_eq(f->policy.boot, 2);
	cr_expect_eq(f->policy.restore, 16);
	cr_expect_eq(f->policy.health, 32);
	cr_expect_str_eq(b->name, "web");
	cr_expect_eq(b->at.line, 4);
	cr_expect_eq(b->at.col, 3);
	cr_expect_eq(b->cpus, 1);
	cr_expect_eq(b->cpus_at.line, 0, "a default has no place");
	cr_expect_eq(b->memory_bytes, 512ull << 20);
	cr_expect_eq(b->memory_at.line, 6);
	cr_expect_eq(b->memory_at.col, 13);
	cr_expect_str_eq(b->engine, "auto");
	cr_expect_str_eq(b->network_ref, "auto");
	cr_expect_str_eq(b->network->mode, "auto");
	cr_expect_str_eq(b->network->egress_default, "allow");
	cr_expect_eq(b->network->at.line, 0, "built in");
	cr_expect_eq(b->ready_timeout_ms, 120000);
	cr_expect_not(b->keep_running);
	cr_expect_str_eq(b->container.name, "main");
	cr_expect_str_eq(b->container.image->source, "docker-archive:./nginx.tar");
	cr_expect_str_eq(b->container.image->inlined, "baselines.web.image");
	cr_expect_str_eq(b->container.health.http, "http://:80/");
	cr_expect_eq(b->container.health.interval_ms, 10000);
	cr_expect_eq(b->container.health.start_interval_ms, 250);
	cr_expect_eq(b->container.health.timeout_ms, 5000);
	cr_expect_eq(b->container.health.retries, 3);
	cr_expect_eq(b->container.health.start_period_ms, 0);
	cr_expect_eq(b->container.health.at.line, 7);
}

Test(spec_good, the_minimal_spec_uses_what_is_built_in)
{
	auto_fleet struct fleet *f = load("minimal.yaml");

	cr_assert_eq(f->n_kernels, 1);
	cr_expect_eq(f->baselines[0].kernel, &f->kernels[0]);
	cr_expect_str_eq(f->kernels[0].name, "default");
	cr_expect_str_eq(f->kernels[0].package, "linux-image-cloud-amd64");
	cr_expect_eq(f->kernels[0].at.line, 0);
	cr_assert_eq(f->n_rootfs, 1);
	cr_expect_eq(f->baselines[0].rootfs, &f->rootfs[0]);
	cr_expect_str_eq(f->rootfs[0].name, "debian");
	cr_expect_str_eq(f->rootfs[0].suite, "bookworm");
	cr_expect_eq(f->rootfs[0].size_bytes, 4ull << 30);
	cr_assert_eq(f->n_snapshots, 1);
	cr_expect_str_eq(f->snapshots[0].name, "web@healthy");
	cr_expect(f->snapshots[0].implicit);
	cr_expect_eq(f->snapshots[0].when, WHEN_HEALTHY);
	cr_expect_str_eq(f->snapshots[0].backend, "auto");
	cr_expect_eq(f->snapshots[0].from, &f->baselines[0]);
	cr_assert_eq(f->n_fleets, 1);
	cr_expect_eq(f->fleets[0].from, &f->snapshots[0]);
	cr_expect_eq(f->fleets[0].network, f->baselines[0].network, "the baseline's");
	cr_expect_eq(f->fleets[0].count, 10);
	cr_expect_str_eq(f->fleets[0].name_template, "web-{{index}}");
	cr_expect_str_eq(f->fleets[0].restart, "no");
	cr_expect_eq(f->fleets[0].health.at.line, 0, "the baseline's");
}

Test(spec_good, everything_main_reaches_the_struct)
{
	auto_fleet struct fleet *f = load("everything-main.yaml");
	const struct baseline_spec *b = &f->baselines[0];
	const struct snapshot_spec *s = &f->snapshots[0];
	const struct fleet_spec *one = &f->fleets[0];

	cr_expect_str_eq(f->labels.v[0], "owner=ops");
	cr_expect_str_eq(f->labels.v[1], "team=web");
	cr_expect_float_eq(f->policy.memory_overcommit, 1.5, 1e-9);
	cr_expect_str_eq(f->kernels[0].path, "/boot/vmlinux");
	cr_expect_null(f->kernels[0].package);
	cr_expect_str_eq(f->kernels[0].args.v[1], "loglevel=3");
	cr_expect_str_eq(f->rootfs[0].packages.v[0], "curl");
	cr_expect_eq(f->rootfs[0].size_bytes, 8ull << 30);
	cr_expect_str_eq(f->images[0].source, "oci-archive:./app-1.8.2.tar");
	cr_expect_eq(b->container.image, &f->images[0]);
	cr_expect_str_eq(b->container.name, "app");
	cr_expect_str_eq(b->container.command.v[1], "two words");
	cr_expect_str_eq(b->container.entrypoint.v[0], "/bin/app");
	cr_expect_str_eq(b->container.environment.v[0], "A=1");
	cr_expect_str_eq(b->container.environment.v[1], "B=no");
	cr_expect_str_eq(b->container.user, "1000");
	cr_expect_str_eq(b->container.workdir, "/srv");
	cr_expect_str_eq(b->container.health.exec.v[0], "check");
	cr_expect_str_eq(b->engine, "qemu");
	cr_expect_str_eq(b->network->mode, "none");
	cr_expect(b->keep_running);
	cr_expect_eq(s->when, WHEN_STARTED);
	cr_expect_eq(s->settle_ms, 500);
	cr_expect_str_eq(s->backend, "file");
	cr_assert_eq(s->n_prepare, 2);
	cr_expect_str_eq(s->prepare[0].argv.v[0], "/warm");
	cr_expect_eq(s->prepare[0].timeout_ms, 30000);
	cr_expect_str_eq(s->prepare[1].container, "app");
	cr_expect_eq(s->prepare[1].timeout_ms, 5000);
	cr_expect_eq(one->count, 4);
	cr_expect_str_eq(one->restart, "on-failure");
	cr_expect_str_eq(one->on_clone[0].argv.v[0], "/reload");
	cr_expect_str_eq(one->health.tcp, ":81");
	cr_expect_str_eq(one->metadata_keys.v[0], "shard");
	cr_expect_str_eq(one->metadata_values.v[0], "{{index}}/4");
	cr_assert_eq(f->n_networks, 2, "one written, one built in");
	cr_expect_eq(one->network, &f->networks[0]);
	cr_expect_str_eq(one->network->mode, "bridged");
	cr_expect_str_eq(one->network->egress_default, "deny");
	cr_expect_str_eq(one->network->egress_allow.v[1], "10.0.0.0/8");
	cr_expect_str_eq(one->network->dns.v[0], "1.1.1.1");
	cr_expect_gt(one->network->egress_allow_at.line, 0);
	cr_assert_eq(one->n_ports, 3);
	cr_expect_str_eq(one->ports[1].text, "0.0.0.0:{{9000+index}}:53/udp");
	cr_expect_eq(f->n_refusals, 0);
}

Test(spec_good, the_realistic_spec_is_refused_where_this_version_ends)
{
	auto_fleet struct fleet *f = load("realistic.yaml");
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct err err = {0};

	cr_assert_eq(fleet_refuse_unavailable(f, &out, &err), -EOPNOTSUPP);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_not_null(strstr(buf_str(&out),
				  "realistic.yaml:8:3: error: policy.ttl: not available in this "
				  "version\n  ttl: 45m "));
	cr_expect_not_null(strstr(buf_str(&out), "error: baselines.stack.containers.api: not "));
	cr_expect_null(strstr(buf_str(&out), "error: fleets.runners.count"));
	cr_expect_eq(f->fleets[0].count, 8);
}
