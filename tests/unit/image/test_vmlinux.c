#include "vmlinux.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "cleanup.h"
#include "frame.h"
#include "image_test.h"
#include "xalloc.h"

#define ELF_SIZE 200000u
#define SETUP_SIZE (5u * 512)

/* A kernel-like ELF: one segment to load, one note segment at 0x1000. */
static uint8_t *make_elf(void)
{
	uint8_t *elf = xcalloc(1, ELF_SIZE);
	Elf64_Ehdr head = {.e_machine = EM_X86_64,
			   .e_phoff = sizeof(head),
			   .e_phnum = 2,
			   .e_phentsize = sizeof(Elf64_Phdr)};
	Elf64_Phdr load = {.p_type = PT_LOAD, .p_offset = 0, .p_filesz = ELF_SIZE};
	Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = 0x1000, .p_filesz = 16 + 12 + 4 + 4};
	Elf64_Nhdr n[2] = {{.n_namesz = 4, .n_descsz = 0, .n_type = 1},
			   {.n_namesz = 4, .n_descsz = 4, .n_type = 18}};

	memcpy(head.e_ident, ELFMAG, SELFMAG);
	head.e_ident[EI_CLASS] = ELFCLASS64;
	head.e_ident[EI_DATA] = ELFDATA2LSB;
	for (size_t i = 0x2000; i < ELF_SIZE; i++)
		elf[i] = (uint8_t)(i * i >> 7);
	memcpy(elf, &head, sizeof(head));
	memcpy(elf + sizeof(head), &load, sizeof(load));
	memcpy(elf + sizeof(head) + sizeof(load), &note, sizeof(note));
	memcpy(elf + 0x1000, &n[0], sizeof(n[0]));
	memcpy(elf + 0x100c, "GNU", 4);
	memcpy(elf + 0x1010, &n[1], sizeof(n[1]));
	memcpy(elf + 0x101c, "Xen", 4);
	return elf;
}

static size_t pack_lz4(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	static const uint8_t magic[] = {0x02, 0x21, 0x4c, 0x18};
	size_t pos = sizeof(magic);

	memcpy(out, magic, sizeof(magic));
	for (size_t at = 0; at < len; at += 65536) { /* several chunks, as the real one has */
		size_t piece = len - at < 65536 ? len - at : 65536;
		int n = LZ4_compress_default((const char *)in + at, (char *)out + pos + 4,
					     (int)piece, (int)(room - pos - 4));

		cr_assert_gt(n, 0);
		store_le32(out + pos, (uint32_t)n);
		pos += 4 + (size_t)n;
	}
	return pos;
}

static size_t pack_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	size_t n = ZSTD_compress(out, room, in, len, 3);

	cr_assert(!ZSTD_isError(n));
	return n;
}

struct image {
	uint8_t *data;
	size_t len;
	size_t payload_len; /* without the size behind it */
};

static void image_free(struct image *i)
{
	free(i->data);
}
#define auto_image __attribute__((cleanup(image_free)))

/* As the kernel's build lays it out: setup sectors, payload, and its unpacked size as le32. */
static struct image make_bzimage(size_t (*pack)(const uint8_t *, size_t, uint8_t *, size_t))
{
	struct image i = {.data = xcalloc(1, 2 * ELF_SIZE)};
	auto_free uint8_t *elf = make_elf();
	uint8_t *payload = i.data + SETUP_SIZE + 64;

	i.payload_len = pack(elf, ELF_SIZE, payload, ELF_SIZE);
	store_le32(payload + i.payload_len, ELF_SIZE);
	i.data[0x1f1] = 4;
	memcpy(i.data + 0x202, "HdrS", 4);
	store_le16(i.data + 0x206, 0x20f);
	store_le32(i.data + 0x248, 64);
	store_le32(i.data + 0x24c, (uint32_t)i.payload_len + 4);
	i.len = SETUP_SIZE + 64 + i.payload_len + 4 + 100;
	return i;
}

