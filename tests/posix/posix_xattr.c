/* posix_xattr.c - extended attributes and POSIX ACLs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "posix.h"
#include "xalloc.h"

static int give_xattr(const struct posix_case *c)
{
	(void)c;
	/* Links and fifos take no user attributes: then there is none. */
	(void)lsetxattr("d/t", "user.have", "value", 5, 0);
	return 0;
}

static char value[70000];

static void xattr_t(const struct posix_case *c, struct posix_at *at)
{
	static char got[70000];
	const char *name = c->s;

	switch (c->a) {
	case 0:
		(void)posix_result(at, "set", lsetxattr("d/t", name, "new", 3, 0));
		break;
	case 1:
		(void)posix_result(at, "set create",
				   lsetxattr("d/t", name, "new", 3, XATTR_CREATE));
		break;
	case 2:
		(void)posix_result(at, "set replace",
				   lsetxattr("d/t", name, "new", 3, XATTR_REPLACE));
		break;
	case 3:
		posix_result_data(at, "get", got, lgetxattr("d/t", name, got, sizeof(got)));
		break;
	case 4:
		(void)posix_result(at, "get size", lgetxattr("d/t", name, NULL, 0));
		break;
	case 5:
		(void)posix_result(at, "get small", lgetxattr("d/t", name, got, 2));
		break;
	case 6:
		(void)posix_result(at, "remove", lremovexattr("d/t", name));
		break;
	case 7:
		(void)posix_result(at, "set empty", lsetxattr("d/t", name, "", 0, 0));
		break;
	default: {
		static const int sizes[] = {1000, 3000, 65536, 65537};

		memset(value, 'v', sizeof(value));
		(void)posix_result(at, "set large",
				   lsetxattr("d/t", name, value, (size_t)sizes[c->a - 8], 0));
	}
	}
}

static const char long_name[] =
	"user.0123456789012345678901234567890123456789012345678901234567890123456789"
	"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
	"67890123456789";

void posix_build_xattr(struct posix_table *table)
{
	static const char *const names[] = {"user.have", "user.new", "system.x", "other",
					    "",          "user.",    long_name};
	static const enum posix_object kinds[] = {OBJ_NONE, OBJ_FILE, OBJ_DIR, OBJ_LINK, OBJ_FIFO};
	static const enum posix_cred_id creds[] = {CRED_ROOT, CRED_OWNER, CRED_OTHER};

	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (size_t i = 0; i < ARRAY_SIZE(creds); i++)
				for (int op = 0; op < 12; op++) {
					struct posix_case c = posix_default("xattr", xattr_t);

					if (op >= 8 && (n != 1 || kinds[k] != OBJ_FILE))
						continue;
					c.setup = give_xattr;
					c.t.object = kinds[k];
					c.cred = creds[i];
					c.a = op;
					c.s = names[n];
					posix_add(table, &c);
				}
}

static int cmp(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static void list_t(const struct posix_case *c, struct posix_at *at)
{
	char list[4096];
	const char *names[64];
	size_t n = 0;
	ssize_t len = llistxattr("d/t", c->a < 0 ? NULL : list, c->a < 0 ? 0 : (size_t)c->a);

	(void)posix_result(at, "list", len);
	for (const char *p = list; c->a > 0 && len > 0 && p < list + len; p += strlen(p) + 1)
		names[n++] = p;
	if (n)
		qsort(names, n, sizeof(*names), cmp);
	for (size_t i = 0; i < n; i++)
		buf_addf(at->out, ",%s", names[i]);
}

void posix_build_xattr_list(struct posix_table *table)
{
	static const int sizes[] = {-1, 5, 4096};
	static const enum posix_object kinds[] = {OBJ_FILE, OBJ_DIR, OBJ_LINK};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("list xattr", list_t);

				c.setup = give_xattr;
				c.t.object = kinds[k];
				c.cred = (enum posix_cred_id)cred;
				c.a = sizes[s];
				posix_add(table, &c);
			}
}

struct acl {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[6];
};

