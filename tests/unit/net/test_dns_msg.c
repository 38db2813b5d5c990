#include "dns_msg.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"

/* id 0x1234, recursion wanted, one question: Api.test A IN */
static const uint8_t query[] = {0x12, 0x34, 1,   0, 0,   1,   0,   0,   0, 0, 0, 0, 3,
				'A',  'p',  'i', 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1};
/* The same as an answer: a CNAME (2 bytes of data), two A records, one of another class. */
static const uint8_t answer[] = {
	0x12, 0x34, 0x81, 0x80, 0,    1,  0, 4, 0,    0,  0, 0, 3, 'a', 'p', 'i', 4,   't',
	'e',  's',  't',  0,    0,    1,  0, 1, 0xc0, 12, 0, 5, 0, 1,   0,   0,   0,   9,
	0,    2,    0xc0, 12,   0xc0, 12, 0, 1, 0,    1,  0, 0, 0, 60,  0,   4,   203, 0,
	113,  1,    1,    'b',  0xc0, 16, 0, 1, 0,    1,  0, 0, 1, 0,   0,   4,   198, 51,
	100,  7,    0xc0, 12,   0,    1,  0, 3, 0x7f, 0,  0, 0, 0, 4,   9,   9,   9,   9};

Test(dns_msg, a_question_is_read_in_lower_case)
{
	struct dns_question q = {0};

	cr_assert(dns_read_query(query, sizeof(query), &q));
	cr_expect_eq(q.id, 0x1234);
	cr_expect_eq(q.type, DNS_TYPE_A);
	cr_expect_str_eq(q.name, "api.test");
	cr_expect_eq(q.end, sizeof(query));
}

Test(dns_msg, what_nobody_should_answer_is_no_query)
{
	static const struct {
		size_t at;
		uint8_t byte;
		const char *why;
	} cases[] = {
		{2, 0x81, "an answer"},        {2, 0x29, "another operation"},
		{5, 0, "no question"},         {5, 2, "two questions"},
		{4, 1, "257 questions"},       {12, 0xc0, "a pointer"},
		{12, 0x43, "a long label"},    {16, 40, "a label beyond the end"},
		{14, '.', "a dot in a label"}, {14, 0, "a zero in a label"},
		{14, ' ', "a blank"},          {14, 0xe9, "a byte that is no text"},
		{25, 3, "another class"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t msg[sizeof(query)];
		struct dns_question q = {0};

		memcpy(msg, query, sizeof(msg));
		msg[cases[i].at] = cases[i].byte;
		cr_expect_not(dns_read_query(msg, sizeof(msg), &q), "%s", cases[i].why);
	}
	for (size_t len = 0; len < sizeof(query); len++) {
		struct dns_question q = {0};

		cr_expect_not(dns_read_query(query, len, &q), "%zu bytes", len);
	}
}

Test(dns_msg, a_name_of_more_than_253_bytes_is_none)
{
	uint8_t msg[512] = {0, 0, 0, 0, 0, 1};
	struct dns_question q = {0};
	size_t at = DNS_HEAD_SIZE;

	for (int i = 0; i < 5; i++) {
		msg[at] = 63;
		memset(msg + at + 1, 'x', 63);
		at += 64;
	}
	msg[at + 2] = 1;
	msg[at + 4] = 1;
	cr_expect_not(dns_read_query(msg, at + 5, &q));
}

Test(dns_msg, a_reply_has_the_question_and_nothing_else)
{
	struct dns_question q = {0};
	uint8_t reply[DNS_QUERY_MAX], with_more[sizeof(query) + 11];

	/* What follows the question (EDNS) is not repeated, nor counted. */
	memcpy(with_more, query, sizeof(query));
	memset(with_more + sizeof(query), 0, 11);
	with_more[11] = 1;
	cr_assert(dns_read_query(with_more, sizeof(with_more), &q));
	cr_assert_eq(dns_make_reply(with_more, &q, DNS_REFUSED, reply), sizeof(query));
	cr_expect_eq(reply[2], 0x81);
	cr_expect_eq(reply[3], 0x85);
	cr_expect_eq(memcmp(reply + 4, "\0\1\0\0\0\0\0\0", 8), 0);
	cr_expect_eq(memcmp(reply + 12, query + 12, sizeof(query) - 12), 0);
	cr_expect(dns_is_answer(reply, sizeof(query), &q, 0x1234));
}

Test(dns_msg, an_answer_is_one_to_this_question_with_this_id)
{
	struct dns_question q = {0}, other = {0};
	uint8_t msg[sizeof(answer)];

	cr_assert(dns_read_query(query, sizeof(query), &q));
	cr_expect(dns_is_answer(answer, sizeof(answer), &q, 0x1234), "in any case of letters");
	cr_expect_not(dns_is_answer(answer, sizeof(answer), &q, 0x1235));
	cr_expect_not(dns_is_answer(query, sizeof(query), &q, 0x1234), "a question");
	other = q;
	other.type = DNS_TYPE_AAAA;
	cr_expect_not(dns_is_answer(answer, sizeof(answer), &other, 0x1234));
	memcpy(msg, answer, sizeof(msg));
	msg[13] = 'b';
	cr_expect_not(dns_is_answer(msg, sizeof(msg), &q, 0x1234), "another name");
	for (size_t len = 0; len < sizeof(query); len++)
		cr_expect_not(dns_is_answer(answer, len, &q, 0x1234));
}

Test(dns_msg, the_addresses_of_an_answer_and_how_long_they_hold)
{
	struct dns_addresses a = {.n = 0};

	cr_assert(dns_read_addresses(answer, sizeof(answer), &a));
	cr_assert_eq(a.n, 2u);
	cr_expect_eq(a.v[0], 0xcb007101u);
	cr_expect_eq(a.v[1], 0xc6336407u);
	cr_expect_eq(a.ttl_s, 256u);
}

Test(dns_msg, a_cut_answer_has_no_addresses)
{
	for (size_t len = 0; len < sizeof(answer); len++) {
		struct dns_addresses a = {.n = 99};

		cr_expect_not(dns_read_addresses(answer, len, &a), "%zu bytes", len);
		cr_expect_eq(a.n, 99u);
	}
}

Test(dns_msg, a_negative_time_to_live_is_none)
{
	uint8_t msg[sizeof(answer)];
	struct dns_addresses a = {.n = 0};

	memcpy(msg, answer, sizeof(msg));
	msg[46] = 0xff;
	cr_assert(dns_read_addresses(msg, sizeof(msg), &a));
	cr_expect_eq(a.ttl_s, 256u, "%u", a.ttl_s);
}
