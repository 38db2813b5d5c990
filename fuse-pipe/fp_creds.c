#include "fp_creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "xalloc.h"

#define CAP(name) (1ull << CAP_##name)
/* A guest that is trusted has checked permissions itself: what remains of the caller on the host is
 * who owns what it makes and whose set-id bits survive. */
#define CAPS_FULL_USER \
	(CAP(SETUID) | CAP(SETGID) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(MKNOD))
#define CAPS_SQUASHED (CAP(SETUID) | CAP(SETGID))
/* The directory belongs to root: so does the squashed root, but makes no devices or set-id files.
 */
#define CAPS_SQUASHED_ROOT \
	(CAPS_SQUASHED | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(CHOWN))

#define GROUPS_KEPT 32

struct rights {
	uid_t uid;
	gid_t gid;
	uint64_t caps;
	size_t n_groups;
	const struct fp_caller *of; /* where more than GROUPS_KEPT are read, while it is wanted */
	uint32_t groups[GROUPS_KEPT];
};

static _Thread_local struct {
	bool ready;
	bool able;
	bool unsure; /* a change failed half way: what is in force is not `now` */
	uint64_t permitted;
	struct rights own, now;
	mode_t mask;
} self;

static int set_caps(uint64_t effective)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)effective, (uint32_t)self.permitted, 0},
		{(uint32_t)(effective >> 32), (uint32_t)(self.permitted >> 32), 0},
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static void learn_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};

	if (syscall(SYS_capget, &head, data) < 0)
		return;
	self.permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	self.own.caps = (uint64_t)data[1].effective << 32 | data[0].effective;
}

int fp_creds_init(int cwd_fd, struct err *err)
{
	const uint64_t need = CAP(SETUID) | CAP(SETGID);

	if (unshare(CLONE_FS) < 0)
		return err_sys(err, "cannot give a thread a umask of its own");
	if (fchdir(cwd_fd) < 0)
		return err_sys(err, "cannot enter /proc/self/fd");
	(void)umask(0);
	self.mask = 0;
	learn_caps();
	self.able = geteuid() == 0 && (self.permitted & need) == need;
	self.own.uid = geteuid();
	self.own.gid = getegid();
	self.now = self.own;
	self.ready = true;
	/* Groups the server was started with must not help a guest. */
	if (self.able && syscall(SYS_setgroups, 0, NULL) < 0)
		return err_sys(err, "cannot drop supplementary groups");
	return 0;
}

void fp_creds_must_init(int cwd_fd)
{
	if (fp_creds_init(cwd_fd, NULL) < 0)
		abort();
}

bool fp_creds_able(void)
{
	return self.able;
}

/* setfsuid() and setfsgid() report nothing: asked again with an id that does not exist, they tell
 * what is in force. */
static int set_uid(uid_t uid)
{
	(void)syscall(SYS_setfsuid, uid);
	return syscall(SYS_setfsuid, -1) == (long)uid ? 0 : -EPERM;
}

static int set_gid(gid_t gid)
{
	(void)syscall(SYS_setfsgid, gid);
	return syscall(SYS_setfsgid, -1) == (long)gid ? 0 : -EPERM;
}

static bool same_groups(const struct rights *a, const struct rights *b)
{
	return a->n_groups == b->n_groups && a->n_groups <= GROUPS_KEPT &&
	       memcmp(a->groups, b->groups, a->n_groups * sizeof(a->groups[0])) == 0;
}

static uint32_t group_at(const struct fp_caller *caller, size_t i)
{
	uint32_t gid = load_le32(caller->groups + 4 * i);

	return gid == 0 ? caller->root_gid : gid;
}

static int set_groups(const struct rights *want)
{
	auto_free uint32_t *many = NULL;
	const uint32_t *list = want->groups;

	if (want->n_groups > GROUPS_KEPT) {
		many = xcalloc(want->n_groups, sizeof(*many));
		for (size_t i = 0; i < want->n_groups; i++)
			many[i] = group_at(want->of, i);
		list = many;
	}
	return syscall(SYS_setgroups, want->n_groups, list) < 0 ? -errno : 0;
}

/* Groups and group first: they need the rights that a user id takes away. After a failure nothing
 * is taken for granted: ids and groups that do not exist are a guest's to send, and what they left
 * in force must not pass for its next caller's. */
static int become(const struct rights *want)
{
	const bool groups = self.unsure || !same_groups(want, &self.now);
	const bool gid = self.unsure || want->gid != self.now.gid;
	const bool uid = self.unsure || want->uid != self.now.uid;
	int r = 0;

	if (!self.able)
		return 0;
	if (!groups && !gid && !uid && want->caps == self.now.caps)
		return 0;
	if (groups)
		r = set_groups(want);
	if (r == 0 && gid)
		r = set_gid(want->gid);
	if (r == 0 && uid)
		r = set_uid(want->uid);
	/* A change of user id changes effective capabilities by itself. */
	if (r == 0 && (uid || want->caps != self.now.caps))
		r = set_caps(want->caps);
	self.now = *want;
	self.unsure = r < 0;
	return r < 0 ? -EPERM : 0;
}

int fp_creds_server(void)
{
	return become(&self.own);
}

static void lend_groups(const struct fp_caller *caller, struct rights *want)
{
	want->gid = caller->gid;
	want->n_groups = caller->n_groups;
	want->of = caller;
	for (size_t i = 0; i < want->n_groups && i < GROUPS_KEPT; i++)
		want->groups[i] = group_at(caller, i);
}

int fp_creds_kill_suid(const struct fp_caller *caller)
{
	struct rights want = self.own;

	if (caller)
		lend_groups(caller, &want);
	want.caps &= ~CAP(FSETID);
	return become(&want);
}

static uint64_t caps_of(uid_t uid, enum fp_trust trust)
{
	if (trust == FP_FULL)
		return uid == 0 ? self.own.caps : self.permitted & CAPS_FULL_USER;
	return self.permitted & (uid == 0 ? CAPS_SQUASHED_ROOT : CAPS_SQUASHED);
}

int fp_creds_caller(const struct fp_caller *caller, enum fp_trust trust)
{
	struct rights want = {.uid = caller->uid, .caps = caps_of(caller->uid, trust)};

	lend_groups(caller, &want);
	return become(&want);
}

void fp_creds_umask(mode_t mask)
{
	if (mask == self.mask)
		return;
	(void)umask(mask & 0777);
	self.mask = mask;
}
