#include "vmrules.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "buf.h"
#include "net_rig.h"
#include "run.h"

Test(vmrules, as_text_they_are_what_a_reader_expects)
{
	static const char *const list[] = {"nft", "list", "ruleset", NULL};
	auto_buf struct buf text = BUF_INIT(65536);
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(vmrules_load(&err), 0, "%s", err.msg);
	cr_assert_eq(net_run_at(0, &text, list), 0);
	golden_check("vm-rules.nft", buf_str(&text));
}
