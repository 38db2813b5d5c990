#include "volset.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "freezer.h"
#include "io.h"
#include "parse.h"
#include "run.h"
#include "strv.h"
#include "xalloc.h"

#define N_VOLUMES 4

struct rig {
	char *dir;
	struct host host;
	struct loop *loop;
	struct volume_list list;
	struct volset *volumes;
	pid_t pids[N_VOLUMES]; /* of the servers */
};

static void add_volume(struct rig *r, int number)
{
	auto_free char *name = xasprintf("v%d", number), *target = xasprintf("/v%d", number);
	auto_free char *source = path_join(r->dir, name);
	const struct volume_mount m = {
		.name = name, .target = target, .source = source, .cache = VOLUME_SHARED};

	cr_assert_eq(mkdir(source, 0755), 0);
	volume_list_add(&r->list, &m);
}

/* --- what a stop does, in its order --- */

static struct {
	bool on;
	char what[64]; /* 'w' for a wait, '.' for one whose time is over, 'k' for a SIGKILL */
	size_t n;
} noted;

static void note(char what)
{
	if (noted.on && noted.n < sizeof(noted.what) - 1)
		noted.what[noted.n++] = what;
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	note(timeout_ms > 100 ? 'w' : '.');
	return (int)syscall(SYS_poll, fds, n, timeout_ms);
}

int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)
{
	note(sig == SIGKILL ? 'k' : '?');
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, info, flags);
}

/* All our children are servers. */
static void find_servers(struct rig *r)
{
	auto_buf struct buf text = BUF_INIT(4096);
	auto_strv struct strv words = {0};
	uint64_t pid = 0;

	cr_assert_geq(file_read("/proc/thread-self/children", 4095, &text, NULL), 0);
	cr_assert_geq(parse_words(buf_str(&text), &words, NULL), 0);
	cr_assert_eq(words.n, N_VOLUMES, "children: %s", buf_str(&text));
	for (size_t i = 0; i < N_VOLUMES; i++) {
		cr_assert_geq(parse_u64(words.v[i], 2, INT32_MAX, &pid, NULL), 0);
		r->pids[i] = (pid_t)pid;
	}
}

static void rig_start(struct rig *r)
{
	struct err err = {0};

	*r = (struct rig){.dir = tmpdir_new("volset")};
	cr_assert_geq(host_init(&r->host, r->dir, &err), 0, "%s", err.msg);
	free(r->host.exe);
	r->host.exe = realpath(run_fcvm_path(), NULL);
	cr_assert(r->host.exe, "no '%s'", run_fcvm_path());
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	for (int i = 0; i < N_VOLUMES; i++)
		add_volume(r, i);
	const struct volset_spec spec = {
		.host = &r->host, .dir = r->dir, .tag = "test/vm/one", .list = &r->list};

	cr_assert_eq(volset_start(r->loop, &spec, &r->volumes, &err), 0, "%s", err.msg);
	find_servers(r);
}

static void rig_stop(struct rig *r)
{
	volset_stop(r->volumes);
	r->volumes = NULL;
}

static void rig_free(struct rig *r)
{
	rig_stop(r);
	loop_free_p(&r->loop);
	host_free(&r->host);
	volume_list_free(&r->list);
	tmpdir_remove(&r->dir);
}
#define auto_rig __attribute__((cleanup(rig_free)))

Test(volset, stopped_all_its_servers_are_gone)
{
	auto_rig struct rig r;

	rig_start(&r);
	rig_stop(&r);
	for (size_t i = 0; i < N_VOLUMES; i++)
		cr_expect_eq(kill(r.pids[i], 0), -1, "server %zu", i);
}

/* One disk under all of them: one after the other they would cost the sum. */
Test(volset, servers_that_cannot_be_killed_are_given_up_together)
{
	auto_free char *freezer = freezer_new();
	auto_rig struct rig r;
	int status = 0;

	rig_start(&r);
	for (size_t i = 0; i < N_VOLUMES; i++)
		freezer_take(freezer, r.pids[i]);
	freezer_freeze(freezer);
	noted.on = true;
	rig_stop(&r);
	noted.on = false;
	cr_expect_str_eq(noted.what, "w...kkkkw...");
	for (size_t i = 0; i < N_VOLUMES; i++)
		cr_expect_eq(waitpid(r.pids[i], &status, WNOHANG), 0, "it is there");
	freezer_let_go(freezer);
	for (size_t i = 0; i < N_VOLUMES; i++) {
		cr_expect_eq(waitpid(r.pids[i], &status, 0), r.pids[i]);
		cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	cr_expect_eq(rmdir(freezer), 0);
}
