#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(cleanup, a_descriptor_is_closed_at_the_end_of_its_scope_and_errno_survives)
{
	int seen;

	errno = EXDEV;
	{
		auto_close int fd = dup(0);
		seen = fd;
		cr_assert(is_open(seen));
		errno = EXDEV;
	}
	cr_expect_eq(errno, EXDEV);
	cr_expect_not(is_open(seen));
}

Test(cleanup, a_taken_descriptor_stays_open)
{
	int kept = -1;

	{
		auto_close int fd = dup(0);
		kept = TAKE_FD(fd);
		cr_expect_eq(fd, -1);
	}
	cr_expect(is_open(kept));
	close(kept);
}

Test(cleanup, a_taken_pointer_is_not_freed)
{
	char *kept = NULL;

	{
		auto_free char *p = malloc(4);
		kept = TAKE_PTR(p);
		cr_expect_null(p);
	}
	kept[0] = 'x'; /* ASan would object */
	free(kept);
}

Test(cleanup, values_that_hold_nothing_are_fine)
{
	auto_close int fd = -1;
	auto_free char *p = NULL;
	auto_fclose FILE *f = NULL;
	auto_closedir DIR *d = NULL;

	cr_expect(fd == -1 && !p && !f && !d);
}

Test(cleanup, streams_and_directories_are_closed_and_forgotten)
{
	FILE *f = fopen("/dev/null", "re");
	DIR *d = opendir("/");
	int fd = fileno(f), dir_fd = dirfd(d);

	errno = EXDEV;
	cleanup_fclose_p(&f);
	cleanup_closedir_p(&d);
	cr_expect_eq(errno, EXDEV);
	cr_expect(!f && !d);
	cr_expect_not(is_open(fd));
	cr_expect_not(is_open(dir_fd));
}

Test(cleanup, free_forgets_the_pointer)
{
	int *p = malloc(sizeof(*p));

	cleanup_free_p(&p);
	cr_expect_null(p);
}
