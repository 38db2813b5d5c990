/* posix.h - cases that run on the bare file system and through the mount, and must not differ. libc
 * only: the same tables run on the host (tests/fuse) and inside guests (tests/guest/posix_smoke).
 *
 * A case is a small tree (d/t, the object, in a directory of chosen mode and owner; o/u, a second
 * one), one operation and who does it. A table is laid out on both sides, run on both, and read
 * back three times: bare, through the mount, and below the mount. All three texts must be equal. */
#ifndef FCVM_TESTS_POSIX_H
#define FCVM_TESTS_POSIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

enum posix_object {
	OBJ_NONE,
	OBJ_FILE,     /* "0123456789\n" */
	OBJ_DIR,      /* empty */
	OBJ_FULL,     /* a directory with a file in it */
	OBJ_LINK,     /* to a file */
	OBJ_DANGLING, /* to nothing */
	OBJ_DIRLINK,  /* to a directory */
	OBJ_LOOP,     /* to itself */
	OBJ_FIFO,
	OBJ_SOCK,
	OBJ_CHR, /* /dev/null's number */
	OBJ_BLK, /* a number nobody has */
	OBJ_COUNT,
};

/* The callers, in the order of posix_creds. */
enum posix_cred_id {
	CRED_ROOT,
	CRED_OWNER, /* uid and group of the object */
	CRED_ALIEN, /* uid of the object, in none of its groups */
	CRED_GROUP, /* another uid, the object's group */
	CRED_SUPP,  /* another uid, the object's group as a supplementary one */
	CRED_OTHER, /* nothing in common */
	CRED_COUNT,
};

#define UID_OWNER 1001u
#define UID_GROUP 1002u
#define UID_SUPP 1003u
#define UID_OTHER 1004u

struct posix_node {
	enum posix_object object;
	mode_t mode; /* symbolic links have none */
	uid_t uid;
	gid_t gid;
};

struct posix_at {
	struct buf *out;
	const char *root; /* path of the case's directory, which is also the working directory */
};

struct posix_case;
typedef void (*posix_fn)(const struct posix_case *c, struct posix_at *at);
/* 0, or -1 with errno. */
typedef int (*posix_setup)(const struct posix_case *c);

struct posix_case {
	const char *op;
	posix_fn run;
	posix_setup setup; /* as root on the bare files, after the tree was made; NULL = nothing */
	struct posix_node dir, t, u;
	enum posix_cred_id cred;
	mode_t umask;
	/* Reads nothing, at the end of d/t: FUSE answers that from the size it knows, and the
	 * access time, which is not compared then, stays as it was. */
	bool reads_end;
	int64_t a, b; /* the operation's own */
	const char *s;
};

struct posix_table {
	struct posix_case *cases;
	size_t n, cap;
};

/* A case of an owner's file in an owner's directory, to be changed and added. */
struct posix_case posix_default(const char *op, posix_fn run);
void posix_add(struct posix_table *table, const struct posix_case *c);

/* Every table there is; X(name). */
/* clang-format off */
#define POSIX_TABLES(X) \
	X(make) X(over) X(remove) X(rename) X(rename_rights) X(paths) X(open_kinds) X(open_modes) \
	X(access) X(search) X(chmod) X(chown) X(truncate) X(utimens) X(killpriv) X(offsets) \
	X(allocate) X(copy) X(gone) X(map) X(xattr) X(xattr_list) X(acl) X(acl_default) X(locks)
/* clang-format on */
#define POSIX_BUILDER(name) void posix_build_##name(struct posix_table *table);
POSIX_TABLES(POSIX_BUILDER)

typedef void (*posix_build)(struct posix_table *table);
/* Of every `step` cases the first. */
void posix_thin_out(struct posix_table *table, size_t step);

/* Empty directories, by descriptor and by absolute path. */
struct posix_sides {
	int bare_fd, mount_fd;
	int below_fd; /* what mount_fd shows, without the mount; -1: out of reach */
	const char *bare, *mount;
	bool flush; /* the file systems tell holes from data only once that is on disk */
};
/* Lays the table out on both sides, runs it and compares; the first differences go to report. The
 * number of cases that differ, or a negative errno. As root; the working directory is / after it.
 */
int posix_run(const struct posix_table *table, const struct posix_sides *sides, struct buf *report,
	      struct err *err);

/* One word of an operation's result: "open=0", "open=-EACCES". Returns r. */
long posix_result(struct posix_at *at, const char *what, long r);
/* The same for a descriptor, whose number says nothing. */
int posix_result_fd(struct posix_at *at, const char *what, int fd);
/* Type, mode, owner, size and links of an open file, in one word. */
void posix_result_stat(struct posix_at *at, const char *what, int fd);
void posix_result_data(struct posix_at *at, const char *what, const void *data, long n);

/* Every object below dir_fd with all attributes, one line each, in order of name; times are
 * compared with `since`: '+' newer, '=' as laid out, or the number that was set. */
struct posix_since {
	int64_t sec;
	int64_t nsec;
};
#define POSIX_TIME 1000000000 /* what every access and modification time is laid out with */
void posix_dump(int dir_fd, const struct posix_since *since, bool without_atime, struct buf *out);

/* Takes the caller's identity; caller_become(CRED_ROOT) gives it back. 0, or -1 with errno. */
int caller_become(enum posix_cred_id cred);
/* Lays out d/t and o/u of a case in the working directory. */
int posix_lay_out(const struct posix_case *c, struct err *err);

/* Range 0 is the whole file. */
enum posix_lock_kind { LOCK_OF_PROCESS, LOCK_OF_FILE, LOCK_OF_FLOCK, LOCK_OF_COUNT };
int range_lock(int fd, enum posix_lock_kind kind, int type, size_t range, bool wait);

#endif
