#include "agentmsg.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "proto_workload.h"

Test(agentmsg, identities_differ_in_everything)
{
	struct agentmsg_identity a = {.epoch = ""}, b = {.epoch = ""};

	agentmsg_identity_draw(&a);
	agentmsg_identity_draw(&b);
	cr_expect_str_neq(a.epoch, b.epoch);
	cr_expect_str_neq(a.boot_id, b.boot_id);
	cr_expect_str_neq(a.epoch, a.boot_id);
	cr_expect_str_neq(a.machine_id, b.machine_id);
	cr_expect_neq(memcmp(a.entropy, b.entropy, sizeof(a.entropy)), 0);
	cr_expect_eq(strlen(a.machine_id), 32);
	cr_expect_eq(strspn(a.machine_id, "0123456789abcdef"), 32);
}

Test(agentmsg, the_agent_reads_what_we_resume_it_with)
{
	auto_buf struct buf out = BUF_INIT(AGENTMSG_MAX);
	auto_proto_resume struct proto_resume back = {0};
	struct agentmsg_identity id = {.epoch = ""};
	const struct health_spec health = {.tcp = (char[]){":80"}, .retries = 4};
	struct hook hook = {.timeout_ms = 9};
	char name[] = "web-1", metadata[] = "{}";
	struct err err = {0};

	char volume[] = "src", target[] = "/src", secret[] = "/home/me/secret";
	char disk[] = "tmp", at[] = "/scratch", serial[] = "vol-tmp";
	struct volume_mount mounts[] = {
		{.name = volume, .target = target, .source = secret, .read_only = true},
		{.name = disk,
		 .type = VOLUME_DISK,
		 .target = at,
		 .source = serial,
		 .read_only = true},
	};
	const struct volume_list volumes = {mounts, ARRAY_SIZE(mounts)};

	strv_add(&hook.argv, "true");
	agentmsg_identity_draw(&id);
	const struct agentmsg_resume r = {.id = &id,
					  .hostname = name,
					  .metadata = metadata,
					  .health = &health,
					  .unix_ns = 42,
					  .mtu = 1500,
					  .volumes = &volumes,
					  .hooks = &hook,
					  .n_hooks = 1};

	agentmsg_resume(&out, &r);
	cr_assert(buf_ok(&out));
	cr_assert_geq(proto_get_resume((const uint8_t *)out.data, out.len, &back, &err), 0, "%s",
		      err.msg);
	cr_expect_str_eq(back.epoch, id.epoch);
	cr_expect_str_eq(back.hostname, "web-1");
	cr_expect_str_eq(back.machine_id, id.machine_id);
	cr_expect_str_eq(back.boot_id, id.boot_id);
	cr_expect_str_eq(back.metadata, "{}");
	cr_expect_eq(back.unix_now_ns, 42);
	cr_expect_eq(back.mtu, 1500);
	cr_expect_eq(back.entropy_len, sizeof(id.entropy));
	cr_expect_eq(memcmp(back.entropy, id.entropy, sizeof(id.entropy)), 0);
	cr_expect(back.has_health);
	cr_expect_str_eq(back.health.tcp, ":80");
	cr_assert_eq(back.hooks.n, 1);
	cr_expect_str_eq(back.hooks.v[0].argv.v[0], "true");
	cr_assert_eq(back.volumes.n, 2);
	cr_expect_str_eq(back.volumes.v[0].kind, "host");
	cr_expect_str_eq(back.volumes.v[0].target, "/src");
	cr_expect_str_eq(back.volumes.v[0].source, "", "the host's paths stay on the host");
	cr_expect_eq(back.volumes.v[0].read_only, 0, "its server says who may write");
	cr_expect_str_eq(back.volumes.v[1].kind, "disk");
	cr_expect_str_eq(back.volumes.v[1].source, "vol-tmp");
	cr_expect_eq(back.volumes.v[1].read_only, 1);
	strv_free(&hook.argv);
}
