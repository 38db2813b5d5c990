/* The engine and its API client against the fake, which takes only what its version knows. */
#include "firecracker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "fc_vmm.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define TIMEOUT_MS 20000

static char *program;

static const char *env_of_test(const char *name)
{
	return strcmp(name, "FCVM_FIRECRACKER") == 0 ? program : NULL;
}

/* Everything one VM needs; no uid is changed, so nobody needs root. */
struct rig {
	char *dir, *vm_dir, *state, *memory;
	struct host host;
	struct loop *loop;
	struct vm vm;
	struct vm_config config;
};

static char *put(const char *dir, const char *name, const char *text)
{
	char *path = path_join(dir, name);

	cr_assert_eq(file_replace(path, text, strlen(text), 0600, NULL), 0);
	return path;
}

static void script(const struct rig *r, const char *words)
{
	free(put(r->dir, "fc.script", words));
}

static void copy_fake(struct rig *r)
{
	auto_buf struct buf bytes = BUF_INIT(64u << 20);

	cr_assert_eq(
		file_read(TEST_BUILD_DIR "/tests/fake_firecracker", bytes.max - 1, &bytes, NULL),
		0);
	program = path_join(r->dir, "fc");
	cr_assert_eq(file_replace(program, bytes.data, bytes.len, 0755, NULL), 0);
}

static struct vm new_vm(struct rig *r)
{
	return (struct vm){.host = &r->host,
			   .loop = r->loop,
			   .vm_dir = r->vm_dir,
			   .uid = geteuid(),
			   .gid = getegid(),
			   .tap_fd = -1,
			   .has_tap = true,
			   .metadata = "{\"fcvm\":{}}",
			   .console_fd = -1,
			   .userfaultfd = -1,
			   .pidfd = -1,
			   .channel_fd = -1};
}

static void rig_up(struct rig *r, const char *words)
{
	static char empty[] = "", fstype[] = "squashfs", data[] = VM_DATA_DISK;

	*r = (struct rig){.dir = tmpdir_new("fc"), .host = {.getenv = env_of_test}};
	copy_fake(r);
	script(r, words);
	r->host.data_dir = r->dir;
	r->vm_dir = path_join(r->dir, "vm");
	cr_assert_eq(mkdir(r->vm_dir, 0700), 0);
	free(put(r->vm_dir, VM_DATA_DISK, "data"));
	r->state = path_join(r->dir, "state");
	r->memory = path_join(r->dir, "snapshot-memory");
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	r->vm = new_vm(r);
	r->config = (struct vm_config){.kernel = put(r->dir, "kernel", "kernel"),
				       .initrd = empty,
				       .cmdline_extra = empty,
				       .root_fstype = fstype,
				       .cpus = 1,
				       .memory_bytes = 16u << 20,
				       .has_net = true,
				       .accel = VM_ACCEL_KVM,
				       .n_disks = 1};
	r->config.disks[0] = (struct vm_disk){.path = data, .serial = "data"};
}

static bool has(const struct rig *r, const char *name)
{
	auto_free char *path = path_join(r->vm_dir, name);

	return file_exists(path);
}

/* Every test ends like this: nothing of the VM is left in this process, below it or in its
 * directory. */
static void rig_down(struct rig *r)
{
	cr_expect_eq(firecracker_ops.stop(&r->vm, 0, NULL), 0);
	cr_expect_eq(r->vm.engine, NULL);
	cr_expect_eq(r->vm.pidfd, -1);
	cr_expect_eq(r->vm.vsock, NULL);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
	cr_expect_not(has(r, "api.sock"));
	cr_expect_not(has(r, "v.sock"));
	loop_free_p(&r->loop);
	free(r->config.kernel);
	free(r->vm_dir);
	free(r->state);
	free(r->memory);
	free(TAKE_PTR(program));
	tmpdir_remove(&r->dir);
}

static int start(struct rig *r, struct err *err)
{
	return firecracker_ops.start(&r->vm, &r->config, deadline_in(TIMEOUT_MS), err);
}

