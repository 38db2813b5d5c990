#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "host.h"
#include "io.h"
#include "run.h"
#include "set.h"
#include "xalloc.h"

#define ROUNDS 1000

struct home {
	char *dir;
	struct host host;
};

static void place_make(struct home *p)
{
	struct err err = {0};

	p->dir = tmpdir_new("set");
	cr_assert_geq(host_init(&p->host, p->dir, &err), 0, "%s", err.msg);
}

static void place_free(struct home *p)
{
	host_free(&p->host);
	tmpdir_remove(&p->dir);
}
#define auto_place __attribute__((cleanup(place_free)))

static int open_as(struct home *p, const char *spec, bool take_over, struct set *ret,
		   struct err *err)
{
	const struct set_open how = {
		.name = "shop", .spec_path = spec, .create = true, .take_over = take_over};

	return set_open(&p->host, &how, ret, err);
}

Test(set, it_belongs_to_the_spec_that_made_it)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1}, b = {.lock_fd = -1};
	struct err err = {0};

	place_make(&p);
	cr_assert_eq(open_as(&p, "/one/fleet.yaml", false, &a, &err), 0, "%s", err.msg);
	char uuid[37];
	snprintf(uuid, sizeof(uuid), "%s", a.uuid);
	set_close(&a);
	cr_expect_eq(open_as(&p, "/two/fleet.yaml", false, &b, &err), -EEXIST);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_str_eq(err.msg, "set 'shop' belongs to /one/fleet.yaml, not to /two/fleet.yaml");
	cr_expect_lt(set_check_owner(&p.host, "shop", "/two/fleet.yaml", &err), 0);
	cr_expect_eq(set_check_owner(&p.host, "shop", "/one/fleet.yaml", &err), 0);
	cr_assert_eq(open_as(&p, "/two/fleet.yaml", true, &b, &err), 0);
	cr_expect_str_eq(b.uuid, uuid, "it is the same set");
	set_close(&b);
	cr_expect_eq(set_check_owner(&p.host, "shop", "/two/fleet.yaml", &err), 0);
}

Test(set, a_held_lock_is_exit_7_and_names_its_holder)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1}, b = {.lock_fd = -1};
	auto_free char *pid = xasprintf("%d ", (int)getpid());
	struct err err = {0};

	place_make(&p);
	cr_assert_eq(open_as(&p, "/one", false, &a, &err), 0);
	cr_expect_lt(open_as(&p, "/one", false, &b, &err), 0);
	cr_expect_eq(err.class, ERR_BUSY);
	cr_expect_eq(err_exit_status(&err), 7);
	cr_expect(strstr(err.msg, "set 'shop' is locked by "), "%s", err.msg);
	cr_expect(strstr(err.msg, pid), "%s", err.msg);
}

static void count_says(void *data, const char *text)
{
	(void)text;
	++*(int *)data;
}

Test(set, waiting_says_so_once_and_ends_at_the_deadline)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1}, b = {.lock_fd = -1};
	struct err err = {0};
	int said = 0;

	place_make(&p);
	cr_assert_eq(open_as(&p, "/one", false, &a, &err), 0);
	const struct set_open how = {.name = "shop",
				     .spec_path = "/one",
				     .create = true,
				     .wait = true,
				     .deadline_ms = deadline_in(50),
				     .say = count_says,
				     .data = &said};
	cr_expect_lt(set_open(&p.host, &how, &b, &err), 0);
	cr_expect_eq(said, 1);
}

Test(set, a_waiter_gets_a_new_set_when_the_old_one_was_removed_under_it)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1}, b = {.lock_fd = -1};
	struct err err = {0};
	int ready[2];
	char c;

	place_make(&p);
	cr_assert_eq(open_as(&p, "/one", false, &a, &err), 0);
	cr_assert_eq(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct set_open how = {
			.name = "shop", .spec_path = "/two", .create = true, .wait = true};

		(void)!write(ready[1], "x", 1);
		set_close(&a); /* a fork's copy of the lock is the lock */
		_exit(set_open(&p.host, &how, &b, &err) == 0 && file_exists(b.dir) ? 0 : 1);
	}
	cr_assert_eq(read(ready[0], &c, 1), 1);
	cr_assert_eq(set_remove(&a, &err), 0, "%s", err.msg);
	int status = -1;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0);
}

static int open_and_remove(const struct host *host, struct err *err)
{
	static const struct set_open how = {
		.name = "shop", .spec_path = "/one", .create = true, .wait = true};
	auto_set struct set s = {.lock_fd = -1};
	int r = set_open(host, &how, &s, err);

	return r < 0 ? r : set_remove(&s, err);
}

Test(set, those_who_make_and_remove_it_at_once_never_fail)
{
	auto_place struct home p;
	pid_t pids[4];

	place_make(&p);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		struct err err = {0};
		int r = 0;

		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] != 0)
			continue;
		for (int k = 0; k < ROUNDS && r == 0; k++)
			r = open_and_remove(&p.host, &err);
		if (r < 0)
			(void)fprintf(stderr, "%s\n", err.msg);
		_exit(r < 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status = -1;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_expect_eq(status, 0);
	}
}

Test(set, without_create_a_missing_one_is_told)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1};
	const struct set_open how = {.name = "nothing"};
	struct err err = {0};

	place_make(&p);
	cr_expect_eq(set_open(&p.host, &how, &a, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "there is no set 'nothing'");
	auto_free char *sets = path_join(p.dir, "sets");
	cr_expect_not(file_exists(sets), "looking makes nothing");
}

Test(set, names_that_are_none_and_the_hand_made_set_are_refused)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1};
	static const struct {
		const char *name, *msg;
	} cases[] = {
		{"../x", "'../x' is no set name"},
		{"", "'' is no set name"},
		{"default", "set 'default' is for VMs made by hand; give the spec another name"},
	};

	place_make(&p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct set_open how = {
			.name = cases[i].name, .spec_path = "/one", .create = true};
		struct err err = {0};

		cr_expect_lt(set_open(&p.host, &how, &a, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].msg);
	}
}

Test(set, a_hostile_owner_file_is_an_error_and_not_an_owner)
{
	auto_place struct home p;
	auto_set struct set a = {.lock_fd = -1};
	static const char *const texts[] = {
		"", "[]", "{}", "{\"uuid\":7}", "{\"uuid\":\"short\"}", "\xff\xfe"};

	place_make(&p);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_free char *dir = host_set_dir(&p.host, "shop");
		auto_free char *path = path_join(dir, "set.json");
		struct err err = {0};

		cr_assert_eq(file_mkdir_p(dir, 0711, &err), 0);
		cr_assert_eq(file_replace(path, texts[i], strlen(texts[i]), 0600, &err), 0);
		cr_expect_lt(open_as(&p, "/one", false, &a, &err), 0, "'%s'", texts[i]);
	}
}
