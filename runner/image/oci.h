/* oci.h - what a container image source says it is: its digest, from index and manifest alone.
 *
 * Sources are "TRANSPORT:PATH[:REFERENCE]" with oci-archive, docker-archive, oci and dir. All of
 * it is hostile: documents over OCI_JSON_MAX, archives over OCI_ENTRIES_MAX entries, names that
 * leave the archive, entries that appear twice, and blobs whose bytes do not hash to their name
 * are refused. Layers are never read. */
#ifndef FCVM_IMAGE_OCI_H
#define FCVM_IMAGE_OCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "digest.h"
#include "err.h"
#include "json.h"

#define OCI_JSON_MAX (4u << 20)
#define OCI_ENTRIES_MAX 100000u
#define OCI_NAME_MAX 1024u
#define OCI_LAYERS_MAX 512u
#define OCI_BYTES_MAX (1ull << 40) /* all layers together */

struct oci_transport;
struct oci_source {
	const struct oci_transport *transport;
	char *path; /* absolute */
	char *ref;  /* which of several images, or NULL */
};
#define auto_oci_source __attribute__((cleanup(oci_source_free)))
void oci_source_free(struct oci_source *s);
/* Relative paths start from base_dir. Pure. */
int oci_source_parse(const char *source, const char *base_dir, struct oci_source *ret,
		     struct err *err);
/* "oci-archive" ... */
const char *oci_transport_name(const struct oci_source *s);

struct oci_image {
	char digest[DIGEST_HEX_SIZE]; /* of the manifest; of the config for docker-archive */
	bool by_config;               /* the latter: the digest is the image id */
	uint64_t bytes; /* of its layers by the manifest; of the file for docker-archive */
};
int oci_resolve(const struct oci_source *s, struct oci_image *ret, struct err *err);
/* "hello" for "/x/Hello.oci.tar": lower case letters, digits and single dashes; "image" when
 * nothing is left. Caller frees. */
char *oci_base_name(const char *path);

/* --- reading documents out of a source, whatever holds them --- */
struct oci_reader {
	/* One document of at most OCI_JSON_MAX bytes into out (reset first); -ENOENT. */
	int (*read)(const char *path, const char *name, struct buf *out, struct err *err);
	const char *path;
};
int oci_read_archive(const char *path, const char *name, struct buf *out, struct err *err);
int oci_read_dir(const char *path, const char *name, struct buf *out, struct err *err);

/* --- manifests, for the transports --- */
/* OCI layout: index.json -> manifest (through at most one nested index) -> config. */
int oci_resolve_layout(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		       struct err *err);
/* skopeo's dir: manifest.json, version, blobs by digest. */
int oci_resolve_dir(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		    struct err *err);
/* docker save: manifest.json naming a config. */
int oci_resolve_docker(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		       struct err *err);

#endif
