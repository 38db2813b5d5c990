#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "xalloc.h"

/* The value of the one field in b. */
static const uint8_t *value_of(const struct buf *b, size_t *ret_len)
{
	struct tlv t;
	size_t pos = 0;

	cr_assert_eq(tlv_next((const uint8_t *)buf_str(b), b->len, &pos, &t, NULL), 1);
	cr_assert_eq(pos, b->len);
	*ret_len = t.len;
	return t.value;
}

Test(proto, every_message_has_a_name_and_others_have_none)
{
	cr_expect_str_eq(agent_msg_name(MSG_HELLO), "hello");
	cr_expect_str_eq(agent_msg_name(MSG_EXEC_EXIT), "exec exit");
	cr_expect_str_eq(agent_msg_name(0), "?");
	cr_expect_str_eq(agent_msg_name(9999), "?");
}

Test(proto, a_container_comes_out_as_it_went_in)
{
	auto_proto_container struct proto_container in = {.name = xstrdup("main"),
							  .image = xstrdup("localhost/a:1"),
							  .store = xstrdup("img0"),
							  .user = xstrdup("app")};
	auto_proto_container struct proto_container out = {0};
	auto_buf struct buf b = BUF_INIT(4096);
	size_t len;

	strv_add(&in.entrypoint, "/bin/sh");
	strv_add(&in.command, "-c");
	strv_add(&in.command, "");
	strv_add(&in.env, "A=1\nB");
	in.health.http = xstrdup("http://:80/");
	in.health.interval_ms = 7;
	proto_put_container(&b, &in);
	const uint8_t *value = value_of(&b, &len);
	cr_assert_eq(proto_get_container(value, len, &out, NULL), 0);
	cr_expect_str_eq(out.name, "main");
	cr_expect_str_eq(out.image, "localhost/a:1");
	cr_expect_str_eq(out.store, "img0");
	cr_expect_str_eq(out.user, "app");
	cr_expect_null(out.cwd);
	cr_expect_eq(out.entrypoint.n, 1);
	cr_assert_eq(out.command.n, 2);
	cr_expect_str_eq(out.command.v[1], "");
	cr_expect_str_eq(out.env.v[0], "A=1\nB");
	cr_expect_str_eq(out.health.http, "http://:80/");
	cr_expect_eq(out.health.interval_ms, 7);
	cr_expect(proto_health_has_check(&out.health));
}

Test(proto, times_left_out_of_a_health_check_take_their_defaults)
{
	auto_proto_health struct proto_health in = {.tcp = xstrdup(":80")}, out = {0};
	auto_buf struct buf b = BUF_INIT(4096);
	size_t len;

	in.timeout_ms = UINT64_MAX;
	proto_put_health(&b, &in);
	const uint8_t *value = value_of(&b, &len);
	cr_assert_eq(proto_get_health(value, len, &out, NULL), 0);
	cr_expect_eq(out.interval_ms, 10000);
	cr_expect_eq(out.start_interval_ms, 250);
	cr_expect_eq(out.start_period_ms, 0);
	cr_expect_eq(out.retries, 3);
	cr_expect_eq(out.timeout_ms, 86400000);
}

Test(proto, a_resume_comes_out_as_it_went_in)
{
	auto_proto_resume struct proto_resume in = {.epoch = xstrdup("e"),
						    .unix_now_ns = 12345,
						    .entropy_len = 64,
						    .hostname = xstrdup("web-3"),
						    .machine_id = xstrdup("m"),
						    .boot_id = xstrdup("b"),
						    .mtu = 1400,
						    .metadata = xstrdup("{}"),
						    .has_health = true};
	auto_proto_resume struct proto_resume out = {0};
	auto_buf struct buf b = BUF_INIT(4096);

	memset(in.entropy, 0xa5, 64);
	in.hooks.v = xcalloc(1, sizeof(*in.hooks.v));
	in.hooks.n = 1;
	in.hooks.v[0].container = xstrdup("main");
	strv_add(&in.hooks.v[0].argv, "true");
	proto_put_resume(&b, &in);
	cr_assert_eq(proto_get_resume((const uint8_t *)b.data, b.len, &out, NULL), 0);
	cr_expect_str_eq(out.epoch, "e");
	cr_expect_eq(out.unix_now_ns, 12345);
	cr_expect_eq(out.entropy_len, 64);
	cr_expect_eq(memcmp(in.entropy, out.entropy, 64), 0);
	cr_expect_str_eq(out.hostname, "web-3");
	cr_expect_eq(out.mtu, 1400);
	cr_expect_str_eq(out.metadata, "{}");
	cr_expect(out.has_health);
	cr_expect_not(proto_health_has_check(&out.health));
	cr_assert_eq(out.hooks.n, 1);
	cr_expect_str_eq(out.hooks.v[0].container, "main");
	cr_expect_eq(out.hooks.v[0].timeout_ms, PROTO_HOOK_TIMEOUT_MS);
}

