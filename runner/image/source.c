#include "source.h"

#include "seal.h"
#include "storage.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_sha256(const char *what, const char *path, const char *want, const char *have,
			struct err *err)
{
	if (!want || strcasecmp(want, have) == 0)
		return 0;
	return err_set(err, ERR_SPEC, -EBADMSG, "%s '%s' has SHA-256 %s, the spec wants %s", what,
		       path, have, want);
}

static int digest_dir(const char *what, const char *path, const char *sha256,
		      char ret[DIGEST_HEX_SIZE], struct err *err)
{
	if (sha256)
		return err_set(err, ERR_SPEC, -EISDIR,
			       "%s '%s' is a directory and cannot have a sha256", what, path);
	return seal_digest_tree(path, ret, err);
}

int source_digest(const char *what, const char *path, const char *sha256, bool *ret_is_dir,
		  char ret[DIGEST_HEX_SIZE], struct err *err)
{
	char hex[DIGEST_HEX_SIZE];
	struct stat st;
	int r;

	if (stat(path, &st) < 0) {
		r = -errno;
		return err_set(err, ERR_SPEC, r, "cannot read %s '%s': %s", what, path,
			       strerror(-r));
	}
	if (S_ISDIR(st.st_mode) && ret_is_dir)
		r = digest_dir(what, path, sha256, hex, err);
	else if (S_ISREG(st.st_mode))
		r = digest_file(path, hex, err);
	else
		r = err_set(err, ERR_SPEC, -EINVAL, "%s '%s' is not a regular file%s", what, path,
			    ret_is_dir ? " or directory" : "");
	if (r == 0)
		r = check_sha256(what, path, sha256, hex, err);
	if (r < 0)
		return r;
	if (ret_is_dir)
		*ret_is_dir = S_ISDIR(st.st_mode);
	memcpy(ret, hex, sizeof(hex));
	return 0;
}

int source_copy(const char *what, const char *path, const char *digest, const char *to,
		struct err *err)
{
	const struct clone_file_spec spec = {
		.from = path, .to = to, .mode = 0644, .uid = geteuid(), .gid = getegid()};
	char hex[DIGEST_HEX_SIZE];
	int r = storage_clone_file(&spec, NULL, err);

	if (r == 0)
		r = digest_file(to, hex, err);
	if (r < 0)
		return err_wrap(err, "cannot copy %s '%s'", what, path);
	if (strcmp(hex, digest) != 0)
		return err_set(err, ERR_FAILED, -EAGAIN, "%s '%s' changed while it was copied",
			       what, path);
	return 0;
}
