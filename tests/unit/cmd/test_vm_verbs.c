#include "vm_verbs.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "ctl.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "record.h"
#include "run.h"
#include "xalloc.h"

#define GRACE_MS 10000
#define ASKED 7 /* how a supervisor ends that was asked to */

/* The clock of all of this program: what is added is seen by the processes of one test. */
static time_t *ahead_s;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, id, ts);

	if (r == 0 && ahead_s)
		ts->tv_sec += *ahead_s;
	return r;
}

struct world {
	char *dir, *set_dir, *vm;
	struct host host;
	int ready[2], talk[2]; /* the supervisor is there; what vm_stop says */
};

static void make_record(const struct world *w)
{
	auto_json struct json_object *o = json_object_new_object();
	struct err err = {0};

	json_add_u64(o, "v", RECORD_VERSION);
	json_add_str(o, "kind", "clone");
	json_add_str(o, "name", "web-1");
	json_add_str(o, "state", "ready");
	json_add_str(o, "dir", w->vm);
	cr_assert_geq(record_save(w->set_dir, o, &err), 0, "%s", err.msg);
}

static void world_make(struct world *w)
{
	struct err err = {0};

	*w = (struct world){.dir = tmpdir_new("verbs")};
	cr_assert_geq(host_init(&w->host, w->dir, &err), 0);
	cr_assert_geq(host_make_dirs(&w->host, &err), 0, "%s", err.msg);
	w->set_dir = host_set_dir(&w->host, "shop");
	w->vm = path_join(w->set_dir, "vms/web-1");
	cr_assert_geq(file_mkdir_p(w->vm, 0700, &err), 0, "%s", err.msg);
	make_record(w);
	cr_assert_eq(pipe(w->ready), 0);
	cr_assert_eq(pipe(w->talk), 0);
	ahead_s = mmap(NULL, sizeof(*ahead_s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	cr_assert_neq(ahead_s, MAP_FAILED);
}

static void world_free(struct world *w)
{
	*ahead_s = 0;
	host_free(&w->host);
	free(w->set_dir);
	free(w->vm);
	tmpdir_remove(&w->dir);
}

static int take_stop(int listener)
{
	auto_close int fd = accept(listener, NULL, NULL);
	auto_buf struct buf body = BUF_INIT(FRAME_BODY_MAX + 1);
	auto_json struct json_object *o = NULL;
	static const char reply[] = "{\"ok\":true}";
	struct frame f = {0};

	while (f.type != CTL_REQUEST)
		if (frame_read(fd, FRAME_BODY_MAX, &f, &body, 0, NULL) < 0)
			return 1;
	if (json_parse((const char *)f.body, f.len, &o, NULL) < 0 ||
	    strcmp(json_opt_str(o, "verb", ""), "stop") != 0 ||
	    json_opt_u64(json_opt_obj(o, "args"), "grace_ms", 0) != GRACE_MS)
		return 2;
	(void)frame_write(fd, CTL_REPLY, 0, reply, strlen(reply), 0, NULL);
	return ASKED;
}

/* Holds the set's lock for a minute once somebody waits for it, then is a supervisor. */
static int supervise(const struct world *w)
{
	auto_free char *lock_path = path_join(w->set_dir, "lock");
	auto_free char *ctl_path = path_join(w->vm, CTL_SOCK);
	auto_close int lock = -1, listener = -1;
	char byte = 0;

	if (file_lock(lock_path, false, 0, NULL, &lock, NULL) < 0 ||
	    io_unix_listen(ctl_path, 1, &listener, NULL) < 0 || write(w->ready[1], "", 1) != 1 ||
	    read(w->talk[0], &byte, 1) != 1)
		return 3;
	*ahead_s += 60;
	cleanup_close_p(&lock);
	return take_stop(listener);
}

static void write_status(const struct world *w, pid_t pid)
{
	auto_free char *path = path_join(w->vm, SUPERVISE_STATUS);
	auto_json struct json_object *o = json_object_new_object();
	struct json_object *supervisor = json_object_new_object();
	struct proc_id id = {0};
	struct err err = {0};

	cr_assert_geq(proc_id_of(pid, &id, &err), 0, "%s", err.msg);
	json_add_u64(supervisor, "pid", (uint64_t)id.pid);
	json_add_u64(supervisor, "start_time", id.start_time);
	json_add_str(supervisor, "boot_id", id.boot_id);
	json_add(o, "supervisor", supervisor);
	cr_assert_geq(json_save(path, o, &err), 0, "%s", err.msg);
}

static int stop_it(struct world *w, struct err *err)
{
	char set[] = "shop", name[] = "web-1", full[] = "shop.web-1";
	const struct inventory_item it = {.kind = RESOURCE_CLONE,
					  .set = set,
					  .set_dir = w->set_dir,
					  .name = name,
					  .full = full,
					  .dir = w->vm};
	auto_close int err_fd = dup(STDERR_FILENO);

	cr_assert_geq(dup2(w->talk[1], STDERR_FILENO), 0);
	int r = vm_stop(&w->host, &it, GRACE_MS, err);

	cr_assert_geq(dup2(err_fd, STDERR_FILENO), 0);
	return r;
}

Test(vm_verbs, a_guest_has_its_grace_however_long_the_set_was_locked)
{
	struct world w;
	struct err err = {0};
	int status = -1;
	char byte = 0;

	world_make(&w);
	pid_t child = fork();

	if (child == 0)
		_exit(supervise(&w));
	cr_assert_eq(read(w.ready[0], &byte, 1), 1);
	write_status(&w, child);
	cr_expect_geq(stop_it(&w, &err), 0, "%s", err.msg);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == ASKED, "status %d", status);
	world_free(&w);
}
