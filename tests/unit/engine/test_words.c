#include "words.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

static size_t skip_two(const char *line, size_t len)
{
	return len >= 2 && line[0] == '>' ? 2 : 0;
}

Test(words, the_last_lines_become_one_without_their_prefixes)
{
	struct words w = {.fd = -1, .prefix = skip_two};
	auto_close int theirs = -1;
	char text[64];
	struct err err;

	cr_assert_eq(words_open(&w, NULL, &theirs, &err), 0);
	cr_assert_eq(io_write_full(theirs, "> one\n\ntwo\n", 11, 0, &err), 0);
	words_last(&w, text, sizeof(text));
	cr_expect_str_eq(text, "one; two");
	words_last(&w, text, 5);
	cr_expect_str_eq(text, " two");
	words_close(&w);
}

Test(words, one_that_never_stops_is_cut_to_its_end)
{
	struct words w = {.fd = -1};
	auto_loop struct loop *loop = NULL;
	auto_close int theirs = -1;
	char line[1024], text[64];
	struct err err;

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	cr_assert_eq(loop_new(&loop, &err), 0);
	cr_assert_eq(words_open(&w, NULL, &theirs, &err), 0);
	cr_assert_eq(words_watch(&w, loop, &err), 0);
	for (int i = 0; i < 256; i++) {
		cr_assert_eq(io_write_full(theirs, line, sizeof(line), 0, &err), 0);
		cr_assert_geq(loop_once(loop, 0, &err), 0);
	}
	cr_assert_eq(io_write_full(theirs, "the end\n", 8, 0, &err), 0);
	words_last(&w, text, sizeof(text));
	cr_expect_str_eq(text + strlen(text) - 9, "; the end");
	cr_expect_lt(w.text.len, 8193);
	words_close(&w);
}