static int extract(const struct image *i, struct buf *out, struct err *err)
{
	*err = (struct err){0};
	return vmlinux_extract(i->data, i->len, out, err);
}

Test(vmlinux, both_compressions_and_a_plain_elf_give_the_same_elf)
{
	auto_free uint8_t *elf = make_elf();
	auto_image struct image lz4 = make_bzimage(pack_lz4);
	auto_image struct image zstd = make_bzimage(pack_zstd);
	struct image all[] = {lz4, zstd, {.data = elf, .len = ELF_SIZE}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		auto_buf struct buf out = BUF_INIT(VMLINUX_MAX);
		struct err err;

		cr_assert_eq(extract(&all[i], &out, &err), 0, "case %zu: %s", i, err.msg);
		cr_assert_eq(out.len, ELF_SIZE);
		cr_expect_eq(memcmp(out.data, elf, ELF_SIZE), 0, "case %zu", i);
	}
}

static void expect_refused(const struct image *i, const char *sentence)
{
	auto_buf struct buf out = BUF_INIT(VMLINUX_MAX);
	struct err err;

	cr_expect_lt(extract(i, &out, &err), 0, "%s", sentence);
	cr_expect_str_eq(err.msg, sentence);
	cr_expect_eq(err.class, ERR_SPEC);
}

Test(vmlinux, bad_setup_headers_are_refused)
{
	static const struct {
		size_t at;
		uint32_t value;
		const char *sentence;
	} cases[] = {
		{0x202, 0, "it is neither a bzImage nor an ELF kernel"},
		{0x206, 0x207, "its boot protocol is older than 2.08"},
		{0x248, 0xffffffff, "its payload lies outside the file"},
		{0x248, 0x7fffffff, "its payload lies outside the file"},
		{0x24c, 0xffffffff, "its payload lies outside the file"},
		{0x24c, 11, "its payload is too short"},
		{0x24c, 0, "its payload is too short"},
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		auto_image struct image i = make_bzimage(pack_lz4);

		store_le32(i.data + cases[c].at, cases[c].value);
		expect_refused(&i, cases[c].sentence);
	}
}

Test(vmlinux, the_setup_size_is_checked_against_the_file)
{
	auto_image struct image i = make_bzimage(pack_lz4);

	i.len = SETUP_SIZE - 1;
	expect_refused(&i, "its payload lies outside the file");
	i.len = 0x24f;
	expect_refused(&i, "it is neither a bzImage nor an ELF kernel");
	i.len = 0;
	expect_refused(&i, "it is neither a bzImage nor an ELF kernel");
}

Test(vmlinux, payloads_that_lie_about_their_size_are_refused)
{
	static const struct {
		size_t (*pack)(const uint8_t *, size_t, uint8_t *, size_t);
		uint32_t size;
		const char *sentence;
	} cases[] = {
		{pack_lz4, 0xffffffff,
		 "its payload says it unpacks to 4294967295 bytes, limit 268435456"},
		{pack_lz4, 0, "its payload says it unpacks to 0 bytes, limit 268435456"},
		{pack_lz4, ELF_SIZE - 1, "its lz4 payload is damaged or larger than it says"},
		{pack_lz4, 1000, "its lz4 payload is damaged or larger than it says"},
		{pack_lz4, ELF_SIZE + 1, "its lz4 payload is smaller than it says"},
		{pack_zstd, ELF_SIZE - 1, "its zstd payload is damaged or larger than it says"},
		{pack_zstd, ELF_SIZE + 1, "its zstd payload is smaller than it says"},
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		auto_image struct image i = make_bzimage(cases[c].pack);

		store_le32(i.data + SETUP_SIZE + 64 + i.payload_len, cases[c].size);
		expect_refused(&i, cases[c].sentence);
	}
}

