#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "parse.h"
#include "proc.h"
#include "xalloc.h"

/* The last entries are enough to know how the run before ended. */
#define TAIL_MAX (64u << 10)

struct journal {
	const struct host *host;
	int fd;
	char run[9];
	pid_t owner;
	/* Shared with forked steps, so that the N-th write is the N-th of the whole run. */
	atomic_uint *writes;
	uint64_t kill_at; /* test builds only; 0 = never */
};

#ifdef FCVM_TEST_HOOKS
/* kill -9 of the whole apply at the N-th entry, wherever it is written. */
static void test_kill_point(struct journal *j)
{
	if (j->kill_at == 0 || atomic_fetch_add(j->writes, 1) + 1 != j->kill_at)
		return;
	if (getpid() != j->owner) {
		struct proc_id id;
		int pidfd = -1;

		if (proc_id_of(j->owner, &id, NULL) >= 0 &&
		    proc_id_open(&id, j->host->boot_id, &pidfd) >= 0)
			(void)proc_signal(pidfd, SIGKILL);
	}
	(void)raise(SIGKILL);
}

static void test_read_kill_point(struct journal *j)
{
	const char *at = j->host->getenv("FCVM_KILL_AT");

	if (at)
		(void)parse_u64(at, 1, UINT32_MAX, &j->kill_at, NULL);
}
#else
static void test_kill_point(struct journal *j)
{
	(void)j;
}
static void test_read_kill_point(struct journal *j)
{
	(void)j;
}
#endif

int journal_add(struct journal *j, const char *op, const char *address, const char *text,
		struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	char now[IO_TIME_SIZE];

	io_time_rfc3339(j->host->unix_ms(), now);
	json_add_str(o, "t", now);
	json_add_str(o, "run", j->run);
	json_add_str(o, "op", op);
	json_add_str(o, "address", address);
	if (text)
		json_add_str(o, "text", text);
	auto_free char *line = json_line(o);
	auto_free char *whole = xasprintf("%s\n", line);
	/* One write of O_APPEND: lines of several steps do not mix. */
	if (write(j->fd, whole, strlen(whole)) != (ssize_t)strlen(whole) || fdatasync(j->fd) < 0)
		return err_sys(err, "cannot write the journal");
	test_kill_point(j);
	return 0;
}

static void take_line(const char *line, size_t len, struct journal_last *last)
{
	auto_json struct json_object *o = NULL;

	if (json_parse(line, len, &o, NULL) < 0 || !json_object_is_type(o, json_type_object))
		return;
	const char *op = json_opt_str(o, "op", "");
	if (strcmp(op, "begin") == 0) {
		*last = (struct journal_last){.unfinished = true};
		snprintf(last->run, sizeof(last->run), "%s", json_opt_str(o, "run", ""));
		snprintf(last->when, sizeof(last->when), "%s", json_opt_str(o, "t", ""));
	} else if (strcmp(op, "end") == 0) {
		last->unfinished = false;
	} else if (strcmp(op, "intent") == 0) {
		snprintf(last->doing, sizeof(last->doing), "%s %s", json_opt_str(o, "text", ""),
			 json_opt_str(o, "address", ""));
	}
}

static int read_last(int fd, struct journal_last *ret, struct err *err)
{
	auto_free char *text = xmalloc(TAIL_MAX);
	struct journal_last last = {0};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot read the journal");
	off_t from = st.st_size > TAIL_MAX ? st.st_size - TAIL_MAX : 0;
	ssize_t n = pread(fd, text, TAIL_MAX, from);
	if (n < 0)
		return err_sys(err, "cannot read the journal");
	for (size_t at = 0; at < (size_t)n;) {
		const char *end = memchr(text + at, '\n', (size_t)n - at);

		if (!end)
			break; /* torn: its writer died */
		take_line(text + at, (size_t)(end - (text + at)), &last);
		at = (size_t)(end - text) + 1;
	}
	*ret = last;
	return 0;
}

/* A torn last line must not swallow the next entry. */
static int end_torn_line(int fd, struct err *err)
{
	struct stat st;
	char last = '\n';

	if (fstat(fd, &st) < 0 || (st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) != 1))
		return err_sys(err, "cannot read the journal");
	if (last != '\n' && write(fd, "\n", 1) != 1)
		return err_sys(err, "cannot write the journal");
	return 0;
}

static int open_file(const char *path, int *ret, struct err *err)
{
	auto_free char *old = xasprintf("%s.1", path);
	struct stat st;

	if (stat(path, &st) == 0 && st.st_size > JOURNAL_MAX && rename(path, old) < 0)
		return err_sys(err, "cannot turn over '%s'", path);
	*ret = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *ret < 0 ? err_sys(err, "cannot open '%s'", path) : 0;
}

int journal_open(const struct host *host, const char *set_dir, const char *run, const char *command,
		 struct journal **ret, struct journal_last *ret_last, struct err *err)
{
	auto_free char *path = path_join(set_dir, "journal");
	struct journal_last last = {0};
	auto_close int fd = -1;
	int r = open_file(path, &fd, err);

	if (r < 0 || (r = read_last(fd, &last, err)) < 0 || (r = end_torn_line(fd, err)) < 0)
		return r;
	void *shared = mmap(NULL, sizeof(atomic_uint), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_sys(err, "cannot map memory for the journal");
	struct journal *j = xcalloc(1, sizeof(*j));
	*j = (struct journal){.host = host, .fd = TAKE_FD(fd), .owner = getpid()};
	j->writes = shared;
	snprintf(j->run, sizeof(j->run), "%s", run);
	test_read_kill_point(j);
	r = journal_add(j, "begin", NULL, command, err);
	if (r < 0) {
		journal_drop_p(&j);
		return r;
	}
	if (ret_last)
		*ret_last = last;
	*ret = j;
	return 0;
}

void journal_drop_p(struct journal **jp)
{
	struct journal *j = *jp;

	if (!j)
		return;
	(void)munmap(j->writes, sizeof(atomic_uint));
	close(j->fd);
	free(j);
	*jp = NULL;
}

int journal_close(struct journal *j, const char *result, struct err *err)
{
	int r = j ? journal_add(j, "end", NULL, result, err) : 0;

	journal_drop_p(&j);
	return r;
}
