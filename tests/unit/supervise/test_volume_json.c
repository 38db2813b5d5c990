#include "volume_json.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

#define GOOD(target)                                                                        \
	"{\"name\":\"src\",\"type\":\"host\",\"target\":\"" target "\",\"read_only\":true," \
	"\"source\":\"/srv\",\"cache\":\"strict\",\"trust\":\"full\"}"

static int parse(const char *text, struct volume_list *ret, struct err *err)
{
	auto_json struct json_object *o = NULL;

	cr_assert_geq(json_parse(text, strlen(text), &o, err), 0, "%s", err->msg);
	return volumes_from_json(o, ret, err);
}

Test(volume_json, volumes_survive_the_way_there_and_back)
{
	char names[][8] = {"src", "data"}, targets[][8] = {"/src", "/data"};
	char sources[][12] = {"/srv/a b", "vol-data"};
	struct volume_mount mounts[] = {
		{names[0], VOLUME_HOST, targets[0], true, sources[0], VOLUME_PRIVATE, VOLUME_FULL},
		{names[1], VOLUME_DISK, targets[1], false, sources[1], VOLUME_SHARED,
		 VOLUME_SQUASH},
	};
	struct volume_list list = {mounts, ARRAY_SIZE(mounts)};
	auto_volume_list struct volume_list back = {0};
	auto_json struct json_object *o = volumes_to_json(&list), *again = NULL;
	struct err err = {0};

	cr_assert_geq(volumes_from_json(o, &back, &err), 0, "%s", err.msg);
	cr_assert_eq(back.n, 2);
	again = volumes_to_json(&back);
	auto_free char *one = json_line(o), *two = json_line(again);

	cr_expect_str_eq(one, two);
	cr_expect_str_eq(volume_list_find(&back, "/data")->source, "vol-data");
	cr_expect_null(volume_list_find(&back, "/dat"));
}

Test(volume_json, none_is_not_the_same_as_an_empty_list)
{
	struct volume_list none = {0};
	auto_volume_list struct volume_list back = {0};
	auto_json struct json_object *o = volumes_to_json(&none);
	struct err err = {0};

	cr_expect_null(volumes_to_json(NULL));
	cr_expect_not_null(o);
	cr_expect_eq(volumes_from_json(o, &back, &err), 0);
	cr_expect_eq(volumes_from_json(NULL, &back, &err), 0);
	cr_expect_eq(back.n, 0);
}

Test(volume_json, nothing_is_taken_on_trust)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"{}", "volumes are not a list"},
		{"[1]", NULL},
		{"[{}]", NULL},
		{"[" GOOD("/a") "," GOOD("/a") "]", "volume 1: '/a' is the target of two volumes"},
		{"[" GOOD("/a") "," GOOD("/a/b") "]",
		 "volume 1: targets '/a' and '/a/b': one volume cannot lie in another"},
		{"[" GOOD("/proc/x") "]",
		 "volume 0: target '/proc/x' would cover /proc, which is the guest's own"},
		{"[{\"name\":\"src\",\"type\":\"nfs\",\"target\":\"/a\",\"read_only\":true,"
		 "\"source\":\"/srv\",\"cache\":\"strict\",\"trust\":\"full\"}]",
		 "volume 0: type: 'nfs' is none of its values"},
		{"[{\"name\":\"Src\",\"type\":\"host\",\"target\":\"/a\",\"read_only\":true,"
		 "\"source\":\"/srv\",\"cache\":\"strict\",\"trust\":\"full\"}]",
		 "volume 0: name: 'Src' is none"},
		{"[{\"name\":\"src\",\"type\":\"host\",\"target\":\"/a\",\"read_only\":true,"
		 "\"source\":\"srv\",\"cache\":\"strict\",\"trust\":\"full\"}]",
		 "volume 0: source: expected the absolute path of a directory"},
		{"[{\"name\":\"src\",\"type\":\"disk\",\"target\":\"/a\",\"read_only\":true,"
		 "\"source\":\"a/b\",\"cache\":\"strict\",\"trust\":\"full\"}]",
		 "volume 0: source: expected the serial of a drive, got 'a/b'"},
		{"[{\"name\":\"src\",\"type\":\"disk\",\"target\":\"/a\",\"read_only\":1,"
		 "\"source\":\"a\",\"cache\":\"strict\",\"trust\":\"full\"}]",
		 NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct volume_list l = {0};
		struct err err = {0};

		cr_expect_lt(parse(cases[i].text, &l, &err), 0, "%s", cases[i].text);
		if (cases[i].says)
			cr_expect_str_eq(err.msg, cases[i].says);
		cr_expect_null(l.v, "outputs are untouched");
	}
}

Test(volume_json, there_is_a_limit)
{
	auto_json struct json_object *arr = json_object_new_array();
	auto_volume_list struct volume_list l = {0};
	struct err err = {0};

	for (unsigned int i = 0; i <= VOLUMES_MAX; i++) {
		auto_free char *target = xasprintf("/t%u", i);
		struct json_object *o = json_object_new_object();

		json_add_str(o, "name", "src");
		json_add_str(o, "type", "host");
		json_add_str(o, "target", target);
		json_add_bool(o, "read_only", false);
		json_add_str(o, "source", "/srv");
		json_add_str(o, "cache", "shared");
		json_add_str(o, "trust", "squash");
		json_object_array_add(arr, o);
	}
	cr_expect_eq(volumes_from_json(arr, &l, &err), -EMSGSIZE);
	json_object_array_del_idx(arr, VOLUMES_MAX, 1);
	cr_expect_eq(volumes_from_json(arr, &l, &err), 0, "%s", err.msg);
	cr_expect_eq(l.n, VOLUMES_MAX);
}