static int take(struct rig *r, bool resume, struct err *err)
{
	const struct vm_snapshot to = {.state_path = r->state, .resume = resume};

	return firecracker_ops.snapshot(&r->vm, &to, deadline_in(TIMEOUT_MS), err);
}

static int restore(struct rig *r, struct err *err)
{
	const struct vm_restore from = {.config = &r->config,
					.state_path = r->state,
					.memory_path = r->memory,
					.backend = MEMORY_FILE};

	return firecracker_ops.restore(&r->vm, &from, deadline_in(TIMEOUT_MS), err);
}

Test(firecracker, a_start_removes_old_sockets_and_fills_the_lower_half)
{
	struct rig r;
	struct err err;

	rig_up(&r, "");
	free(put(r.vm_dir, "api.sock", "left over"));
	free(put(r.vm_dir, "v.sock", "left over"));
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_expect_gt(r.vm.pid, 0);
	cr_expect_geq(r.vm.pidfd, 0);
	cr_expect_eq(r.vm.channel_fd, -1);
	cr_expect_str_eq(r.vm.vsock, "v.sock");
	cr_expect(has(&r, "v.sock"));
	rig_down(&r);
	cr_expect_eq(r.vm.exit_status, 128 + SIGKILL);
}

Test(firecracker, a_start_that_fails_says_why_and_leaves_nothing)
{
	static const struct {
		const char *script;
		uint64_t timeout_ms;
		int code;
		const char *message;
	} cases[] = {
		{"fake.api=gone", TIMEOUT_MS, -ECONNRESET,
		 "cannot start the VM: PUT /machine-config: firecracker closed its API: firecracker "
		 "has ended: fake: the API ends as told"},
		{"fake.api=silent", 300, -ETIMEDOUT,
		 "cannot start the VM: PUT /machine-config: firecracker did not answer in time"},
		{"fake.api=truncated", TIMEOUT_MS, -ECONNRESET,
		 "cannot start the VM: PUT /machine-config: firecracker closed its API"},
		{"fake.api=huge", TIMEOUT_MS, -EMSGSIZE,
		 "cannot start the VM: PUT /machine-config: firecracker's answer is longer than "
		 "1048576 bytes"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		struct err err = {.msg = ""};

		rig_up(&r, cases[i].script);
		cr_expect_eq(firecracker_ops.start(&r.vm, &r.config,
						   deadline_in(cases[i].timeout_ms), &err),
			     cases[i].code, "%s: %s", cases[i].script, err.msg);
		cr_expect_str_eq(err.msg, cases[i].message);
		rig_down(&r);
	}
}

Test(firecracker, a_slow_api_is_waited_for)
{
	struct rig r;
	struct err err;

	rig_up(&r, "fake.api=slow");
	cr_expect_eq(start(&r, &err), 0, "%s", err.msg);
	rig_down(&r);
}

/* Whatever it says before it is asked cannot be the answer to anything later. */
Test(firecracker, an_answer_that_comes_before_its_request_is_nobodys)
{
	struct rig r;
	struct err err = {.msg = ""};
	char state[32];

	rig_up(&r, "");
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	struct fc_api *api = ((struct fc_vmm *)r.vm.engine)->api;

	cr_expect_eq(fc_api_get_state(api, state, sizeof(state), deadline_in(TIMEOUT_MS), &err), 0);
	cr_expect_str_eq(state, "Running");
	rig_down(&r);
	rig_up(&r, "fake.api=late");
	(void)start(&r, &err);
	rig_down(&r);
}

Test(firecracker, what_it_refuses_is_told_in_its_words)
{
	struct rig r;
	struct err err;

	rig_up(&r, "");
	free(r.config.kernel);
	r.config.kernel = xstrdup("/no/kernel");
	cr_expect_eq(start(&r, &err), -EREMOTEIO);
	cr_expect_str_eq(err.msg,
			 "cannot start the VM: PUT /boot-source: firecracker refuses (400): "
			 "Boot source error: The kernel file cannot be opened: No such file "
			 "or directory (os error 2)");
	rig_down(&r);
}

Test(firecracker, metadata_may_be_as_long_as_fcvm_lets_it)
{
	auto_buf struct buf text = BUF_INIT(FC_PAYLOAD_MAX);
	struct rig r;
	struct err err;

	rig_up(&r, "");
	buf_add_str(&text, "{\"a\":\"");
	while (text.len < 100000)
		buf_add_char(&text, 'x');
	buf_add_str(&text, "\"}");
	r.vm.metadata = buf_str(&text);
	cr_expect_eq(start(&r, &err), 0, "%s", err.msg);
	rig_down(&r);
}

Test(firecracker, its_counters_are_kept_in_a_file)
{
	struct rig r;
	uint64_t deadline_ms = deadline_in(TIMEOUT_MS);
	auto_json struct json_object *o = NULL;
	auto_free char *path = NULL;
	struct err err;

	rig_up(&r, "");
	path = path_join(r.dir, "metrics.json");
	r.vm.metrics = path;
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_assert_eq(fc_api_put_action(((struct fc_vmm *)r.vm.engine)->api, "FlushMetrics",
				       deadline_ms, &err),
		     0, "%s", err.msg);
	while (!file_exists(path) && now_ms() < deadline_ms)
		cr_assert_geq(loop_once(r.loop, 50, &err), 0);
	cr_assert_eq(json_load(path, &o, &err), 0, "%s", err.msg);
	cr_expect_eq(json_opt_u64(o, "utc_timestamp_ms", 0), 1);
	rig_down(&r);
}

Test(firecracker, a_vm_with_a_nic_needs_a_tap)
{
	struct rig r;
	struct err err;

	rig_up(&r, "");
	r.vm.has_tap = false;
	cr_expect_eq(start(&r, &err), -ENODEV);
	cr_expect_str_eq(err.msg,
			 "cannot start the VM: the VM has a NIC, but there is no tap0 here");
	rig_down(&r);
}

static void move_memory(struct rig *r)
{
	auto_free char *path = path_join(r->vm_dir, VM_MEMORY);

	cr_assert_eq(rename(path, r->memory), 0);
}

/* Each version takes the clone: nothing it does not know is sent. */
Test(firecracker, every_version_restores_what_it_saved)
{
	static const char *const versions[] = {"1.12.0", "1.13.1", "1.14.4",
					       "1.15.1", "1.16.1", "1.17.0"};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		auto_free char *words = xasprintf("fake.version=%s", versions[i]);
		struct rig r;
		struct err err = {.msg = ""};

		rig_up(&r, words);
		cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
		cr_assert_eq(take(&r, false, &err), 0, "%s", err.msg);
		cr_expect_eq(take(&r, false, &err), -EALREADY);
		cr_expect_eq(firecracker_ops.stop(&r.vm, 1000, &err), 0);
		move_memory(&r);
		cr_assert_eq(restore(&r, &err), 0, "%s: %s", versions[i], err.msg);
		cr_expect_eq(take(&r, false, &err), -EOPNOTSUPP);
		cr_expect_str_eq(err.msg, "a clone cannot be snapshotted in this version");
		rig_down(&r);
	}
}

