/* assets.h - everything a VM boots from, built once and cached by content under <data>/cache.
 *
 * Every *_ensure is safe to repeat and to run in parallel (a flock per key): it returns at once
 * when the key is there, else builds beside and publishes by rename. `progress` gets short
 * sentences
 * ("fetching linux-image-6.1.0-40-cloud-amd64, 12.1 MiB"). Files are root's, 0644, below 0755. */
#ifndef FCVM_IMAGE_ASSETS_H
#define FCVM_IMAGE_ASSETS_H

#include <stdbool.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "host.h"
#include "strv.h"

struct asset_progress {
	void (*say)(void *data, const char *text); /* may be NULL */
	void *data;
};

/* --- kernel: package (pinned at first use, decisions 23) or path --- */
struct kernel_want {
	const char *package; /* Debian package, or NULL when path is given */
	const char *path;
	const char *sha256; /* of path, may be NULL */
	bool update;        /* setup --update: look for a newer package */
};
struct kernel_have {
	char *vmlinux; /* ELF */
	char *initrd;  /* agent as /init + modules; keyed by kernel and agent digests */
	char digest[DIGEST_HEX_SIZE]; /* of both */
	char *version;                /* "6.1.0-40-cloud-amd64", "file" for a path */
};
int kernel_ensure(const struct host *host, const struct kernel_want *want,
		  const struct asset_progress *progress, struct kernel_have *ret, struct err *err);
/* Without building: 1 and *ret when cached, 0 when kernel_ensure would have work to do. */
int kernel_lookup(const struct host *host, const struct kernel_want *want, struct kernel_have *ret,
		  struct err *err);
void kernel_have_free(struct kernel_have *k);

/* --- root file system: built by mmdebstrap, or an image / directory --- */
struct rootfs_want {
	const char *suite;           /* "bookworm" */
	const struct strv *packages; /* beyond ours; may be NULL */
	const char *path; /* squashfs, erofs, ext4 image or directory; excludes the above */
	const char *sha256;
	bool update;
};
struct rootfs_have {
	char *image;  /* read-only disk image, shared by all VMs */
	char *fstype; /* squashfs | erofs | ext4 */
	char digest[DIGEST_HEX_SIZE];
};
int rootfs_ensure(const struct host *host, const struct rootfs_want *want,
		  const struct asset_progress *progress, struct rootfs_have *ret, struct err *err);
int rootfs_lookup(const struct host *host, const struct rootfs_want *want, struct rootfs_have *ret,
		  struct err *err);
void rootfs_have_free(struct rootfs_have *r);

/* --- container images: oci-archive:PATH docker-archive:PATH oci:DIR[:TAG] dir:DIR --- */
struct image_have {
	char digest[DIGEST_HEX_SIZE];  /* manifest digest of the image */
	char content[DIGEST_HEX_SIZE]; /* of that and of the store: no two builds have one store */
	char *store;                   /* read-only disk image: one image as an additional store */
	char *reference;               /* what podman calls it in that store */
};
/* The image's digest from the source alone (reads the index and manifest, nothing is unpacked).
 * base_dir: directory relative paths start from. Errors name the path. */
int image_resolve(const char *source, const char *base_dir, char ret_digest[DIGEST_HEX_SIZE],
		  struct err *err);
int image_ensure(const struct host *host, const char *source, const char *base_dir,
		 const struct asset_progress *progress, struct image_have *ret, struct err *err);
/* 1 and *ret when the digest is cached, 0 when not. */
int image_lookup(const struct host *host, const char *digest, struct image_have *ret,
		 struct err *err);
void image_have_free(struct image_have *i);

/* --- embedded binaries (decisions 2): agent and shim, extracted by digest into cache/bin --- */
int embedded_agent(const struct host *host, char **ret_path, struct err *err);
int embedded_shim(const struct host *host, char **ret_path, struct err *err);

#endif
