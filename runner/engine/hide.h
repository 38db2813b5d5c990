/* hide.h - the user's files, out of a VMM's sight. An ordinary user's VMM has the user's own uid:
 * what it may open must not be what the user may open. In its own mount namespace everything is
 * read-only, the directories users keep their things in are empty, and of those only what the VM is
 * made of is put back. Their shared memory and queues are out of reach as well. */
#ifndef FCVM_ENGINE_HIDE_H
#define FCVM_ENGINE_HIDE_H

#include <stdbool.h>
#include <stddef.h>

#define HIDE_DIRS_MAX 8
#define HIDE_KEEP_MAX 8

struct hide {
	const char *dirs[HIDE_DIRS_MAX]; /* absolute; those that are absent do not matter */
	size_t n_dirs;
	struct hide_keep {
		const char *path; /* absolute directory; absent: nothing to keep */
		bool writable;
	} keep[HIDE_KEEP_MAX]; /* seen as before, wherever it lies */
	size_t n_keep;
	const char *cwd; /* one of them */
};

/* Between fork and exec, in a user namespace of ours; allocates nothing. 0 or a negative errno. */
int hide_enter(const struct hide *h);

#endif
