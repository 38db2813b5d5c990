#include "shared.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "pins.h"
#include "user.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	(void)err;
	put_text(dir, "value", data);
	json_add_str(made_of, "value", data);
	return 0;
}

static int build(const struct host *host, const char *value, struct cache_entry *ret)
{
	char text[32];
	const struct cache_build how = {.make = make, .data = text, .what = "the thing"};
	struct err err = {0};

	(void)snprintf(text, sizeof(text), "%s", value);
	return cache_ensure(host, "kind", KEY, &how, ret, &err);
}

/* A system's cache with one entry and one pin, and a user without anything. */
struct world {
	struct fixture machine, user;
	char *cache;
};

static void world_free(struct world *w)
{
	w->user.host.shared_cache = NULL; /* ours */
	free(w->cache);
	fixture_free(&w->user);
	fixture_free(&w->machine);
}
#define auto_world __attribute__((cleanup(world_free)))

static struct world world_new(void)
{
	auto_cache_entry struct cache_entry e = {0};
	struct json_object *pin = NULL;
	struct world w = {0};
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("only root's entries count, and only root can make them");
	w.machine = fixture_new();
	w.user = fixture_new();
	pin = json_object_new_object();
	json_add_str(pin, "key", "the system's");
	cr_assert_eq(build(&w.machine.host, "root's", &e), 0);
	cr_assert_eq(pins_set(&w.machine.host, "kind", "name", pin, &err), 0, "%s", err.msg);
	w.cache = host_path(&w.machine.host, "cache");
	w.user.host.shared_cache = w.cache;
	return w;
}

static bool found(const struct world *w)
{
	auto_cache_entry struct cache_entry e = {0};
	struct err err = {0};
	int r = cache_lookup(&w->user.host, "kind", KEY, &e, &err);

	cr_assert_geq(r, 0, "%s", err.msg);
	cr_expect(r == 0 || strcmp(cache_entry_made_of(&e, "value"), "root's") == 0);
	return r == 1;
}

static bool pinned(const struct world *w)
{
	auto_json struct json_object *pin = NULL;
	struct err err = {0};

	return pins_get(&w->user.host, "kind", "name", &pin, &err) == 1;
}

Test(shared, what_root_built_is_found_and_nothing_is_built_again)
{
	auto_world struct world w = world_new();
	auto_cache_entry struct cache_entry e = {0};

	cr_expect(found(&w));
	cr_expect(pinned(&w));
	cr_assert_eq(build(&w.user.host, "the user's", &e), 0);
	cr_expect_str_eq(cache_entry_made_of(&e, "value"), "root's");
	cr_expect_eq(strncmp(e.dir, w.cache, strlen(w.cache)), 0);
}

Test(shared, a_users_own_entry_and_pin_come_first)
{
	auto_world struct world w = world_new();
	auto_cache_entry struct cache_entry e = {0};
	auto_json struct json_object *pin = NULL;
	struct json_object *own = json_object_new_object();
	struct err err = {0};

	w.user.host.shared_cache = NULL;
	cr_assert_eq(build(&w.user.host, "the user's", &e), 0);
	json_add_str(own, "key", "the user's");
	cr_assert_eq(pins_set(&w.user.host, "kind", "name", own, &err), 0);
	w.user.host.shared_cache = w.cache;
	cache_entry_free(&e);
	cr_assert_eq(cache_lookup(&w.user.host, "kind", KEY, &e, &err), 1);
	cr_expect_str_eq(cache_entry_made_of(&e, "value"), "the user's");
	cr_assert_eq(pins_get(&w.user.host, "kind", "name", &pin, &err), 1);
	cr_expect_str_eq(json_opt_str(pin, "key", ""), "the user's");
}

/* The way to an entry, from the cache down, and the entry's own files. */
static const char *const parts[] = {"", "kind", "kind/" KEY, "kind/" KEY "/meta.json",
				    "kind/" KEY "/value"};

Test(shared, what_another_user_could_have_written_counts_as_absent)
{
	auto_world struct world w = world_new();

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		auto_free char *path = path_join(w.cache, parts[i]);
		struct stat st;

		cr_assert_eq(stat(path, &st), 0, "%s", path);
		cr_assert_eq(chown(path, 1881000000, 0), 0);
		cr_expect_not(found(&w), "'%s' is another user's", parts[i]);
		cr_assert_eq(chown(path, 0, 0), 0);
		cr_assert_eq(chmod(path, (st.st_mode & 07777) | S_IWGRP), 0);
		cr_expect_not(found(&w), "'%s' is the group's to write", parts[i]);
		cr_assert_eq(chmod(path, (st.st_mode & 07777) | S_IWOTH), 0);
		cr_expect_not(found(&w), "'%s' is everybody's to write", parts[i]);
		cr_assert_eq(chmod(path, st.st_mode & 07777), 0);
		cr_expect(found(&w));
	}
}

Test(shared, a_link_is_not_followed_and_a_damaged_entry_is_absent)
{
	auto_world struct world w = world_new();
	auto_free char *kind = path_join(w.cache, "kind");
	auto_free char *moved = path_join(w.cache, "moved");
	auto_free char *value = path_join(w.cache, "kind/" KEY "/value");

	cr_assert_eq(rename(kind, moved), 0);
	cr_assert_eq(symlink("moved", kind), 0);
	cr_expect_not(found(&w));
	cr_assert_eq(unlink(kind), 0);
	cr_assert_eq(rename(moved, kind), 0);
	cr_expect(found(&w));
	cr_assert_eq(truncate(value, 1), 0);
	cr_expect_not(found(&w));
}

Test(shared, pins_another_user_could_have_written_pin_nothing)
{
	auto_world struct world w = world_new();
	auto_free char *pins = path_join(w.cache, "kind/pins.json");

	cr_assert_eq(chmod(pins, 0666), 0);
	cr_expect_not(pinned(&w));
	cr_assert_eq(chmod(pins, 0644), 0);
	cr_expect(pinned(&w));
}

Test(shared, root_has_no_cache_beside_their_own)
{
	struct host host = {.data_dir = (char[]){"/d"}};

	cr_expect_null(shared_path(&host, "kind", KEY));
}
