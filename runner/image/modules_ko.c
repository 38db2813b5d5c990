#include "modules.h"

#include "cleanup.h"
#include "xalloc.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MODINFO_MAX (1u << 20)

struct section {
	const uint8_t *data;
	size_t len;
};

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_SPEC, -EBADMSG, "%s", what);
}

static Elf64_Shdr section_head(const uint8_t *ko, const Elf64_Ehdr *head, size_t i)
{
	Elf64_Shdr s;

	memcpy(&s, ko + head->e_shoff + i * sizeof(s), sizeof(s));
	return s;
}

static bool inside(const Elf64_Shdr *s, size_t len)
{
	return s->sh_type != SHT_NOBITS && s->sh_offset <= len && s->sh_size <= len - s->sh_offset;
}

static int read_head(const uint8_t *ko, size_t len, Elf64_Ehdr *ret, struct err *err)
{
	if (len < sizeof(*ret) || memcmp(ko, ELFMAG, SELFMAG) != 0 || ko[EI_CLASS] != ELFCLASS64 ||
	    ko[EI_DATA] != ELFDATA2LSB)
		return bad(err, "it is not a 64-bit ELF file");
	memcpy(ret, ko, sizeof(*ret));
	if (ret->e_shentsize != sizeof(Elf64_Shdr) || ret->e_shoff > len ||
	    ret->e_shnum > (len - ret->e_shoff) / sizeof(Elf64_Shdr) ||
	    ret->e_shstrndx >= ret->e_shnum)
		return bad(err, "its section headers lie outside the file");
	return 0;
}

static int find_modinfo(const uint8_t *ko, size_t len, struct section *ret, struct err *err)
{
	static const char want[] = ".modinfo";
	Elf64_Ehdr head;
	int r = read_head(ko, len, &head, err);

	if (r < 0)
		return r;
	Elf64_Shdr names = section_head(ko, &head, head.e_shstrndx);

	if (!inside(&names, len))
		return bad(err, "its section names lie outside the file");
	for (size_t i = 0; i < head.e_shnum; i++) {
		Elf64_Shdr s = section_head(ko, &head, i);

		if (s.sh_name > names.sh_size || names.sh_size - s.sh_name < sizeof(want) ||
		    memcmp(ko + names.sh_offset + s.sh_name, want, sizeof(want)) != 0)
			continue;
		if (!inside(&s, len) || s.sh_size > MODINFO_MAX)
			return bad(err, "its .modinfo lies outside the file");
		*ret = (struct section){ko + s.sh_offset, s.sh_size};
		return 0;
	}
	return bad(err, "it has no .modinfo");
}

static void add_split(struct strv *to, const char *text, const char *separators)
{
	while (*text) {
		size_t n = strcspn(text, separators);

		if (n > 0)
			strv_add_take(to, xstrndup(text, n));
		text += n;
		text += strspn(text, separators);
	}
}

/* "pre: a b post: c": only what must come before matters to an order of loading. */
static void add_softdep(struct strv *to, const char *text)
{
	auto_strv struct strv words = {0};
	bool pre = false;

	add_split(&words, text, " ");
	for (size_t i = 0; i < words.n; i++) {
		if (strcmp(words.v[i], "pre:") == 0)
			pre = true;
		else if (strcmp(words.v[i], "post:") == 0)
			pre = false;
		else if (pre)
			strv_add(to, words.v[i]);
	}
}

static void add_entry(struct module_info *item, const char *entry)
{
	if (strncmp(entry, "depends=", 8) == 0)
		add_split(&item->depends, entry + 8, ",");
	else if (strncmp(entry, "softdep=", 8) == 0)
		add_softdep(&item->pre, entry + 8);
}

int modules_parse_ko(const uint8_t *ko, size_t len, struct module_info *item, struct err *err)
{
	struct section info;
	int r = find_modinfo(ko, len, &info, err);

	if (r < 0)
		return r;
	for (size_t pos = 0; pos < info.len;) {
		const char *start = (const char *)info.data + pos;
		size_t n = strnlen(start, info.len - pos);
		auto_free char *entry = xstrndup(start, n);

		add_entry(item, entry);
		pos += n + 1;
	}
	return 0;
}

/* struct module_signature of the kernel: 8 bytes we do not need, then the length, big endian. */
size_t modules_unsigned_len(const uint8_t *ko, size_t len)
{
	static const char marker[] = "~Module signature appended~\n";
	const size_t tail = sizeof(marker) - 1 + 12;
	const uint8_t *p = ko + len - (sizeof(marker) - 1);

	if (len < tail || memcmp(p, marker, sizeof(marker) - 1) != 0)
		return len;
	size_t sig = (size_t)p[-4] << 24 | (size_t)p[-3] << 16 | (size_t)p[-2] << 8 | p[-1];

	return sig > len - tail ? len : len - tail - sig;
}
