#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "record.h"
#include "run.h"
#include "xalloc.h"

Test(record, a_file_name_is_safe_for_any_resource_name)
{
	static const struct {
		const char *name, *file;
	} cases[] = {
		{"web-3", "web-3"},
		{"web@healthy/0", "web@healthy%2f0"},
		{"../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"},
		{".hidden", "%2ehidden"},
		{"-x", "%2dx"},
		{"docker-archive:./a b.tar", "docker-archive%3a.%2fa%20b.tar"},
		{"100%", "100%25"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *file = record_file_name(cases[i].name);

		cr_expect_str_eq(file, cases[i].file);
	}
}

Test(record, long_names_stay_apart_and_short_enough)
{
	char a[3000], b[3000];

	memset(a, '/', sizeof(a) - 1);
	memset(b, '/', sizeof(b) - 1);
	a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
	b[sizeof(b) - 2] = 'x';
	auto_free char *fa = record_file_name(a);
	auto_free char *fb = record_file_name(b);
	cr_expect_str_neq(fa, fb);
	cr_expect_lt(strlen(fa), 200);
}

static struct json_object *record_of(const char *kind, const char *name)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "v", RECORD_VERSION);
	json_add_str(o, "kind", kind);
	json_add_str(o, "name", name);
	return o;
}

static int count_record(void *data, enum resource_kind kind, const char *name,
			struct json_object *record, struct err *err)
{
	(void)kind, (void)name, (void)err;
	++*(size_t *)data;
	json_put_p(&record);
	return 0;
}

Test(record, what_is_saved_is_loaded_walked_and_removed)
{
	auto_tmpdir char *dir = tmpdir_new("record");
	auto_json struct json_object *o = record_of("memserver", "web@healthy/0"), *back = NULL;
	struct err err = {0};
	size_t n = 0;

	json_add_str(o, "sock", "/x");
	cr_assert_eq(record_save(dir, o, &err), 0, "%s", err.msg);
	cr_assert_eq(record_load(dir, RESOURCE_MEMSERVER, "web@healthy/0", &back, &err), 0);
	cr_expect_str_eq(json_opt_str(back, "sock", ""), "/x");
	cr_assert_eq(record_each(dir, RESOURCE_MEMSERVER, count_record, &n, NULL, &err), 0);
	cr_expect_eq(n, 1);
	cr_assert_eq(record_each(dir, RESOURCE_CLONE, count_record, &n, NULL, &err), 0);
	cr_expect_eq(n, 1);
	cr_assert_eq(record_remove(dir, RESOURCE_MEMSERVER, "web@healthy/0", &err), 0);
	cr_assert_eq(record_remove(dir, RESOURCE_MEMSERVER, "web@healthy/0", &err), 0);
	json_put_p(&back);
	cr_expect_eq(record_load(dir, RESOURCE_MEMSERVER, "web@healthy/0", &back, &err), -ENOENT);
}

struct hostile {
	const char *text, *msg;
};

static const struct hostile hostiles[] = {
	{"[]", "a record is a JSON object"},
	{"{\"v\":2,\"kind\":\"clone\",\"name\":\"a\"}",
	 "record version 2, this fcvm knows version 1"},
	{"{\"v\":1,\"kind\":\"yacht\",\"name\":\"a\"}", "unknown record kind 'yacht'"},
	{"{\"v\":1,\"kind\":\"clone\",\"name\":\"\"}", "record has no usable name"},
};

Test(record, hostile_text_is_refused_with_a_sentence)
{
	static const char *const broken[] = {"",
					     "{",
					     "null",
					     "\xff",
					     "{\"v\":1}",
					     "{\"v\":\"1\",\"kind\":\"clone\"}",
					     "{\"v\":1,\"kind\":7,\"name\":\"a\"}"};

	for (size_t i = 0; i < ARRAY_SIZE(hostiles); i++) {
		auto_json struct json_object *o = NULL;
		enum resource_kind kind;
		const char *name;
		struct err err = {0};

		cr_expect_lt(record_parse(hostiles[i].text, strlen(hostiles[i].text), &o, &kind,
					  &name, &err),
			     0);
		cr_expect_str_eq(err.msg, hostiles[i].msg);
	}
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		auto_json struct json_object *o = NULL;
		enum resource_kind kind;
		const char *name;
		struct err err = {0};

		cr_expect_lt(record_parse(broken[i], strlen(broken[i]), &o, &kind, &name, &err), 0);
		cr_expect_gt(strlen(err.msg), 0, "%zu", i);
	}
}