/* Firecracker says so itself, and ends; here it is not even started. */
Test(firecracker, memory_in_huge_pages_is_not_restored_from_the_file)
{
	struct rig r;
	struct err err = {.msg = ""};

	rig_up(&r, "");
	r.config.huge_pages = true;
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_assert_eq(take(&r, false, &err), 0, "%s", err.msg);
	cr_expect_eq(firecracker_ops.stop(&r.vm, 1000, &err), 0);
	move_memory(&r);
	cr_expect_eq(restore(&r, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "cannot restore the VM: memory in huge pages comes from a page "
				  "server, not from the file");
	r.config.huge_pages = false;
	cr_expect_eq(restore(&r, &err), -EREMOTEIO);
	cr_expect(strstr(err.msg, "Cannot restore hugetlbfs backed snapshot by mapping the memory "
				  "file. Please use uffd."),
		  "%s", err.msg);
	rig_down(&r);
}

Test(firecracker, a_vm_that_goes_on_leaves_its_memory_to_the_caller)
{
	struct rig r;
	struct stat st;
	struct err err;

	rig_up(&r, "");
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_assert_eq(take(&r, true, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(r.state, &st), 0);
	cr_expect_gt(st.st_size, 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect(has(&r, VM_MEMORY));
	cr_expect_not(has(&r, "vmstate"));
	rig_down(&r);
}

static int plant_link(void *data, struct err *err)
{
	(void)data;
	return err_set(err, ERR_FAILED, -EIO, "no");
}

Test(firecracker, a_snapshot_that_fails_in_between_leaves_no_state)
{
	struct rig r;
	struct err err;
	struct vm_snapshot to = {.between = plant_link};

	rig_up(&r, "");
	to.state_path = r.state;
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_expect_eq(firecracker_ops.snapshot(&r.vm, &to, deadline_in(TIMEOUT_MS), &err), -EIO);
	cr_expect_str_eq(err.msg, "cannot snapshot the VM: no");
	cr_expect_not(file_exists(r.state));
	cr_expect_not(has(&r, VM_MEMORY));
	rig_down(&r);
}

Test(firecracker, a_snapshot_that_comes_too_late_pauses_nothing)
{
	struct rig r;
	struct err err;
	char state[32];

	rig_up(&r, "");
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	const struct vm_snapshot to = {.state_path = r.state, .resume = true};
	const struct fc_vmm *v = r.vm.engine;

	cr_expect_eq(firecracker_ops.snapshot(&r.vm, &to, now_ms() - 1, &err), -ETIMEDOUT);
	cr_expect_eq(err.class, ERR_TIMEOUT);
	cr_assert_eq(fc_api_get_state(v->api, state, sizeof(state), deadline_in(TIMEOUT_MS), &err),
		     0, "%s", err.msg);
	cr_expect_str_eq(state, "Running");
	cr_expect_not(file_exists(r.state));
	rig_down(&r);
}

/* The directory is the VMM's: it may put there what it likes, we are root. */
Test(firecracker, a_link_in_place_of_the_state_is_not_followed)
{
	struct rig r;
	struct err err = {.msg = ""};

	rig_up(&r, "fake.link");
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_expect_eq(take(&r, false, &err), -ELOOP, "%s", err.msg);
	cr_expect_not(file_exists(r.state));
	rig_down(&r);
}

Test(firecracker, a_failed_load_tells_why_and_leaves_nothing)
{
	struct rig r;
	struct err err;

	rig_up(&r, "");
	cr_expect_eq(restore(&r, &err), -EREMOTEIO);
	cr_expect(strstr(err.msg, "cannot restore the VM: PUT /snapshot/load: firecracker refuses "
				  "(400): Load snapshot error: Failed to restore from snapshot: "
				  "Failed to get snapshot state from file: Failed to open snapshot "
				  "file: No such file or directory (os error 2)"),
		  "%s", err.msg);
	rig_down(&r);
}

Test(firecracker, its_log_lines_lose_what_is_not_for_people)
{
	static const struct {
		const char *line;
		size_t prefix;
	} cases[] = {
		{"2026-11-26T14:09:47.243866895 [anonymous-instance:fc_api:ERROR] text", 64},
		{"2026-11-26T14:09:47.243866895 [a:b] x", 36},
		{"thread 'main' panicked at [x] y", 0},
		{"2026 no bracket", 0},
		{"2026 [never closed", 0},
		{"2026 [closed]", 0},
		{"[a:b] x", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(fc_vmm_log_prefix(cases[i].line, strlen(cases[i].line)),
			     cases[i].prefix, "'%s'", cases[i].line);
}