static void put_nothing(struct buf *b)
{
	(void)b;
}
static void put_no_image(struct buf *b)
{
	tlv_put_str(b, TAG_NAME, "main");
}
static void put_option_as_image(struct buf *b)
{
	tlv_put_str(b, TAG_NAME, "main");
	tlv_put_str(b, TAG_IMAGE, "--privileged");
}
static void put_name_twice(struct buf *b)
{
	tlv_put_str(b, TAG_NAME, "main");
	tlv_put_str(b, TAG_NAME, "other");
}
static void put_nul(struct buf *b)
{
	tlv_put(b, TAG_NAME, "a\0b", 3);
}
static void put_long_name(struct buf *b)
{
	tlv_put(b, TAG_NAME, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		65);
}
static void put_many_words(struct buf *b)
{
	for (int i = 0; i <= PROTO_WORDS_MAX; i++)
		tlv_put_str(b, TAG_ARG, "");
}
static void put_two_checks(struct buf *b)
{
	auto_buf struct buf in = BUF_INIT(256);

	tlv_put_str(&in, TAG_HTTP, "http://:1/");
	tlv_put_str(&in, TAG_TCP, ":1");
	tlv_put(b, TAG_HEALTH, in.data, in.len);
}
static void put_short_number(struct buf *b)
{
	auto_buf struct buf in = BUF_INIT(256);

	tlv_put(&in, TAG_RETRIES, "abc", 3);
	tlv_put(b, TAG_HEALTH, in.data, in.len);
}
static void put_cut_field(struct buf *b)
{
	buf_add(b, "\7\0\0\0\377\0\0\0x", 9);
}

Test(proto, hostile_containers_are_refused_with_a_reason)
{
	static const struct {
		void (*put)(struct buf *b);
		const char *text;
	} cases[] = {
		{put_nothing, "malformed message: a container without a name or an image"},
		{put_no_image, "malformed message: a container without a name or an image"},
		{put_option_as_image,
		 "malformed message: a container's name or image begins with '-'"},
		{put_name_twice, "malformed message: a field is there twice"},
		{put_nul, "field 7 has a zero byte in its text"},
		{put_long_name, "field 7 of 65 bytes, limit 64"},
		{put_many_words, "malformed message: too many words"},
		{put_two_checks, "malformed message: a health check of more than one kind"},
		{put_short_number, "field 32 of 3 bytes, wanted 8"},
		{put_cut_field, "field 7 of 255 bytes runs past the message by 254"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_proto_container struct proto_container c = {0};
		auto_buf struct buf b = BUF_INIT(1u << 20);
		struct err err = {0};

		cases[i].put(&b);
		cr_expect_eq(proto_get_container((const uint8_t *)buf_str(&b), b.len, &c, &err),
			     -EBADMSG);
		cr_expect_str_eq(err.msg, cases[i].text, "%s", err.msg);
	}
}

Test(proto, a_resume_wants_its_entropy_and_its_names)
{
	static const size_t sizes[] = {0, 63, 257};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		auto_proto_resume struct proto_resume out = {0};
		auto_buf struct buf b = BUF_INIT(4096);
		static const uint8_t bytes[257];
		struct err err = {0};

		tlv_put(&b, TAG_ENTROPY, bytes, sizes[i]);
		cr_expect_eq(proto_get_resume((const uint8_t *)b.data, b.len, &out, &err),
			     -EBADMSG);
		cr_expect_str_eq(err.msg, "malformed message: entropy is not 64 to 256 bytes");
	}
}

Test(proto, too_many_hooks_are_refused)
{
	auto_proto_hooks struct proto_hooks out = {0};
	auto_buf struct buf b = BUF_INIT(1u << 16);
	struct proto_hook hook = {0};
	struct err err = {0};

	strv_add(&hook.argv, "x");
	for (int i = 0; i <= PROTO_HOOKS_MAX; i++)
		proto_put_hook(&b, &hook);
	proto_hook_free(&hook);
	cr_expect_eq(proto_get_hooks((const uint8_t *)b.data, b.len, &out, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "malformed message: too many hooks");
}

Test(proto, tags_of_a_later_release_are_skipped)
{
	auto_proto_hooks struct proto_hooks out = {0};
	auto_buf struct buf b = BUF_INIT(4096);
	struct proto_hook hook = {0};

	tlv_put_str(&b, 999, "from the future");
	strv_add(&hook.argv, "x");
	proto_put_hook(&b, &hook);
	proto_hook_free(&hook);
	cr_expect_eq(proto_get_hooks((const uint8_t *)b.data, b.len, &out, NULL), 0);
	cr_expect_eq(out.n, 1);
}
