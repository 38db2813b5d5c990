#include "fp_locks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_abi.h"
#include "run.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int n, results[8];
	const char *tickets[8];
} ended = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void done(void *ticket, int result)
{
	(void)pthread_mutex_lock(&ended.lock);
	ended.tickets[ended.n] = ticket;
	ended.results[ended.n++] = result;
	(void)pthread_cond_broadcast(&ended.changed);
	(void)pthread_mutex_unlock(&ended.lock);
}

static void wait_for(int n)
{
	(void)pthread_mutex_lock(&ended.lock);
	while (ended.n < n)
		(void)pthread_cond_wait(&ended.changed, &ended.lock);
	(void)pthread_mutex_unlock(&ended.lock);
}

struct world {
	char *dir;
	int fd, proc;
	struct fp_inodes *inodes;
	struct fp_locks *l;
	struct fp_inode *in;
};

static void begin(struct world *w)
{
	struct stat st;
	bool is_new;

	w->dir = tmpdir_new("locks");
	w->fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(fp_inodes_new(w->fd, 100, &w->inodes, NULL), 0);
	cr_assert_eq(fp_locks_new(w->inodes, w->proc, done, &w->l, NULL), 0);
	int fd = openat(w->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && fstat(fd, &st) == 0);
	cr_assert_eq(fp_inode_add(w->inodes, fd, &st, 0, NULL, &w->in, &is_new), 0);
}

static void end(struct world *w)
{
	fp_inode_put(w->inodes, w->in);
	fp_locks_free(w->l);
	fp_inodes_free(w->inodes);
	cleanup_close_p(&w->fd);
	cleanup_close_p(&w->proc);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(end)))

static struct fp_lock_want want(uint64_t owner, short type, int64_t start, int64_t len)
{
	return (struct fp_lock_want){
		.owner = owner, .type = type, .start = start, .len = len, .pid = (uint32_t)owner};
}

static int set(struct world *w, struct fp_lock_want k)
{
	return fp_lock_set(w->l, w->in, &k);
}

static int wait_on(struct world *w, const struct fp_lock_want *k, uint64_t unique, void *ticket)
{
	return fp_lock_wait(w->l, w->in, k, &(struct fp_lock_waiter){unique, ticket, ticket});
}

Test(fp_locks, ranges_of_owners_are_kept_apart)
{
	auto_world struct world w = {0};

	begin(&w);
	cr_expect_eq(set(&w, want(1, F_WRLCK, 0, 10)), 0);
	cr_expect_eq(set(&w, want(2, F_WRLCK, 10, 10)), 0);
	cr_expect_eq(set(&w, want(2, F_RDLCK, 5, 1)), -EAGAIN);
	cr_expect_eq(set(&w, want(1, F_RDLCK, 0, 10)), 0, "its own, made weaker");
	cr_expect_eq(set(&w, want(2, F_RDLCK, 5, 1)), 0);
	cr_expect_eq(set(&w, want(3, F_UNLCK, 0, 0)), 0, "nothing to let go of");
}

