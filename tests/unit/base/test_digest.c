#include "digest.h"

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Test(digest, is_sha256)
{
	char hex[DIGEST_HEX_SIZE];

	digest_of("abc", 3, hex);
	cr_expect_str_eq(hex, OF_ABC);
	digest_of("", 0, hex);
	cr_expect_str_eq(hex, OF_NOTHING);
}

Test(digest, pieces_give_the_same_and_finishing_resets)
{
	auto_digest struct digest *d = digest_new();
	char hex[DIGEST_HEX_SIZE];

	for (int i = 0; i < 2; i++) {
		digest_add(d, "a", 1);
		digest_add(d, "bc", 2);
		digest_hex(d, hex);
		cr_expect_str_eq(hex, OF_ABC);
	}
}

static void of_field(const char *key, const char *value, char hex[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	digest_add_field(d, key, value);
	digest_hex(d, hex);
}

Test(digest, fields_are_unambiguous)
{
	static const struct {
		const char *key, *value;
	} different[] = {{"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"abc", NULL}, {"", "abc"}};
	char hex[ARRAY_SIZE(different)][DIGEST_HEX_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(different); i++) {
		of_field(different[i].key, different[i].value, hex[i]);
		for (size_t j = 0; j < i; j++)
			cr_expect_str_neq(hex[i], hex[j]);
	}
}

Test(digest, a_number_differs_from_its_bytes_as_text)
{
	auto_digest struct digest *d = digest_new();
	char number[DIGEST_HEX_SIZE], text[DIGEST_HEX_SIZE];

	digest_add_u64(d, "k", 0x4141414141414141);
	digest_hex(d, number);
	of_field("k", "AAAAAAAA", text);
	cr_expect_str_neq(number, text);
}

Test(digest, of_a_file_larger_than_one_piece)
{
	auto_tmpdir char *dir = tmpdir_new("base-digest");
	auto_free char *path = path_join(dir, "f");
	auto_free char *data = xmalloc(3000000);
	char hex[DIGEST_HEX_SIZE], want[DIGEST_HEX_SIZE];

	memset(data, 'x', 3000000);
	cr_assert_eq(file_replace(path, data, 3000000, 0600, NULL), 0);
	digest_of(data, 3000000, want);
	cr_expect_eq(digest_file(path, hex, NULL), 0);
	cr_expect_str_eq(hex, want);
}

Test(digest, of_what_is_no_file_is_an_error)
{
	char hex[DIGEST_HEX_SIZE] = "untouched";
	struct err err = {0};

	cr_expect_eq(digest_file("/no/such", hex, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "cannot open '/no/such': No such file or directory");
	cr_expect_eq(digest_file("/tmp", hex, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "'/tmp' is not a regular file");
	cr_expect_str_eq(hex, "untouched");
}

/* RFC 4231, test cases 1 and 2. */
Test(digest, hmac_is_that_of_the_rfc)
{
	static const uint8_t key1[20] = {11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
					 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
	static const uint8_t want1[] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53};
	static const uint8_t want2[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e};
	struct digest_mac *m = digest_mac_new(key1, sizeof(key1));
	uint8_t mac[DIGEST_MAC_SIZE];

	for (int i = 0; i < 2; i++) {
		memset(mac, 0, sizeof(mac));
		digest_mac_of(m, "Hi There", 8, mac);
		cr_expect_eq(memcmp(mac, want1, sizeof(want1)), 0);
	}
	digest_mac_free_p(&m);
	m = digest_mac_new("Jefe", 4);
	digest_mac_of(m, "what do ya want for nothing?", 28, mac);
	cr_expect(digest_equal(mac, want2, sizeof(want2)));
	cr_expect_not(digest_equal(mac, want1, sizeof(want1)));
	digest_mac_free_p(&m);
	cr_expect_null(m);
}
