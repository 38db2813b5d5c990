#include <criterion/criterion.h>
#include <unistd.h>

#include "memserver.h"
#include "rig.h"

Test(permitted, for_root_it_is_and_without_any_right_the_reason_is_given)
{
	char why[128] = "x";

	cr_expect(memserver_uffd_permitted(why, sizeof(why)), "%s", why);
	cr_expect_str_eq(why, "");
	cr_assert_eq(setresuid(RIG_UID, RIG_UID, RIG_UID), 0);
	if (access("/dev/userfaultfd", W_OK) == 0)
		cr_skip_test("/dev/userfaultfd is open to everybody here");
	cr_expect_not(memserver_uffd_permitted(why, sizeof(why)));
	cr_expect_str_eq(why, "/dev/userfaultfd: Permission denied");
	cr_expect_not(memserver_uffd_permitted(NULL, 0));
}