/* owner rw, UID_SUPP and group UID_GROUP as given, owning group none, mask, others none. */
static int set_acl(const char *path, const char *name, uint16_t named, uint16_t mask)
{
	struct acl acl = {
		POSIX_ACL_XATTR_VERSION,
		{{ACL_USER_OBJ, 6, UINT32_MAX},
		 {ACL_USER, named, UID_SUPP},
		 {ACL_GROUP_OBJ, 0, UINT32_MAX},
		 {ACL_GROUP, named, UID_OTHER},
		 {ACL_MASK, mask, UINT32_MAX},
		 {ACL_OTHER, 0, UINT32_MAX}},
	};

	return lsetxattr(path, name, &acl, sizeof(acl), 0);
}

static int give_acl(const struct posix_case *c)
{
	return set_acl("d/t", "system.posix_acl_access", (uint16_t)(c->b >> 3 & 7),
		       (uint16_t)(c->b & 7));
}

static void under_acl(const struct posix_case *c, struct posix_at *at)
{
	switch (c->a) {
	case 0:
		cleanup_close_p(&(int){posix_result_fd(at, "read", open("d/t", O_RDONLY))});
		break;
	case 1:
		cleanup_close_p(&(int){posix_result_fd(at, "write", open("d/t", O_WRONLY))});
		break;
	case 2:
		(void)posix_result(at, "access", faccessat(AT_FDCWD, "d/t", X_OK, AT_EACCESS));
		break;
	case 3:
		(void)posix_result(at, "chmod", chmod("d/t", 0640));
		break;
	case 4:
		(void)posix_result(at, "chmod", chmod("d/t", 02777));
		break;
	case 5:
		(void)posix_result(at, "acl", set_acl("d/t", "system.posix_acl_access", 4, 7));
		break;
	case 6:
		(void)posix_result(at, "no acl", lremovexattr("d/t", "system.posix_acl_access"));
		break;
	default:
		(void)posix_result(at, "default", set_acl("d/t", "system.posix_acl_default", 4, 7));
	}
}

void posix_build_acl(struct posix_table *table)
{
	static const int64_t bits[] = {077, 066, 044, 074, 047, 071, 007, 070};

	for (int op = 0; op < 8; op++)
		for (size_t b = 0; b < ARRAY_SIZE(bits); b++)
			for (int cred = 0; cred < CRED_COUNT; cred++) {
				struct posix_case c = posix_default("acl", under_acl);

				c.setup = give_acl;
				c.cred = (enum posix_cred_id)cred;
				c.a = op;
				c.b = bits[b];
				posix_add(table, &c);
			}
}

static int give_default_acl(const struct posix_case *c)
{
	return set_acl("d", "system.posix_acl_default", (uint16_t)(c->b >> 3 & 7),
		       (uint16_t)(c->b & 7));
}

static void make_under_default(const struct posix_case *c, struct posix_at *at)
{
	mode_t mode = (mode_t)(c->a >> 4);

	switch (c->a & 15) {
	case 0:
		cleanup_close_p(
			&(int){posix_result_fd(at, "open", open("d/new", O_CREAT | O_RDWR, mode))});
		break;
	case 1:
		(void)posix_result(at, "mkdir", mkdir("d/new", mode));
		break;
	case 2:
		(void)posix_result(at, "mkfifo", mkfifo("d/new", mode));
		break;
	case 3:
		(void)posix_result(at, "symlink", symlink("x", "d/new"));
		break;
	default:
		cleanup_close_p(&(int){
			posix_result_fd(at, "tmpfile", open("d", O_TMPFILE | O_RDWR, mode))});
	}
}

void posix_build_acl_default(struct posix_table *table)
{
	static const mode_t modes[] = {0666, 0777, 0600, 02755};
	static const mode_t umasks[] = {0, 022, 077};

	for (int what = 0; what < 5; what++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
			for (size_t u = 0; u < ARRAY_SIZE(umasks); u++)
				for (int cred = 0; cred < CRED_COUNT; cred++) {
					struct posix_case c =
						posix_default("default acl", make_under_default);

					c.setup = give_default_acl;
					c.dir.mode = cred % 2 ? 0777 : 02777;
					c.cred = (enum posix_cred_id)cred;
					c.umask = umasks[u];
					c.a = what | (int64_t)modes[m] << 4;
					c.b = cred % 2 ? 077 : 064;
					posix_add(table, &c);
				}
}
