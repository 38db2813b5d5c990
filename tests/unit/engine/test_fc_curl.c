#include "fc_curl.h"

#include <criterion/criterion.h>

#include "cleanup.h"
#include "file.h"

static bool is_mapped(const char *what)
{
	auto_fclose FILE *f = fopen("/proc/self/maps", "re");
	char line[4096];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, what) != NULL;
	return found;
}

Test(fc_curl, it_is_loaded_when_it_is_asked_for_and_not_before)
{
	const struct fc_curl *a = NULL, *b = NULL;
	struct err err;

	cr_expect_not(is_mapped("/libcurl.so"));
	cr_assert_eq(fc_curl_load(&a, &err), 0, "%s", err.msg);
	cr_expect(is_mapped("/libcurl.so"));
	cr_expect_eq(fc_curl_load(&b, &err), 0);
	cr_expect_eq(a, b);
	cr_expect_str_eq(a->easy_strerror(CURLE_OK), "No error");
}