Test(vmlinux, damaged_lz4_chunks_are_refused)
{
	static const struct {
		uint32_t first_chunk;
		const char *sentence;
	} cases[] = {
		{0, "its lz4 payload is cut off inside a chunk"},
		{0xffffffff, "its lz4 payload is cut off inside a chunk"},
		{3, "its lz4 payload is damaged or larger than it says"},
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		auto_image struct image i = make_bzimage(pack_lz4);

		store_le32(i.data + SETUP_SIZE + 64 + 4, cases[c].first_chunk);
		expect_refused(&i, cases[c].sentence);
	}
}

Test(vmlinux, other_compressions_are_refused_with_a_way_out)
{
	auto_image struct image i = make_bzimage(pack_lz4);
	auto_buf struct buf out = BUF_INIT(VMLINUX_MAX);
	struct err err;

	memcpy(i.data + SETUP_SIZE + 64, "\x1f\x8b\x08", 4);
	cr_expect_lt(extract(&i, &out, &err), 0);
	cr_expect_str_eq(err.msg, "its payload is neither lz4 nor zstd compressed");
	cr_expect_str_eq(err.hint, "give the uncompressed ELF vmlinux instead");
}

Test(vmlinux, every_truncation_is_survived)
{
	auto_image struct image i = make_bzimage(pack_lz4);
	size_t whole = i.len;

	for (size_t len = 0; len < whole - 104; len += 97) {
		auto_buf struct buf out = BUF_INIT(VMLINUX_MAX);
		auto_free uint8_t *copy = xmalloc(len + 1);
		struct image cut = {.data = copy, .len = len};
		struct err err;

		memcpy(copy, i.data, len);
		cr_expect_lt(extract(&cut, &out, &err), 0, "%zu bytes", len);
	}
}

Test(vmlinux, elf_files_that_cannot_boot_are_refused)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *sentence;
	} cases[] = {
		{EI_CLASS, ELFCLASS32, "its ELF is not for x86-64"},
		{18, 183, "its ELF is not for x86-64"},
		{54, 55, "the program headers of its ELF lie outside the file"},
		{56 + 1, 0xff, "the program headers of its ELF lie outside the file"},
		{32 + 7, 0xff, "the program headers of its ELF lie outside the file"},
		{64, PT_NULL, "its ELF has nothing to load"},
		{64 + 32 + 7, 0x80, "a segment of its ELF lies outside the file"},
		{0x1018, 17, "it has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)"},
		{0x101c, 'Y', "it has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)"},
		{0x1003, 0xff, "it has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)"},
		{0x1017, 0xff, "it has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)"},
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		auto_free uint8_t *elf = make_elf();
		struct image i = {.data = elf, .len = ELF_SIZE};

		elf[cases[c].at] = cases[c].value;
		expect_refused(&i, cases[c].sentence);
	}
	auto_free uint8_t *elf = make_elf();
	struct image tiny = {.data = elf, .len = 10};

	expect_refused(&tiny, "it is not an ELF file");
}

Test(vmlinux, convert_writes_the_elf_and_keeps_the_old_one_on_failure)
{
	auto_fixture struct fixture f = fixture_new();
	auto_image struct image i = make_bzimage(pack_zstd);
	auto_free char *from = xasprintf("%s/bz", f.dir), *to = xasprintf("%s/elf", f.dir);
	auto_free uint8_t *elf = make_elf();
	char want[DIGEST_HEX_SIZE], have[DIGEST_HEX_SIZE];
	struct err err = {0};

	put_file(f.dir, "bz", i.data, i.len);
	cr_assert_eq(vmlinux_convert(from, to, &err), 0, "%s", err.msg);
	digest_of(elf, ELF_SIZE, want);
	cr_assert_eq(digest_file(to, have, &err), 0);
	cr_expect_str_eq(have, want);
	put_file(f.dir, "bz", i.data, i.len / 2);
	cr_expect_lt(vmlinux_convert(from, to, &err), 0);
	cr_assert_eq(digest_file(to, have, &err), 0);
	cr_expect_str_eq(have, want);
}
