/* set.h - <data>/sets/NAME: whose it is, and the lock that lets one command change it.
 *
 * set.json holds the set's UUID and the real path of the spec it belongs to (decisions 6). */
#ifndef FCVM_RECONCILE_SET_H
#define FCVM_RECONCILE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "fleet.h"
#include "host.h"

#define SET_IMPERATIVE FLEET_BY_HAND

struct set {
	char *name, *dir;
	char uuid[37];
	int lock_fd; /* -1 while not locked */
	bool is_new; /* made by this set_open(): nothing else is in its directory */
};
#define auto_set __attribute__((cleanup(set_close)))

struct set_open {
	const char *name;
	const char *spec_path; /* real path; NULL: imperative or by name only */
	bool create;           /* else -ENOENT when it is not there */
	bool take_over;
	bool wait; /* for the lock; false: ERR_BUSY (exit 7) */
	uint64_t deadline_ms;
	void (*say)(void *data, const char *text); /* who holds the lock; may be NULL */
	void *data;
};

/* Opens, locks and checks the owner; makes the directory when create is set. */
int set_open(const struct host *host, const struct set_open *how, struct set *ret, struct err *err);
/* Without lock and without changing anything (plan, ps): only whose it is. */
int set_check_owner(const struct host *host, const char *name, const char *spec_path,
		    struct err *err);
/* Removes what is left of the directory and lets go of the lock. */
int set_remove(struct set *s, struct err *err);
void set_close(struct set *s);

#endif
