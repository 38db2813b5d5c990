#include "host.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "user.h"

Test(host, a_data_dir_given_by_name_is_made_absolute)
{
	struct host host;
	struct err err;
	auto_free char *cwd = getcwd(NULL, 0);
	auto_free char *want = path_join(cwd, "some/where");

	cr_assert_eq(host_init(&host, "some/where", &err), 0);
	cr_expect_str_eq(host.data_dir, want);
	host_free(&host);
	cr_assert_eq(host_init(&host, "/abs", &err), 0);
	cr_expect_str_eq(host.data_dir, "/abs");
	host_free(&host);
}

Test(host, the_environment_names_the_data_dir_before_the_default)
{
	struct host host;
	struct err err;

	setenv("FCVM_DATA_DIR", "/from/env", 1);
	cr_assert_eq(host_init(&host, NULL, &err), 0);
	cr_expect_str_eq(host.data_dir, "/from/env");
	host_free(&host);
	unsetenv("FCVM_DATA_DIR");
	setenv("XDG_DATA_HOME", "/xdg", 1);
	cr_assert_eq(host_init(&host, NULL, &err), 0);
	cr_expect_str_eq(host.data_dir, geteuid() == 0 ? "/var/lib/fcvm" : "/xdg/fcvm");
	host_free(&host);
}

Test(host, it_knows_itself_and_this_boot)
{
	struct host host;
	struct err err;

	cr_assert_eq(host_init(&host, "/d", &err), 0);
	cr_expect_eq(host.exe[0], '/');
	cr_expect_eq(strlen(host.boot_id), 36);
	cr_expect_eq(host.is_root, geteuid() == 0);
	cr_expect_eq(host.gid, getegid());
	cr_expect_gt(host.unix_ms(), 1600000000000);
	host_free(&host);
}

Test(host, directories_get_their_modes_whatever_the_umask)
{
	static const struct {
		const char *rel;
		mode_t mode;
	} dirs[] = {{"", 0711}, {"sets", 0711}, {"cache", 0755}, {"ledger", 0700}};
	auto_tmpdir char *tmp = tmpdir_new("host");
	auto_free char *data = path_join(tmp, "deep/er/data");
	struct host host;
	struct err err;

	umask(0077);
	cr_assert_eq(host_init(&host, data, &err), 0);
	cr_assert_eq(host_make_dirs(&host, &err), 0, "%s", err.msg);
	cr_assert_eq(host_make_dirs(&host, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		auto_free char *path = host_path(&host, dirs[i].rel);
		struct stat st;

		cr_assert_eq(stat(path, &st), 0, "%s", path);
		cr_expect_eq(st.st_mode & 07777, dirs[i].mode, "%s", path);
	}
	host_free(&host);
}

Test(host, a_file_in_the_way_of_the_data_dir_is_named)
{
	auto_tmpdir char *tmp = tmpdir_new("host");
	auto_free char *data = path_join(tmp, "file");
	struct host host;
	struct err err;
	char want[300];

	cr_assert_eq(file_replace(data, "", 0, 0600, &err), 0);
	cr_assert_eq(host_init(&host, data, &err), 0);
	cr_expect_eq(host_make_dirs(&host, &err), -ENOTDIR);
	(void)snprintf(want, sizeof(want), "'%s' is not a directory", data);
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(err.class, ERR_HOST);
	host_free(&host);
}

Test(host, paths_follow_the_layout)
{
	struct host host = {.data_dir = (char[]){"/d"}};
	auto_free char *set = host_set_dir(&host, "web");
	auto_free char *cache = host_cache_dir(&host, "kernel");

	cr_expect_str_eq(set, "/d/sets/web");
	cr_expect_str_eq(cache, "/d/cache/kernel");
}

Test(host, an_ordinary_user_shares_the_systems_cache_and_root_has_it)
{
	auto_user struct user u = {0};
	struct host host;
	struct err err;

	user_make(&u, "host");
	cr_assert_eq(host_init(&host, u.home, &err), 0);
	cr_expect_null(host.shared_cache);
	cr_expect_str_eq(host.ids_dir, "/var/lib/fcvm/ledger", "whatever the data directory");
	host_free(&host);
	user_become(&u);
	cr_assert_eq(host_init(&host, u.home, &err), 0);
	auto_free char *own = path_join(u.home, "ledger");
	cr_expect_str_eq(host.ids_dir, own);
	cr_expect_str_eq(host.shared_cache, "/var/lib/fcvm/cache");
	cr_expect_not(host.is_root);
	cr_expect_eq(host.uid, u.uid);
	cr_expect_eq(host.gid, u.uid);
	host_free(&host);
}
