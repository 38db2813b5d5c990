/* image_test.h - what the tests of this folder share: a host in a directory of its own, files, and
 * archives made to order. */
#ifndef FCVM_TESTS_IMAGE_TEST_H
#define FCVM_TESTS_IMAGE_TEST_H

#include <stddef.h>

#include "buf.h"
#include "digest.h"
#include "host.h"

struct fixture {
	char *dir; /* removed with everything in it */
	struct host host;
};
#define auto_fixture __attribute__((cleanup(fixture_free)))
struct fixture fixture_new(void);
void fixture_free(struct fixture *f);

/* Writes dir/name, making directories on the way. */
void put_file(const char *dir, const char *name, const void *data, size_t len);
void put_text(const char *dir, const char *name, const char *text);

enum item_kind { ITEM_FILE, ITEM_SYMLINK, ITEM_HOLE /* len bytes nobody wrote */ };
struct item {
	const char *name;
	const char *data; /* or link target */
	enum item_kind kind;
	size_t len; /* 0: strlen(data) */
};
/* Items up to the first without a name. */
void put_tar(const char *path, const struct item *items);

/* A small OCI image as the texts of its parts; fields may be changed before oci_finish(). */
struct oci_texts {
	char config[512], manifest[1024], index[2048];
	char config_name[96], manifest_name[96]; /* blobs/sha256/... */
	char manifest_digest[DIGEST_HEX_SIZE], config_digest[DIGEST_HEX_SIZE];
};
/* arch NULL: "amd64"; layer size as text, NULL: "10". */
void oci_texts(struct oci_texts *t, const char *arch, const char *layer_size);

#endif
