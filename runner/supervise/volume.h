/* volume.h - a volume of a VM as its supervisor sees it: what is mounted where in the guest, and
 * bound into every container at the same path (decisions 22). */
#ifndef FCVM_SUPERVISE_VOLUME_H
#define FCVM_SUPERVISE_VOLUME_H

#include <stdbool.h>
#include <stddef.h>

#define VOLUMES_MAX 32u

enum volume_type { VOLUME_HOST, VOLUME_DISK };
enum volume_cache { VOLUME_STRICT, VOLUME_SHARED, VOLUME_PRIVATE };
enum volume_trust { VOLUME_SQUASH, VOLUME_FULL };

struct volume_mount {
	char *name; /* of the spec, or "vN" of a command line */
	enum volume_type type;
	char *target; /* absolute, normalized, distinct within a VM */
	bool read_only;
	char *source; /* host: absolute path of a directory; disk: serial of its drive */
	enum volume_cache cache;
	enum volume_trust trust;
};

struct volume_list {
	struct volume_mount *v;
	size_t n;
};

void volume_list_free(struct volume_list *l);
#define auto_volume_list __attribute__((cleanup(volume_list_free)))
/* Deep copies of m are added. */
void volume_list_add(struct volume_list *l, const struct volume_mount *m);
void volume_list_copy(const struct volume_list *from, struct volume_list *ret);
/* The one at that target, NULL when there is none. */
const struct volume_mount *volume_list_find(const struct volume_list *l, const char *target);

#endif