Test(record, one_that_lies_about_its_name_or_kind_is_refused)
{
	auto_tmpdir char *dir = tmpdir_new("record");
	auto_json struct json_object *o = record_of("clone", "web-1");
	struct err err = {0};
	size_t n = 0;

	cr_assert_eq(record_save(dir, o, &err), 0);
	auto_free char *from = xasprintf("%s/records/clone/web-1.json", dir);
	auto_free char *to = xasprintf("%s/records/clone/web-2.json", dir);
	cr_assert_eq(rename(from, to), 0);
	cr_expect_lt(record_each(dir, RESOURCE_CLONE, count_record, &n, NULL, &err), 0);
	auto_free char *want = xasprintf("record '%s' says it is clone/web-1", to);
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(n, 0);
}

Test(record, a_path_counts_only_below_its_set)
{
	static const struct {
		const char *path;
		bool good;
	} cases[] = {
		{"/d/sets/a/vms/x", true},
		{"/d/sets/a", false},
		{"/d/sets/a/", false},
		{"/d/sets/ab/vms/x", false},
		{"/etc", false},
		{"vms/x", false},
		{"/d/sets/a/../b/x", false},
		{"/d/sets/a/vms/..", false},
		{"/d/sets/a/vms/x/", false},
		{"/d/sets/a/vms/..x", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json struct json_object *o = json_object_new_object();

		json_add_str(o, "dir", cases[i].path);
		cr_expect_eq(record_path(o, "dir", "/d/sets/a") != NULL, cases[i].good, "%s",
			     cases[i].path);
	}
	cr_expect_null(record_path(NULL, "dir", "/d/sets/a"));
}

Test(record, processes_round_trip_and_hostile_ones_are_none)
{
	static const char *const bad[] = {"{}",
					  "{\"p\":7}",
					  "{\"p\":{\"pid\":0}}",
					  "{\"p\":{\"pid\":99999999999}}",
					  "{\"p\":{\"pid\":-5}}",
					  "{\"p\":{\"pid\":\"1\"}}"};
	const struct proc_id id = {.pid = 42, .start_time = 7, .boot_id = "boot"};
	auto_json struct json_object *o = json_object_new_object();
	struct proc_id back;

	json_add(o, "p", record_proc(&id));
	cr_assert(record_get_proc(o, "p", &back));
	cr_expect_eq(back.pid, 42);
	cr_expect_eq(back.start_time, 7);
	cr_expect_str_eq(back.boot_id, "boot");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_json struct json_object *b = NULL;

		cr_assert_eq(json_parse(bad[i], strlen(bad[i]), &b, NULL), 0);
		cr_expect_not(record_get_proc(b, "p", &back), "%s", bad[i]);
	}
}

Test(record, leftovers_of_two_replaces_in_a_row_are_both_kept)
{
	static const char *const keys[] = {"dir"};
	auto_json struct json_object *a = json_object_new_object(), *b = json_object_new_object(),
				     *c = json_object_new_object();

	json_add_str(a, "dir", "/a");
	json_add_str(b, "dir", "/b");
	record_keep_old(b, a, keys, 1);
	record_keep_old(c, b, keys, 1);
	cr_assert_eq(record_old_count(c), 2);
	cr_expect_str_eq(json_opt_str(record_old_at(c, 0), "dir", ""), "/a");
	cr_expect_str_eq(json_opt_str(record_old_at(c, 1), "dir", ""), "/b");
	record_keep_old(a, NULL, keys, 1);
	cr_expect_eq(record_old_count(a), 0);
	cr_expect_eq(record_old_count(NULL), 0);
}
