#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"

Test(io_owned, only_a_socket_of_that_user_is_connected_to)
{
	auto_tmpdir char *tmp = tmpdir_new("owned");
	auto_free char *sock = path_join(tmp, "sock"), *link = path_join(tmp, "link"),
		       *file = path_join(tmp, "file");
	auto_close int listener = -1, fd = -1;
	struct err err;

	cr_assert_eq(io_unix_listen(sock, 4, &listener, &err), 0);
	cr_assert_eq(symlink("sock", link), 0);
	cr_assert_eq(file_replace(file, "x", 1, 0600, NULL), 0);
	cr_expect_eq(io_unix_connect_owned(tmp, "sock", geteuid(), deadline_in(1000), &fd, &err), 0,
		     "%s", err.msg);
	cr_expect_geq(fd, 0);
	cr_expect_eq(
		io_unix_connect_owned(tmp, "sock", geteuid() + 1, deadline_in(1000), &fd, &err),
		-EPERM);
	cr_expect(strstr(err.msg, "is not a socket of uid"), "%s", err.msg);
	cr_expect_eq(io_unix_connect_owned(tmp, "link", geteuid(), deadline_in(1000), &fd, &err),
		     -EPERM);
	cr_expect_eq(io_unix_connect_owned(tmp, "file", geteuid(), deadline_in(1000), &fd, &err),
		     -EPERM);
	cr_expect_eq(io_unix_connect_owned(tmp, "none", geteuid(), deadline_in(1000), &fd, &err),
		     -ENOENT);
	cleanup_close_p(&listener);
	cr_expect_eq(io_unix_connect_owned(tmp, "sock", geteuid(), deadline_in(1000), &fd, &err),
		     -ECONNREFUSED);
}
