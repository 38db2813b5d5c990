#include "modules.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "xalloc.h"

/* "name: dep dep | soft soft" lines to a set. */
static void parse_set(struct module_set *set, const char *const *lines)
{
	for (; *lines; lines++) {
		auto_free char *copy = xstrdup(*lines);
		char *rest = copy;
		struct module_info *item = module_set_add(set, strsep(&rest, ":"), "/x");
		struct strv *to = &item->depends;

		for (char *word; (word = strsep(&rest, " "));) {
			if (strcmp(word, "|") == 0)
				to = &item->pre;
			else if (*word)
				strv_add(to, word);
		}
	}
}

static char *order(const char *const *lines, const char *builtin, const struct module_want *want,
		   size_t n, int *ret)
{
	auto_module_set struct module_set set = {0};
	auto_strv struct strv out = {0};
	auto_buf struct buf text = BUF_INIT(4096);
	struct err err = {0};

	parse_set(&set, lines);
	if (builtin)
		strv_add(&set.builtin, builtin);
	*ret = modules_order(&set, want, n, &out, &err);
	for (size_t i = 0; i < out.n; i++)
		buf_addf(&text, "%s%s", i ? " " : "", out.v[i]);
	return *ret < 0 ? xstrdup(err.msg) : buf_detach(&text);
}

Test(modules, dependencies_come_first_and_once)
{
	static const char *const lines[] = {"virtio-net: net_failover virtio",
					    "virtio_mmio: virtio_ring virtio",
					    "virtio: virtio-ring",
					    "virtio_ring:",
					    "net_failover: failover",
					    "failover:",
					    "unused: failover",
					    NULL};
	static const struct module_want want[] = {{.name = "virtio_mmio"}, {.name = "virtio-net"}};
	int r;
	auto_free char *text = order(lines, NULL, want, 2, &r);

	cr_expect_str_eq(text, "virtio_ring virtio virtio_mmio failover net_failover virtio_net");
}

Test(modules, every_case_of_the_order)
{
	static const struct {
		const char *lines[4];
		const char *builtin;
		struct module_want want[2];
		size_t n;
		int r;
		const char *text;
	} cases[] = {
		{{"a: b", "b:"}, "b", {{.name = "a"}}, 1, 0, "a"},
		{{"a: b", "b:"}, "a", {{.name = "a"}}, 1, 0, ""},
		{{"a: b"}, NULL, {{.name = "a"}}, 1, -ENOENT, "the kernel has no module 'b'"},
		{{"a:"},
		 NULL,
		 {{.name = "a"}, {.name = "c"}},
		 2,
		 -ENOENT,
		 "the kernel has no module 'c'"},
		{{"a:"}, NULL, {{.name = "c", .optional = true}, {.name = "a"}}, 2, 0, "a"},
		{{"a: b"},
		 NULL,
		 {{.name = "a", .optional = true}},
		 1,
		 -ENOENT,
		 "the kernel has no module 'b'"},
		{{"a: a"},
		 NULL,
		 {{.name = "a"}},
		 1,
		 -ELOOP,
		 "modules 'a' and 'a' depend on each other"},
		{{"a: b", "b: c", "c: a"},
		 NULL,
		 {{.name = "a"}},
		 1,
		 -ELOOP,
		 "modules 'a' and 'c' depend on each other"},
		{{"a: | s", "s:"}, NULL, {{.name = "a"}}, 1, 0, "s a"},
		{{"a: | s"}, NULL, {{.name = "a"}}, 1, 0, "a"},
		{{"a: | s", "s: | a"}, NULL, {{.name = "a"}}, 1, 0, "s a"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;
		auto_free char *text =
			order(cases[i].lines, cases[i].builtin, cases[i].want, cases[i].n, &r);

		cr_expect_eq(r, cases[i].r, "case %zu", i);
		cr_expect_str_eq(text, cases[i].text, "case %zu", i);
	}
}

Test(modules, chains_are_bounded)
{
	auto_module_set struct module_set set = {0};
	auto_strv struct strv out = {0};
	struct module_want want = {.name = "m0"};
	struct err err = {0};

	for (int i = 0; i < 100; i++) {
		auto_free char *name = xasprintf("m%d", i);
		struct module_info *item = module_set_add(&set, name, "/x");

		if (i < 99)
			strv_addf(&item->depends, "m%d", i + 1);
	}
	cr_expect_eq(modules_order(&set, &want, 1, &out, &err), -ELOOP);
	cr_expect_str_eq(err.msg, "module 'm64' is below 64 levels of dependencies");
	cr_expect_eq(out.n, 0);
}

/* A .ko with nothing but a .modinfo section. */
struct ko {
	Elf64_Ehdr head;
	Elf64_Shdr sections[3];
	char names[24];
	char info[96];
};

static struct ko make_ko(const char *info, size_t len)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	struct ko ko = {.head = {.e_shoff = offsetof(struct ko, sections),
				 .e_shnum = 3,
				 .e_shentsize = sizeof(Elf64_Shdr),
				 .e_shstrndx = 2}};

	memcpy(ko.head.e_ident, ELFMAG, SELFMAG);
	ko.head.e_ident[EI_CLASS] = ELFCLASS64;
	ko.head.e_ident[EI_DATA] = ELFDATA2LSB;
	ko.sections[1] = (Elf64_Shdr){.sh_name = 1,
				      .sh_type = SHT_PROGBITS,
				      .sh_offset = offsetof(struct ko, info),
				      .sh_size = len};
	ko.sections[2] = (Elf64_Shdr){.sh_name = 10,
				      .sh_type = SHT_STRTAB,
				      .sh_offset = offsetof(struct ko, names),
				      .sh_size = sizeof(names)};
	memcpy(ko.names, names, sizeof(names));
	memcpy(ko.info, info, len);
	return ko;
}

