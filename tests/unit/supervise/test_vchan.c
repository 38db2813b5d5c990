#include "vchan.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"

Test(vchan, the_connect_line_is_bounded_and_exact)
{
	static const struct {
		const char *text;
		int result;
		uint32_t port;
		size_t used;
	} cases[] = {
		{"CONNECT 4998\n", 1, 4998, 13},
		{"CONNECT 4998\nrest", 1, 4998, 13},
		{"CONNECT 4294967295\n", 1, 4294967295u, 19},
		{"", 0, 0, 0},
		{"C", 0, 0, 0},
		{"CONNECT ", 0, 0, 0},
		{"CONNECT 49", 0, 0, 0},
		{"CONNECT \n", -EINVAL, 0, 0},
		{"CONNECT 0\n", -EINVAL, 0, 0},
		{"CONNECT 4294967296\n", -EINVAL, 0, 0},
		{"CONNECT -1\n", -EINVAL, 0, 0},
		{"CONNECT 4998 \n", -EINVAL, 0, 0},
		{"CONNECT  4998\n", -EINVAL, 0, 0},
		{"connect 4998\n", -EINVAL, 0, 0},
		{"CONNECT 4998\r\n", -EINVAL, 0, 0},
		{"GET / HTTP/1.1\n", -EINVAL, 0, 0},
		{"CONNECT 00000000000000000000000000000000001\n", -EINVAL, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t port = 0;
		size_t used = 0;

		cr_expect_eq(
			vchan_parse_connect(cases[i].text, strlen(cases[i].text), &port, &used),
			cases[i].result, "'%s'", cases[i].text);
		cr_expect_eq(port, cases[i].port, "'%s'", cases[i].text);
		cr_expect_eq(used, cases[i].used, "'%s'", cases[i].text);
	}
	uint32_t port = 0;
	size_t used = 0;

	cr_expect_eq(vchan_parse_connect("CONNECT 1\0002\n", 12, &port, &used), -EINVAL);
}
