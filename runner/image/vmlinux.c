#include "vmlinux.h"

#include "cleanup.h"
#include "file.h"
#include "frame.h"

#include <elf.h>
#include <errno.h>
#include <lz4.h>
#include <stdbool.h>
#include <string.h>
#include <zstd.h>

/* Linux/x86 boot protocol: where the setup header keeps what we need. */
#define SETUP_SECTORS 0x1f1
#define SETUP_MAGIC 0x202
#define SETUP_VERSION 0x206
#define SETUP_PAYLOAD_OFFSET 0x248
#define SETUP_PAYLOAD_LENGTH 0x24c
#define SETUP_END 0x250
#define SETUP_VERSION_PAYLOAD 0x208 /* 2.08: first with payload_offset */
#define SECTOR 512u

#define LZ4_CHUNK_MAX (8u << 20) /* legacy format: uncompressed size of a chunk */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

struct span {
	const uint8_t *data;
	size_t len;
};

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_SPEC, -EBADMSG, "%s", what);
}

/* --- decompression: size is what the payload's last four bytes promise --- */

static int unpack_lz4(struct span in, uint8_t *out, size_t size, struct err *err)
{
	size_t pos = 4; /* after the magic */
	size_t made = 0;

	while (pos < in.len) {
		if (in.len - pos < 4)
			return bad(err, "its lz4 payload is cut off inside a chunk header");
		size_t chunk = load_le32(in.data + pos);

		pos += 4;
		if (chunk == 0 || chunk > in.len - pos)
			return bad(err, "its lz4 payload is cut off inside a chunk");
		size_t room = size - made < LZ4_CHUNK_MAX ? size - made : LZ4_CHUNK_MAX;
		int n = LZ4_decompress_safe((const char *)in.data + pos, (char *)out + made,
					    (int)chunk, (int)room);

		if (n < 0)
			return bad(err, "its lz4 payload is damaged or larger than it says");
		pos += chunk;
		made += (size_t)n;
	}
	return made == size ? 0 : bad(err, "its lz4 payload is smaller than it says");
}

static int unpack_zstd(struct span in, uint8_t *out, size_t size, struct err *err)
{
	size_t n = ZSTD_decompress(out, size, in.data, in.len);

	if (ZSTD_isError(n))
		return bad(err, "its zstd payload is damaged or larger than it says");
	return n == size ? 0 : bad(err, "its zstd payload is smaller than it says");
}

static int refuse(struct span in, uint8_t *out, size_t size, struct err *err)
{
	(void)in;
	(void)out;
	(void)size;
	(void)bad(err, "its payload is neither lz4 nor zstd compressed");
	return err_hint(err, "give the uncompressed ELF vmlinux instead");
}

struct codec {
	uint8_t magic[4];
	size_t magic_len;
	int (*unpack)(struct span in, uint8_t *out, size_t size, struct err *err);
};
static const struct codec codecs[] = {
	{.magic = {0x02, 0x21, 0x4c, 0x18}, .magic_len = 4, .unpack = unpack_lz4},
	{.magic = {0x28, 0xb5, 0x2f, 0xfd}, .magic_len = 4, .unpack = unpack_zstd},
	{.magic_len = 0, .unpack = refuse},
};

static const struct codec *codec_of(struct span in)
{
	const struct codec *c = codecs;

	while (memcmp(c->magic, in.data, c->magic_len) != 0)
		c++;
	return c;
}

/* --- bzImage --- */

static int find_payload(const uint8_t *image, size_t len, struct span *ret, struct err *err)
{
	size_t sectors = image[SETUP_SECTORS] ? image[SETUP_SECTORS] : 4;
	size_t base = (sectors + 1) * SECTOR;
	size_t offset = load_le32(image + SETUP_PAYLOAD_OFFSET);
	size_t length = load_le32(image + SETUP_PAYLOAD_LENGTH);

	if (load_le16(image + SETUP_VERSION) < SETUP_VERSION_PAYLOAD)
		return bad(err, "its boot protocol is older than 2.08");
	if (base > len || offset > len - base || length > len - base - offset)
		return bad(err, "its payload lies outside the file");
	if (length < 12)
		return bad(err, "its payload is too short");
	ret->data = image + base + offset;
	ret->len = length;
	return 0;
}