Test(modules, modinfo_names_dependencies_and_what_softly_comes_before)
{
	static const char info[] = "license=GPL\0depends=virtio,virtio-ring\0"
				   "softdep=pre: crc32c post: x\0depends=";
	struct ko ko = make_ko(info, sizeof(info));
	auto_module_set struct module_set set = {0};
	struct module_info *item = module_set_add(&set, "x", "/x");
	struct err err = {0};

	cr_assert_eq(modules_parse_ko((const uint8_t *)&ko, sizeof(ko), item, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(item->depends.n, 2);
	cr_expect_str_eq(item->depends.v[0], "virtio");
	cr_expect_str_eq(item->depends.v[1], "virtio-ring");
	cr_assert_eq(item->pre.n, 1);
	cr_expect_str_eq(item->pre.v[0], "crc32c");
}

Test(modules, damaged_modules_are_refused)
{
	const struct ko good = make_ko("depends=a", 9);
	struct {
		struct ko ko;
		const char *sentence;
	} cases[] = {
		{good, "it is not a 64-bit ELF file"},
		{good, "its section headers lie outside the file"},
		{good, "its section headers lie outside the file"},
		{good, "its section headers lie outside the file"},
		{good, "its section names lie outside the file"},
		{good, "its .modinfo lies outside the file"},
		{good, "its .modinfo lies outside the file"},
		{good, "it has no .modinfo"},
	};

	cases[0].ko.head.e_ident[0] = 0;
	cases[1].ko.head.e_shoff = UINT64_MAX - 8;
	cases[2].ko.head.e_shnum = 60000;
	cases[3].ko.head.e_shstrndx = 3;
	cases[4].ko.sections[2].sh_offset = UINT64_MAX - 2;
	cases[5].ko.sections[1].sh_size = UINT64_MAX;
	cases[6].ko.sections[1].sh_type = SHT_NOBITS;
	cases[7].ko.names[1] = 'x';
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_module_set struct module_set set = {0};
		struct module_info *item = module_set_add(&set, "x", "/x");
		struct err err = {0};

		cr_expect_lt(modules_parse_ko((const uint8_t *)&cases[i].ko, sizeof(struct ko),
					      item, &err),
			     0, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].sentence, "case %zu", i);
	}
	struct err err = {0};

	cr_expect_lt(modules_parse_ko((const uint8_t *)"x", 1, &(struct module_info){0}, &err), 0);
}

Test(modules, signatures_are_cut_off)
{
	static const struct {
		uint8_t sig_len[4];
		size_t want;
	} cases[] = {
		{{0, 0, 0, 20}, 100},
		{{0, 0, 0, 120}, 0},
		{{0xff, 0xff, 0xff, 0xff}, 160},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static const char magic[] = "~Module signature appended~\n";
		uint8_t ko[160] = {0};

		memcpy(ko + 160 - 28, magic, sizeof(magic) - 1);
		memcpy(ko + 160 - 32, cases[i].sig_len, 4);
		cr_expect_eq(modules_unsigned_len(ko, sizeof(ko)), cases[i].want, "case %zu", i);
	}
	cr_expect_eq(modules_unsigned_len((const uint8_t *)"short", 5), 5);
	cr_expect_eq(modules_unsigned_len((const uint8_t *)"", 0), 0);
}

static void put_ko(const char *dir, const char *name, const char *info)
{
	struct ko ko = make_ko(info, strlen(info));

	put_file(dir, name, &ko, sizeof(ko));
}

Test(modules, a_module_tree_is_collected_in_load_order)
{
	static const char *const plain[] = {"virtio_blk", "virtio_net", "virtio_console",
					    "virtio-rng", "overlay",    "squashfs",
					    "tcp_diag",   "udp_diag"};
	auto_fixture struct fixture f = fixture_new();
	auto_free char *lib = path_join(f.dir, "lib"), *to = path_join(f.dir, "to");
	auto_free char *list = path_join(to, "modules.list");
	auto_buf struct buf text = BUF_INIT(4096);
	struct err err = {0};

	put_text(lib, "modules.builtin", "kernel/net/ipv4/inet-diag.ko\n");
	put_ko(lib, "kernel/a/virtio_mmio.ko", "depends=virtio");
	put_ko(lib, "kernel/b/virtio.ko", "depends=");
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		auto_free char *name = xasprintf("kernel/%s.ko", plain[i]);

		put_ko(lib, name, "depends=virtio");
	}
	cr_assert_eq(modules_collect(lib, to, &err), 0, "%s", err.msg);
	cr_assert_eq(file_read(list, 4096, &text, &err), 0);
	cr_expect_str_eq(buf_str(&text),
			 "/m/virtio.ko\n/m/virtio_mmio.ko\n/m/virtio_blk.ko\n/m/virtio_net.ko\n"
			 "/m/virtio_console.ko\n/m/virtio_rng.ko\n/m/overlay.ko\n"
			 "/m/squashfs.ko\n/m/tcp_diag.ko\n/m/udp_diag.ko\n");
	auto_free char *missing = path_join(lib, "kernel/a/virtio_mmio.ko");

	cr_assert_eq(file_remove_tree(missing, NULL), 0);
	cr_expect_eq(modules_collect(lib, to, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "the kernel has no module 'virtio_mmio'");
}
