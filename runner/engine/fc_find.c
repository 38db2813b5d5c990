#include "fc_find.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "parse.h"
#include "proc.h"
#include "xalloc.h"

#define FC_NAME "firecracker"
#define ASK_DEADLINE_MS 20000
#define TEXT_MAX 4096
#define NUMBER_MAX 100000

/* 1.12 keeps the hand-off socket open, sends REMOVE events, and boots by PVH. */
static const struct fc_version oldest = {1, 12, 0};

static const struct fc_version since[FC_N_FEATURES] = {
	[FC_NETWORK_OVERRIDES] = {1, 12, 0},
	[FC_VSOCK_OVERRIDE] = {1, 16, 0},
	[FC_CLOCK_REALTIME] = {1, 16, 0},
};

int fc_find(const struct host *host, char **ret, struct err *err)
{
	const char *wish = host->getenv("FCVM_FIRECRACKER");
	const char *path = host->getenv("PATH");
	auto_free char *found =
		wish && *wish ? xstrdup(wish) : proc_find(FC_NAME, path ? path : "/usr/bin");
	auto_free char *real = found ? realpath(found, NULL) : NULL;

	if (real && access(real, X_OK) == 0) {
		*ret = TAKE_PTR(real);
		return 0;
	}
	if (wish && *wish)
		return err_set(err, ERR_HOST, -ENOENT,
			       "FCVM_FIRECRACKER names '%s', which cannot be run", wish);
	err_set(err, ERR_HOST, -ENOENT, FC_NAME " is not installed");
	return err_hint(err, "put a release of it on PATH, or name it in FCVM_FIRECRACKER");
}

static int run(const char *binary, const char *option, struct buf *out, struct err *err)
{
	const char *const argv[] = {binary, option, NULL};
	const struct tool_spec tool = {
		.argv = argv,
		.in = -1,
		.out = -1,
		.stdout_to = out,
		.deadline_ms = deadline_in(ASK_DEADLINE_MS),
		.no_namespace = true,
	};

	return tool_run(&tool, err);
}

int fc_ask(const char *binary, struct probe_binary *ret, struct err *err)
{
	auto_buf struct buf version = BUF_INIT(TEXT_MAX), format = BUF_INIT(TEXT_MAX);
	int r = run(binary, "--version", &version, err);

	if (r == 0)
		r = run(binary, "--snapshot-version", &format, err);
	if (r == 0)
		r = fc_parse_version(buf_str(&version), ret->version, sizeof(ret->version), err);
	if (r == 0)
		r = fc_parse_format(buf_str(&format), ret->format, sizeof(ret->format), err);
	return r;
}

/* Takes "v1.2.3-words" off the front of text. */
static int take_number(const char *text, char *ret, size_t size)
{
	size_t len = *text == 'v' ? strcspn(text + 1, " \r\n\t") : 0;

	if (len == 0 || len >= size)
		return -EBADMSG;
	(void)snprintf(ret, size, "%.*s", (int)len, text + 1);
	return 0;
}

/* mark is what stands in front of the number, with its v. */
static int parse_version(const char *text, const char *mark, const char *whose, char *ret,
			 size_t size, struct err *err)
{
	const char *at = strstr(text, mark);
	char number[32];
	struct fc_version v;

	if (!at || take_number(at + strlen(mark) - 1, number, sizeof(number)) < 0 ||
	    fc_read_version(number, &v, NULL) < 0)
		return err_set(err, ERR_HOST, -EBADMSG, "cannot tell %s version from '%.80s'",
			       whose, text);
	(void)snprintf(ret, size, "%s", number);
	return 0;
}

int fc_parse_version(const char *text, char *ret, size_t size, struct err *err)
{
	return parse_version(text, "Firecracker v", "firecracker's", ret, size, err);
}

int fc_ask_jailer(const char *binary, struct probe_binary *ret, struct err *err)
{
	auto_buf struct buf version = BUF_INIT(TEXT_MAX);
	int r = run(binary, "--version", &version, err);

	return r < 0 ? r
		     : parse_version(buf_str(&version), "Jailer v", "the jailer's", ret->version,
				     sizeof(ret->version), err);
}

int fc_parse_format(const char *text, char *ret, size_t size, struct err *err)
{
	char number[32];
	struct fc_version v;

	if (take_number(text, number, sizeof(number)) < 0 || fc_read_version(number, &v, NULL) < 0)
		return err_set(err, ERR_HOST, -EBADMSG,
			       "cannot tell firecracker's snapshot format from '%.80s'", text);
	(void)snprintf(ret, size, "%s", number);
	return 0;
}

static int take_part(const char **at, char end, unsigned int *ret)
{
	size_t len = strspn(*at, "0123456789");
	auto_free char *digits = xstrndup(*at, len);
	uint64_t n = 0;

	if (parse_u64(digits, 0, NUMBER_MAX, &n, NULL) < 0 || (end && (*at)[len] != end))
		return -EBADMSG;
	*ret = (unsigned int)n;
	*at += len + (end != '\0');
	return 0;
}

int fc_read_version(const char *text, struct fc_version *ret, struct err *err)
{
	struct fc_version v = {0, 0, 0};
	const char *at = text;

	if (take_part(&at, '.', &v.major) < 0 || take_part(&at, '.', &v.minor) < 0 ||
	    take_part(&at, '\0', &v.patch) < 0 || (*at != '\0' && *at != '-'))
		return err_set(err, ERR_HOST, -EBADMSG, "'%.40s' is no version", text);
	*ret = v;
	return 0;
}

static bool is_since(const struct fc_version *v, const struct fc_version *first)
{
	if (v->major != first->major)
		return v->major > first->major;
	if (v->minor != first->minor)
		return v->minor > first->minor;
	return v->patch >= first->patch;
}

int fc_check_version(const struct fc_version *v, struct err *err)
{
	if (!is_since(v, &oldest))
		return err_set(err, ERR_HOST, -EOPNOTSUPP,
			       "firecracker %u.%u.%u is too old, at least %u.%u is needed",
			       v->major, v->minor, v->patch, oldest.major, oldest.minor);
	if (v->major == 1 && v->minor == 16 && v->patch == 0)
		return err_set(err, ERR_HOST, -EOPNOTSUPP,
			       "firecracker 1.16.0 is refused: the guest's side of vsock can hang "
			       "after a restore; 1.16.1 mends it");
	if (v->major != oldest.major)
		return err_set(err, ERR_HOST, -EOPNOTSUPP,
			       "firecracker %u.%u.%u is newer than this fcvm knows", v->major,
			       v->minor, v->patch);
	return 0;
}

bool fc_has(const struct fc_version *v, enum fc_feature feature)
{
	return is_since(v, &since[feature]);
}

bool fc_kernel_sets_clock(const char *release)
{
	static const struct fc_version first = {5, 16, 0};
	struct fc_version v = {0, 0, 0};
	const char *at = release;

	if (take_part(&at, '.', &v.major) < 0 || take_part(&at, '\0', &v.minor) < 0)
		return false;
	return is_since(&v, &first);
}
