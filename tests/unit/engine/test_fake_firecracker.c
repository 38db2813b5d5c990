/* The fake against what a real Firecracker answered. */
#include <criterion/criterion.h>

#include "fc_calls.h"
#include "run.h"

Test(fake_firecracker, it_answers_every_request_as_the_real_one_did)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);

	fc_calls_run(TEST_BUILD_DIR "/tests/fake_firecracker", &out);
	golden_check("fc-answers.txt", buf_str(&out));
}