/* Of many files: the kernel looks through all locks of one. The last first: it is put in front. */
Test(fp_locks, a_guest_holds_so_many_parts_and_no_more)
{
	enum { FILES = 64, PARTS = FP_RANGES_MAX / FILES };
	auto_world struct world w = {0};
	struct fp_inode *of[FILES];
	int refused = 0;

	begin(&w);
	for (int i = 0; i < FILES; i++) {
		char name[16];
		struct stat st;
		bool is_new;

		(void)snprintf(name, sizeof(name), "many%d", i);
		int fd = openat(w.fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		cr_assert(fd >= 0 && fstat(fd, &st) == 0);
		cr_assert_eq(fp_inode_add(w.inodes, fd, &st, 0, NULL, &of[i], &is_new), 0);
		for (int64_t at = PARTS; at > 0 && refused == 0; at--) {
			struct fp_lock_want k = want(1, F_WRLCK, 2 * at, 1);

			refused = fp_lock_set(w.l, of[i], &k);
		}
	}
	cr_expect_eq(refused, -ENOLCK);
	cr_expect_eq(set(&w, want(2, F_RDLCK, 0, 1)), -ENOLCK);
	struct fp_lock_want all = want(1, F_UNLCK, 0, 0);
	cr_expect_eq(fp_lock_set(w.l, of[0], &all), 0, "letting go is always possible");
	cr_expect_eq(set(&w, want(2, F_RDLCK, 0, 1)), 0);
	for (int i = 0; i < FILES; i++)
		fp_inode_put(w.inodes, of[i]);
}

Test(fp_locks, the_one_in_the_way_is_named)
{
	auto_world struct world w = {0};
	struct fp_lock_want k = want(9, F_WRLCK, 0, 0);

	begin(&w);
	cr_expect_eq(set(&w, want(1, F_WRLCK, 0, 10)), 0);
	cr_expect_eq(set(&w, want(2, F_WRLCK, 100, 10)), 0);
	cr_expect_eq(set(&w, want(3, F_WRLCK, 200, 10)), 0);
	k.start = 105;
	cr_expect_eq(fp_lock_get(w.l, w.in, &k), 0);
	cr_expect(k.type == F_WRLCK && k.start == 100 && k.len == 10 && k.pid == 2);
	k = want(9, F_WRLCK, 50, 10);
	cr_expect_eq(fp_lock_get(w.l, w.in, &k), 0);
	cr_expect(k.type == F_UNLCK && k.pid == 0);
}

Test(fp_locks, dropping_an_owner_lets_the_next_in)
{
	auto_world struct world w = {0};
	struct fp_lock_want k = want(2, F_WRLCK, 0, 0);
	char ticket[] = "second";

	begin(&w);
	cr_expect_eq(set(&w, want(1, F_WRLCK, 0, 0)), 0);
	cr_expect_eq(wait_on(&w, &k, 50, ticket), 1);
	cr_expect_eq(fp_locks_waiting(w.l), 1);
	fp_lock_drop(w.l, w.in, 1, true);
	cr_expect_eq(set(&w, want(3, F_RDLCK, 0, 0)), -EAGAIN, "flock is another kind");
	fp_lock_drop(w.l, w.in, 1, false);
	wait_for(1);
	cr_expect(ended.tickets[0] == ticket && ended.results[0] == 0);
	cr_expect_eq(set(&w, want(1, F_WRLCK, 0, 0)), -EAGAIN);
}

Test(fp_locks, waits_end_when_interrupted_and_when_all_is_over)
{
	auto_world struct world w = {0};
	struct fp_lock_want k = want(2, F_WRLCK, 0, 0);
	char a[] = "a", b[] = "b";

	begin(&w);
	cr_expect_eq(set(&w, want(1, F_WRLCK, 0, 0)), 0);
	cr_expect_eq(wait_on(&w, &k, 50, a), 1);
	cr_expect_eq(wait_on(&w, &k, 52, b), 1);
	fp_lock_interrupt(w.l, 50);
	wait_for(1);
	cr_expect(ended.tickets[0] == a && ended.results[0] == -EINTR);
	fp_lock_interrupt(w.l, 54);
	cr_expect_eq(wait_on(&w, &k, 54, a), -EINTR, "it came first");
	cr_expect_eq(wait_on(&w, &k, 54, a), 1, "once");
	fp_locks_cancel(w.l, &w);
	cr_expect_eq(fp_locks_waiting(w.l), 2, "another's");
	fp_locks_cancel(w.l, NULL);
	wait_for(3);
	cr_expect(ended.results[1] == -EINTR && ended.results[2] == -EINTR);
}

Test(fp_locks, pipes_have_none)
{
	auto_world struct world w = {0};
	struct fp_inode *in;
	struct stat st;
	bool is_new;

	begin(&w);
	cr_assert_eq(mkfifoat(w.fd, "p", 0600), 0);
	int fd = openat(w.fd, "p", O_PATH | O_CLOEXEC);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(fp_inode_add(w.inodes, fd, &st, 0, NULL, &in, &is_new), 0);
	struct fp_lock_want k = want(1, F_WRLCK, 0, 0);
	cr_expect_eq(fp_lock_set(w.l, in, &k), -EINVAL);
	fp_inode_put(w.inodes, in);
}

Test(fp_locks, no_descriptor_for_a_directory_is_said_as_what_it_is)
{
	auto_world struct world w = {0};
	struct rlimit was, none;

	begin(&w);
	struct fp_inode *root = fp_inode_get(w.inodes, FUSE_ROOT_ID);
	struct fp_lock_want k = want(1, F_WRLCK, 0, 0);
	k.flock = true;
	cr_expect_eq(fp_lock_set(w.l, root, &k), 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = was.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	k.owner = 2;
	cr_expect_eq(fp_lock_set(w.l, root, &k), -EMFILE);
	/* LeakSanitizer waits for ever for a helper that can open nothing. */
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	fp_inode_put(w.inodes, root);
}

/* A lock of an open file (F_OFD_SETLK) has an owner that no message of its end names. */
Test(fp_locks, what_was_asked_through_a_file_ends_with_it)
{
	auto_world struct world w = {0};
	struct fp_lock_want a = want(1, F_RDLCK, 0, 0), b = want(2, F_RDLCK, 0, 0);

	begin(&w);
	a.file = 7;
	b.file = 8;
	cr_expect(set(&w, a) == 0 && set(&w, b) == 0);
	fp_lock_drop_file(w.l, w.in, 7);
	cr_expect_eq(set(&w, want(3, F_WRLCK, 0, 0)), -EAGAIN);
	fp_lock_drop_file(w.l, w.in, 8);
	cr_expect_eq(set(&w, want(3, F_WRLCK, 0, 0)), 0);
}

/* Also when nothing was locked: asking takes a descriptor, and so does being refused. */
Test(fp_locks, who_asked_in_vain_leaves_nothing_behind)
{
	auto_world struct world w = {0};

	begin(&w);
	cr_assert_eq(set(&w, want(1, F_WRLCK, 0, 0)), 0);
	for (uint64_t i = 0; i <= FP_LOCKS_MAX; i++) {
		struct fp_lock_want asks = want(2 + 2 * i, F_WRLCK, 0, 0);
		struct fp_lock_want tries = want(3 + 2 * i, F_WRLCK, 0, 0);

		asks.file = tries.file = 7 + i;
		cr_assert_eq(fp_lock_get(w.l, w.in, &asks), 0, "%zu", (size_t)i);
		cr_assert_eq(set(&w, tries), -EAGAIN, "%zu", (size_t)i);
		fp_lock_drop_file(w.l, w.in, 7 + i);
	}
}
