/* fuzz_state_json.c - JSON that a crash, another version or another process may have left: records,
 * status.json, manifests, workloads, the journal. Byte 0 chooses the reader. What is accepted must
 * survive being written and read again. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "file.h"
#include "host.h"
#include "io.h"
#include "journal.h"
#include "json.h"
#include "record.h"
#include "vmmanifest.h"
#include "workload_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define BOOT_ID "00000000-0000-4000-8000-000000000000" /* of no boot: nobody is alive */

static void check_paths(struct json_object *record)
{
	static const char *const keys[] = {"dir", "path", "snapshot", "memory"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *path = record_path(record, keys[i], "/data/sets/web");

		CHECK(!path || strncmp(path, "/data/sets/web/", 15) == 0);
		CHECK(!path || !strstr(path, "/../"));
	}
}

static void read_record(const char *text, size_t len)
{
	auto_json struct json_object *record = NULL, *next = json_object_new_object();
	static const char *const keys[] = {"dir", "snapshot"};
	enum resource_kind kind = RESOURCE_KINDS;
	const char *name = NULL;
	struct proc_id id = {0};

	if (record_parse(text, len, &record, &kind, &name, NULL) < 0)
		return;
	auto_free char *file = record_file_name(name);
	CHECK(kind < RESOURCE_KINDS && *name);
	CHECK(*file && *file != '.' && !strchr(file, '/') && strlen(file) < 200);
	check_paths(record);
	(void)record_state(record);
	if (record_get_proc(record, "supervisor", &id))
		CHECK(id.pid > 0 && strlen(id.boot_id) < sizeof(id.boot_id));
	for (size_t i = 0; i < record_old_count(record); i++)
		check_paths(record_old_at(record, i));
	record_keep_old(next, record, keys, ARRAY_SIZE(keys));
	CHECK(record_old_count(next) == record_old_count(record) + 1);
}

/* A directory of this process, made once; in memory if it can be, the journal is written to disk.
 */
static const char *scratch(void)
{
	static char in_memory[] = "/dev/shm/fcvm-fuzz-XXXXXX", on_disk[] = "/tmp/fcvm-fuzz-XXXXXX";
	static const char *made;

	if (!made)
		made = mkdtemp(in_memory);
	if (!made)
		made = mkdtemp(on_disk);
	CHECK(made);
	return made;
}

static void remove_scratch(void)
{
	(void)file_remove_tree(scratch(), NULL);
}

static void put_file(const char *name, const char *text, size_t len)
{
	auto_free char *path = path_join(scratch(), name);
	auto_close int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && file_write_fd(fd, text, len, NULL) == 0);
}

static void read_status(const char *text, size_t len)
{
	auto_json struct json_object *status = NULL;
	struct err err = {0};

	put_file(SUPERVISE_STATUS, text, len);
	int r = supervisor_peek(scratch(), BOOT_ID, &status, &err);
	CHECK(r == 0 ? json_object_is_type(status, json_type_object) : err.msg[0] != '\0');
	if (r == 0)
		CHECK(json_opt_str(status, "ended", NULL));
}

static void check_workload(const struct workload *w)
{
	auto_json struct json_object *o = workload_to_json(w), *twice = NULL;
	auto_workload struct workload again = {0};

	CHECK(workload_from_json(o, &again, NULL) == 0);
	twice = workload_to_json(&again);
	CHECK(json_object_equal(o, twice));
}

static void check_config(const struct vm_config *c)
{
	auto_json struct json_object *o = vm_config_to_json(c), *twice = NULL;
	auto_vm_config struct vm_config again = {.n_disks = 0};

	CHECK(vm_config_from_json(o, &again, NULL) == 0);
	twice = vm_config_to_json(&again);
	CHECK(json_object_equal(o, twice));
}

static void read_manifest(const char *text, size_t len)
{
	static const struct engine_caps caps = {.sha256 = "ab",
						.accel = VM_ACCEL_TCG,
						.machine = "microvm",
						.cpu_model = "max",
						.tsc_khz = 2000000};
	static const struct hostfacts host = {
		.cpu_model = "cpu", .kernel = "6.1", .page_size = 4096};
	auto_json struct json_object *o = NULL;
	struct vmmanifest m = {.has_workload = false};

	if (json_parse(text, len, &o, NULL) < 0)
		return;
	(void)vmmanifest_check_host(o, "qemu", &caps, &host, NULL);
	if (vmmanifest_read(o, &m, NULL) < 0)
		return;
	check_config(&m.config);
	if (m.has_workload)
		check_workload(&m.workload);
	vmmanifest_free(&m);
}

static void read_workload(const char *text, size_t len)
{
	auto_json struct json_object *o = NULL;
	auto_workload struct workload w = {0};
	struct hook *hooks = NULL;
	size_t n = 0;

	if (json_parse(text, len, &o, NULL) < 0)
		return;
	if (workload_from_json(o, &w, NULL) == 0)
		check_workload(&w);
	if (hooks_from_json(o, &hooks, &n, NULL) < 0)
		return;
	auto_json struct json_object *list = hooks_to_json(hooks, n);
	CHECK(json_object_array_length(list) == n);
	hooks_free(hooks, n);
}

static void read_journal(const char *text, size_t len)
{
	static const struct host host = {.unix_ms = io_unix_ms, .boot_id = BOOT_ID};
	struct journal *j = NULL;
	struct journal_last last = {.unfinished = false};

	put_file("journal", text, len);
	CHECK(journal_open(&host, scratch(), "0a1b2c3d", "apply", &j, &last, NULL) == 0);
	CHECK(!last.unfinished || strlen(last.doing) < sizeof(last.doing));
	journal_drop_p(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const char *text, size_t len) = {
		read_record, read_status, read_manifest, read_workload, read_journal};
	static bool ready;

	if (!ready)
		(void)atexit(remove_scratch);
	ready = true;
	if (size >= 1)
		readers[data[0] % ARRAY_SIZE(readers)]((const char *)data + 1, size - 1);
	return 0;
}
