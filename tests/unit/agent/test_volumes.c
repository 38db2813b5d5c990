#include "volumes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "proto.h"
#include "proto_volume.h"
#include "tlv.h"
#include "xalloc.h"

static void add(struct buf *out, const char *kind, const char *target, uint64_t read_only)
{
	auto_free char *name = xstrdup("scratch"), *k = xstrdup(kind), *t = xstrdup(target);
	auto_free char *source = xstrdup("vol-scratch");
	struct proto_volume v = {
		.name = name, .kind = k, .target = t, .source = source, .read_only = read_only};

	proto_put_volume(out, &v);
}

static int get(const struct buf *b, struct proto_volumes *ret, struct err *err)
{
	return proto_get_volumes((const uint8_t *)buf_str(b), b->len, ret, err);
}

Test(volumes, they_come_out_as_they_went_in)
{
	auto_buf struct buf b = BUF_INIT(4096);
	auto_proto_volumes struct proto_volumes l = {0};

	tlv_put_str(&b, TAG_HOSTNAME, "other fields are no business of volumes");
	add(&b, "disk", "/a", 0);
	add(&b, "host", "/b", 1);
	cr_assert_eq(get(&b, &l, NULL), 0);
	cr_assert_eq(l.n, 2);
	cr_expect_str_eq(l.v[0].name, "scratch");
	cr_expect_str_eq(l.v[0].kind, "disk");
	cr_expect_str_eq(l.v[0].source, "vol-scratch");
	cr_expect_str_eq(l.v[1].target, "/b");
	cr_expect_eq(l.v[0].read_only, 0);
	cr_expect_eq(l.v[1].read_only, 1);
}

Test(volumes, a_host_that_asks_for_nonsense_is_refused)
{
	static const struct {
		const char *first, *second, *says;
	} cases[] = {
		{"/a", "/a", "malformed message: two volumes at one target, or one inside another"},
		{"/a", "/a/b",
		 "malformed message: two volumes at one target, or one inside another"},
		{"/a", "/proc", "target '/proc' would cover /proc, which is the guest's own"},
		{"/a/../b", "/c", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf b = BUF_INIT(4096);
		auto_proto_volumes struct proto_volumes l = {0};
		struct err err = {0};

		add(&b, "disk", cases[i].first, 0);
		add(&b, "disk", cases[i].second, 0);
		cr_expect_lt(get(&b, &l, &err), 0);
		if (cases[i].says)
			cr_expect_str_eq(err.msg, cases[i].says);
	}
}

Test(volumes, every_part_is_needed_and_there_only_once)
{
	auto_buf struct buf in = BUF_INIT(4096), b = BUF_INIT(4096);
	auto_proto_volumes struct proto_volumes l = {0}, twice = {0};
	struct err err = {0};

	tlv_put_str(&in, TAG_NAME, "a");
	tlv_put(&b, TAG_VOLUME, buf_str(&in), in.len);
	cr_expect_eq(get(&b, &l, &err), -EBADMSG);
	tlv_put_str(&in, TAG_NAME, "a");
	buf_reset(&b);
	tlv_put(&b, TAG_VOLUME, buf_str(&in), in.len);
	cr_expect_eq(get(&b, &twice, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "malformed message: a field is there twice");
}

Test(volumes, there_are_only_so_many)
{
	auto_buf struct buf b = BUF_INIT(1u << 16);
	auto_proto_volumes struct proto_volumes l = {0};
	struct err err = {0};

	for (int i = 0; i <= PROTO_VOLUMES_MAX; i++) {
		auto_free char *target = xasprintf("/t%d", i);

		add(&b, "disk", target, 0);
	}
	cr_expect_eq(get(&b, &l, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "malformed message: too many volumes");
}

Test(volumes, containers_see_them_at_the_same_path)
{
	struct agent agent = {.machine = false};
	auto_buf struct buf b = BUF_INIT(4096);
	auto_proto_volumes struct proto_volumes l = {0};
	auto_strv struct strv args = {0};
	struct err err = {0};

	cr_assert_eq(volumes_new(&agent, &err), 0);
	add(&b, "disk", "/var/lib/scratch", 0);
	add(&b, "disk", "/ro", 1);
	cr_assert_eq(get(&b, &l, &err), 0);
	cr_assert_eq(volumes_apply(&agent, &l, &err), 0, "%s", err.msg);
	cr_expect_null(l.v, "it is the agent's now");
	volumes_add_args(&agent, &args);
	cr_assert_eq(args.n, 2);
	cr_expect_str_eq(args.v[0], "--volume=/var/lib/scratch:/var/lib/scratch:rw");
	cr_expect_str_eq(args.v[1], "--volume=/ro:/ro:ro");
	volumes_free(&agent);
}

Test(volumes, an_unknown_kind_is_an_error_and_changes_nothing)
{
	struct agent agent = {.machine = false};
	auto_buf struct buf b = BUF_INIT(4096);
	auto_proto_volumes struct proto_volumes l = {0};
	auto_strv struct strv args = {0};
	struct err err = {0};

	cr_assert_eq(volumes_new(&agent, &err), 0);
	add(&b, "nfs", "/a", 0);
	cr_assert_eq(get(&b, &l, &err), 0);
	cr_expect_eq(volumes_apply(&agent, &l, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "volume 'scratch': the agent knows no kind 'nfs'");
	volumes_add_args(&agent, &args);
	cr_expect_eq(args.n, 0);
	volumes_free(&agent);
}
