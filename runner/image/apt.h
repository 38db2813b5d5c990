/* apt.h - the host's own apt: what a package name means now, the package itself, the mirrors. It
 * only reads lists and downloads; nothing is installed on the host (decisions 39). */
#ifndef FCVM_IMAGE_APT_H
#define FCVM_IMAGE_APT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "host.h"
#include "strv.h"

struct apt_package {
	char *name;
	char *version;
	char *sha256;
	uint64_t size;
};
#define auto_apt_package __attribute__((cleanup(apt_package_free)))
void apt_package_free(struct apt_package *p);

/* Debian's rule for package names, so that one can stand in an argument list. */
bool apt_is_package_name(const char *s);
/* bookworm, trixie, sid ... */
bool apt_is_suite_name(const char *s);

/* The kernel package a name leads to: linux-image-cloud-amd64 depends on the real one, which is
 * the result; a real one is itself. */
int apt_resolve_kernel(const struct host *host, const char *name, struct apt_package *ret,
		       struct err *err);
/* Exactly that version into dir, checked against p->sha256. *ret_deb is the caller's. */
int apt_download(const struct host *host, const struct apt_package *p, const char *dir,
		 char **ret_deb, struct err *err);
/* "deb URI RELEASE COMPONENT" lines of the host's own Debian sources for a suite with its updates
 * and security; none when the host has no such suite. */
int apt_sources(const struct host *host, const char *suite, struct strv *ret, struct err *err);

/* Pure parts. */
/* The first stanza of `apt-cache show`; *ret_image is the linux-image-* it depends on, or NULL. */
int apt_parse_show(const char *text, struct apt_package *ret, char **ret_image, struct err *err);
/* Lines "URI|RELEASE|ORIGIN|COMPONENT" to source lines for the suite. */
void apt_parse_sources(const char *text, const char *suite, struct strv *ret);

#endif