static int extract_bzimage(const uint8_t *image, size_t len, struct buf *out, struct err *err)
{
	struct span payload;
	int r = find_payload(image, len, &payload, err);
	uint8_t *room;

	if (r < 0)
		return r;
	size_t size = load_le32(payload.data + payload.len - 4);

	payload.len -= 4;
	if (size == 0 || size > VMLINUX_MAX)
		return err_set(err, ERR_SPEC, -EFBIG,
			       "its payload says it unpacks to %zu bytes, limit %u", size,
			       VMLINUX_MAX);
	room = buf_grow(out, size);
	if (!room)
		return bad(err, "its payload does not fit the memory set aside for it");
	return codec_of(payload)->unpack(payload, room, size, err);
}

/* --- ELF --- */

static bool is_elf(const uint8_t *p, size_t len)
{
	return len >= SELFMAG && memcmp(p, ELFMAG, SELFMAG) == 0;
}

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static bool notes_have_pvh(struct span notes)
{
	size_t pos = 0;

	while (notes.len - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		const uint8_t *name = notes.data + pos + sizeof(n);

		memcpy(&n, notes.data + pos, sizeof(n));
		size_t left = notes.len - pos - sizeof(n);

		if (n.n_namesz > left || align4(n.n_namesz) > left ||
		    n.n_descsz > left - align4(n.n_namesz))
			return false;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 && n.n_descsz >= 4 &&
		    memcmp(name, "Xen", 4) == 0)
			return true;
		size_t used = align4(n.n_namesz) + align4(n.n_descsz);

		if (used > left)
			return false;
		pos += sizeof(n) + used;
	}
	return false;
}

static int check_segments(const uint8_t *elf, size_t len, const Elf64_Ehdr *head, struct err *err)
{
	bool load = false, pvh = false;

	for (size_t i = 0; i < head->e_phnum; i++) {
		Elf64_Phdr p;

		memcpy(&p, elf + head->e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type != PT_LOAD && p.p_type != PT_NOTE)
			continue;
		if (p.p_offset > len || p.p_filesz > len - p.p_offset)
			return bad(err, "a segment of its ELF lies outside the file");
		if (p.p_type == PT_LOAD)
			load = true;
		else if (notes_have_pvh((struct span){elf + p.p_offset, p.p_filesz}))
			pvh = true;
	}
	if (!load)
		return bad(err, "its ELF has nothing to load");
	if (pvh)
		return 0;
	(void)bad(err, "it has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)");
	return err_hint(err, "use a kernel built with CONFIG_PVH=y");
}

int vmlinux_check_elf(const uint8_t *elf, size_t len, struct err *err)
{
	Elf64_Ehdr head;

	if (!is_elf(elf, len) || len < sizeof(head))
		return bad(err, "it is not an ELF file");
	memcpy(&head, elf, sizeof(head));
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
	    head.e_machine != EM_X86_64)
		return bad(err, "its ELF is not for x86-64");
	if (head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phoff > len ||
	    head.e_phnum > (len - head.e_phoff) / sizeof(Elf64_Phdr))
		return bad(err, "the program headers of its ELF lie outside the file");
	return check_segments(elf, len, &head, err);
}

int vmlinux_extract(const uint8_t *image, size_t len, struct buf *out, struct err *err)
{
	int r = 0;

	if (is_elf(image, len))
		buf_add(out, image, len);
	else if (len >= SETUP_END && memcmp(image + SETUP_MAGIC, "HdrS", 4) == 0)
		r = extract_bzimage(image, len, out, err);
	else
		r = bad(err, "it is neither a bzImage nor an ELF kernel");
	if (r < 0)
		return r;
	if (!buf_ok(out))
		return bad(err, "its ELF does not fit the memory set aside for it");
	return vmlinux_check_elf((const uint8_t *)buf_str(out), out->len, err);
}

int vmlinux_convert(const char *from, const char *to, struct err *err)
{
	auto_buf struct buf image = BUF_INIT(VMLINUX_MAX);
	auto_buf struct buf elf = BUF_INIT(VMLINUX_MAX);
	int r = file_read(from, VMLINUX_MAX, &image, err);

	if (r < 0)
		return r;
	r = vmlinux_extract((const uint8_t *)buf_str(&image), image.len, &elf, err);
	if (r < 0)
		return r;
	return file_replace(to, elf.data, elf.len, 0644, err);
}
