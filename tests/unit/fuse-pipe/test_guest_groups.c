#include <criterion/criterion.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "guest_queue.h"

static struct fp_item only_item(const struct buf *out)
{
	struct fp_frame f = {.trailer = (const uint8_t *)out->data,
			     .trailer_len = (uint32_t)out->len};
	struct fp_item item = {0};
	size_t pos = 0;

	cr_assert(fp_item_next(&f, &pos, &item));
	cr_assert_eq(pos, out->len);
	cr_assert_eq(item.type, FP_T_GROUPS);
	return item;
}

Test(guest_groups, of_this_process_are_what_the_kernel_says)
{
	auto_buf struct buf out = BUF_INIT(FP_TRAILER_MAX);
	gid_t groups[1024];
	int n = getgroups((int)ARRAY_SIZE(groups), groups);

	cr_assert_geq(n, 0);
	cr_expect_eq(guest_groups_item((uint32_t)getpid(), &out), 1);
	struct fp_item item = only_item(&out);
	cr_assert_eq(item.len, (uint32_t)n * 4);
	for (int i = 0; i < n; i++)
		cr_expect_eq(load_le32(item.data + 4 * i), groups[i]);
}

Test(guest_groups, beyond_the_limit_are_left_out)
{
	static gid_t groups[FP_GROUPS_MAX + 100];
	auto_buf struct buf out = BUF_INIT(FP_TRAILER_MAX);

	if (geteuid() != 0)
		cr_skip_test("needs root");
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		groups[i] = (gid_t)(4000000000u + i);
	cr_assert_eq(setgroups(ARRAY_SIZE(groups), groups), 0);
	cr_expect_eq(guest_groups_item((uint32_t)getpid(), &out), 1);
	struct fp_item item = only_item(&out);
	cr_assert_eq(item.len, 4 * FP_GROUPS_MAX);
	for (size_t i = 0; i < FP_GROUPS_MAX; i++)
		cr_assert_eq(load_le32(item.data + 4 * i), groups[i]);
}

Test(guest_groups, of_nobody_are_no_item)
{
	auto_buf struct buf out = BUF_INIT(FP_TRAILER_MAX);
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_expect_eq(guest_groups_item((uint32_t)pid, &out), 0);
	cr_expect_eq(guest_groups_item(0, &out), 0);
	cr_expect_eq(out.len, 0);
}
