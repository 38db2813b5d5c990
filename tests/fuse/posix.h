/* posix.h - cases that run on the bare file system and through the mount, and must not differ.
 *
 * A case is a small tree (d/t, the object, in a directory of chosen mode and owner; o/u, a second
 * one), one operation and who does it. A table is laid out on both sides, run on both, and read
 * back three times: bare, through the mount, and below the mount. All three texts must be equal. */
#ifndef FCVM_TESTS_FUSE_POSIX_H
#define FCVM_TESTS_FUSE_POSIX_H

#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "world.h"

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

struct posix_case {
	const char *op;
	posix_fn run;
	posix_fn setup; /* as root on the bare files, after the tree was made; NULL = nothing */
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

/* Builds a table, runs it on both sides and fails the test with the first differences. */
typedef void (*posix_build)(struct posix_table *table);
void posix_compare(enum world_fs fs, const char *cache, const char *name, posix_build build);

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

/* Takes the caller's identity; posix_become(CRED_ROOT) gives it back. */
void posix_become(enum posix_cred_id cred);
/* Lays out d/t and o/u of a case in the working directory. */
void posix_lay_out(const struct posix_case *c);

/* The tables three times: ext4 with cache shared and (a quarter, but for FCVM_FUSE_FULL) strict,
 * btrfs with cache shared. */
#define POSIX_TABLE(name, build)                                 \
	Test(ext4_shared, name, .fini = world_cleanup)           \
	{                                                        \
		posix_compare(FS_EXT4, "shared", #name, build);  \
	}                                                        \
	Test(ext4_strict, name, .fini = world_cleanup)           \
	{                                                        \
		posix_compare(FS_EXT4, "strict", #name, build);  \
	}                                                        \
	Test(btrfs_shared, name, .fini = world_cleanup)          \
	{                                                        \
		posix_compare(FS_BTRFS, "shared", #name, build); \
	}

#endif
