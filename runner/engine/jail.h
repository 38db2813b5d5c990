/* jail.h - what a VMM process gives up between fork and exec (decisions: a uid of its own, no
 * privileges, no capabilities, a /dev with next to nothing in it). */
#ifndef FCVM_ENGINE_JAIL_H
#define FCVM_ENGINE_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "hide.h"

struct jail {
	bool as_root; /* we are root: change uid, private mounts and /dev */
	uid_t uid;
	gid_t gid;       /* the VMM's only group */
	bool shared_dev; /* no private mounts and /dev: the host's, as the uid may use them */
	/* Which devices are in its /dev, owned by uid. */
	bool kvm, tun, userfaultfd;
	unsigned int files;      /* descriptors it may have; 0: the default */
	const struct hide *hide; /* not as root: what it does not see; NULL: it sees all */
};

/* Parts of it, for a child of root whose jail somebody else makes; as jail_enter(). files 0: the
 * default. */
int jail_limit(unsigned int files);
int jail_no_new_privs(void);
/* For proc_spec.prepare; data is a struct jail. Allocates nothing. */
int jail_enter(void *data);

#endif
