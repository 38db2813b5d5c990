/* fuzz_oci.c - the documents of a container image: index, manifest, config. Byte 0 chooses the
 * layout and whether a reference is asked for; the rest are documents parted by lines of "---".
 * No fuzzer finds a SHA-256: "@N" in a document stands for the digest of document N (a later one),
 * and a blob is found by it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "digest.h"
#include "oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define DOCS_MAX 8

static struct {
	struct buf text;
	char digest[DIGEST_HEX_SIZE];
} docs[DOCS_MAX];
static size_t n_docs;

static void put_resolved(size_t self, const char *at, size_t len)
{
	struct buf *out = &docs[self].text;

	for (size_t i = 0; i < len; i++) {
		size_t other = i + 1 < len && at[i] == '@' ? (size_t)(at[i + 1] - '0') : DOCS_MAX;

		if (other <= self || other >= n_docs) {
			buf_add_char(out, at[i]);
			continue;
		}
		buf_add_str(out, "sha256:");
		buf_add_str(out, docs[other].digest);
		i++;
	}
	digest_of(buf_str(out), out->len, docs[self].digest);
}

static void split(const char *at, size_t len)
{
	struct {
		const char *at;
		size_t len;
	} parts[DOCS_MAX];
	static const char line[] = "\n---\n";

	n_docs = 0;
	while (n_docs < DOCS_MAX) {
		const char *cut = memmem(at, len, line, sizeof(line) - 1);
		size_t n = cut ? (size_t)(cut - at) : len;

		parts[n_docs].at = at;
		parts[n_docs++].len = n;
		if (!cut)
			break;
		at += n + sizeof(line) - 1;
		len -= n + sizeof(line) - 1;
	}
	for (size_t i = n_docs; i-- > 0;) {
		docs[i].text = (struct buf)BUF_INIT(OCI_JSON_MAX);
		put_resolved(i, parts[i].at, parts[i].len);
	}
}

/* The first document is what every layout reads first; blobs are found by what is in them. */
static int read_doc(const char *path, const char *name, struct buf *out, struct err *err)
{
	const char *top[] = {"index.json", "manifest.json"};

	(void)path;
	buf_reset(out);
	for (size_t i = 0; i < n_docs; i++) {
		bool first = i == 0 && (!strcmp(name, top[0]) || !strcmp(name, top[1]));

		if (!first && !strstr(name, docs[i].digest) && !(i == 1 && !strcmp(name, "c")))
			continue;
		buf_add(out, buf_str(&docs[i].text), docs[i].text.len);
		return 0;
	}
	return err_set(err, ERR_SPEC, -ENOENT, "no '%s' here", name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const layouts[])(const struct oci_reader *, const char *, struct oci_image *,
				      struct err *) = {oci_resolve_layout, oci_resolve_dir,
						       oci_resolve_docker};
	const struct oci_reader reader = {read_doc, "/nonexistent"};
	struct oci_image image = {.bytes = 0};
	struct err err = {0};

	if (size < 1)
		return 0;
	split((const char *)data + 1, size - 1);
	int r = layouts[(data[0] & 3) % 3](&reader, data[0] & 4 ? "web" : NULL, &image, &err);
	CHECK(r < 0 ? err.msg[0] != '\0' : strlen(image.digest) == DIGEST_HEX_SIZE - 1);
	CHECK(image.bytes <= OCI_BYTES_MAX);
	for (size_t i = 0; i < n_docs; i++)
		buf_free(&docs[i].text);
	return 0;
}
