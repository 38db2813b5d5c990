/* fake_firecracker.c - Firecracker's API to the byte (status lines, sentences, states, its end
 * after a failed load, ten connections), its vsock and its hand-off, with the scripted agent of
 * fake_guest.h as its guest: usable as FCVM_FIRECRACKER. What it answers was compared with the real
 * one's answers (tests/vm/test_firecracker_tiny.c does it again where there is one).
 *
 * Script, beyond fake_guest.h's, in the boot arguments or <program>.script:
 *   version=1.15.1  what it says it is, and so which fields it knows
 *   hang            nobody listens in the guest        no_snapshot   /snapshot/create is refused
 *   no_resume       a clone is loaded and stays paused garbage       bytes that are no frame
 *   link            saves a link in place of its state save_forever   no answer when it has saved
 *   save_gate=FIFO  reads a byte before it saves    cross, freezing, refuse_X=N   as fake_qemu's
 *   flood           its console says 6 MiB at once     off            ends once it is started
 *   die             ends at /boot-source, with words   api=WORD      mistreats every request:
 *     silent (no answer), truncated, huge, late (answers before it is asked), slow, gone (exits)
 * Longer than a file should be: a fake is one program of one object file. */
#include "fake_fc_memory.h"
#include "fake_fc_shapes.h"

#include <poll.h>
#include <signal.h>
#include <sys/un.h>

#include "json.h"

#define CONNECTIONS_MAX 10u
#define HEADER_MAX 1024u
#define SLOW_MS 50u

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0"; /* what we leak ends with us */
}

enum vm_state { NOT_STARTED, RUNNING, PAUSED };
static const char *const state_names[] = {"Not started", "Running", "Paused"};

struct vmm;

struct http {
	struct vmm *vmm;
	struct loop_source src;
	struct buf in;
};

struct vmm {
	struct guest g;
	enum vm_state state;
	unsigned int minor, patch;
	size_t payload_max;
	const char *log_path, *metrics_path;
	size_t n_connections;
	bool configured; /* something that a load does not stand */
	bool saved;      /* since it was paused */
	bool deaf;       /* the bug of 1.16: vsock after a bare pause */
	bool ending;     /* a load has failed */
	char *kernel, *mem, *vsock_path;
	uint64_t mem_mib, cpus;
	bool huge;
	struct json_object *drives, *mmds, *mmds_config;
	bool nic;
	struct loop_source api, vsock, flood;
	struct buf err, body; /* of the answer */
};

static unsigned int opened; /* the n of "OK n" */

static bool fail(struct vmm *v, const char *text)
{
	buf_add_str(&v->err, text);
	return false;
}

static const char *os_error(int code)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s (os error %d)", strerror(code), code);
	return text;
}

/* --- the guest ------------------------------------------------------------------------------ */

static void serve(struct vmm *v, uint32_t port, int fd)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", (1u << 30) + opened++);

	if (scripted(&v->g, "hang") || !is_served(port)) {
		(void)close(fd);
		return;
	}
	(void)send(fd, line, (size_t)n, MSG_NOSIGNAL);
	if (port == AGENT_PORT_CONTROL && scripted(&v->g, "garbage"))
		(void)send(fd, "\377\377\377\377\377\377\377\377garbage", 15, MSG_NOSIGNAL);
	service_start(&v->g, port, fd);
}

/* The line must be there whole: it comes in one write or not at all. */
static void on_vsock(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vmm *v = src->data;
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char line[33];
	unsigned int port = 0;

	(void)loop;
	(void)events;
	if (fd < 0 || v->deaf)
		return;
	(void)io_wait(fd, POLLIN, deadline_in(1000));
	ssize_t n = recv(fd, line, sizeof(line) - 1, 0);

	line[n > 0 ? n : 0] = '\0';
	if (n < 10 || line[n - 1] != '\n' || sscanf(line, "CONNECT %u\n", &port) != 1)
		(void)close(fd);
	else
		serve(v, port, fd);
}

/* After the answer to the start: a real one's vCPUs are threads. */
static void on_flood(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)src;
	(void)events;
	for (unsigned int n = 0; n < 100000; n++)
		(void)printf("fake console: line %06u of a guest that does not stop talking\n", n);
	(void)fflush(stdout);
}

static void run(struct vmm *v)
{
	v->state = RUNNING;
	v->g.running = true;
	(void)puts("fake console: up");
	if (scripted(&v->g, "flood"))
		(void)loop_timer(v->g.loop, &v->flood, 1, 0, on_flood, NULL, NULL);
	if (scripted(&v->g, "off"))
		(void)loop_timer(v->g.loop, &v->g.end, LAST_FRAMES_MS, 0, on_end, &v->g, NULL);
	(void)fflush(stdout);
	if (v->vsock_path)
		(void)loop_add(v->g.loop, &v->vsock, v->vsock.fd, EPOLLIN, on_vsock, v, NULL);
	(void)loop_timer(v->g.loop, &v->g.tick, TICK_MS, TICK_MS, on_tick, &v->g, NULL);
}

static bool bind_vsock(struct vmm *v, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (v->vsock_path)
		(void)close(v->vsock.fd), (void)unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0)
		return false;
	v->vsock.fd = fd;
	free(v->vsock_path);
	v->vsock_path = xstrdup(path);
	return true;
}

/* --- before the start ----------------------------------------------------------------------- */

static bool put_machine(struct vmm *v, struct json_object *o)
{
	uint64_t cpus = json_opt_u64(o, "vcpu_count", 0), mib = json_opt_u64(o, "mem_size_mib", 0);

	if (cpus == 0 || cpus > 32)
		return fail(v, "Machine config error: The number of vCPUs must be greater than 0, "
			       "less than 32 and must be 1 or an even number if SMT is enabled.");
	v->huge = strcmp(json_opt_str(o, "huge_pages", "None"), "2M") == 0;
	if (mib == 0 || (v->huge && mib % 2 != 0))
		return fail(v, "Machine config error: The memory size (MiB) is either 0, or not a "
			       "multiple of the configured page size.");
	v->cpus = cpus;
	v->mem_mib = mib;
	return true;
}

static bool opens(const char *path, bool read_only)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	return fd >= 0;
}

static bool put_boot(struct vmm *v, struct json_object *o)
{
	const char *kernel = json_opt_str(o, "kernel_image_path", "");
	const char *initrd = json_opt_str(o, "initrd_path", NULL);

	if (!opens(kernel, true)) {
		buf_addf(&v->err, "Boot source error: The kernel file cannot be opened: %s",
			 os_error(errno));
		return false;
	}
	if (initrd && !opens(initrd, true)) {
		buf_addf(&v->err,
			 "Boot source error: The initrd file cannot be opened due to invalid path "
			 "or invalid permissions. %s",
			 os_error(errno));
		return false;
	}
	free(v->kernel);
	v->kernel = xstrdup(kernel);
	add_script(&v->g, json_opt_str(o, "boot_args", ""));
	if (scripted(&v->g, "die"))
		die("fake: died as told");
	return true;
}

static bool open_drive(struct vmm *v, struct json_object *o)
{
	const char *path = json_opt_str(o, "path_on_host", "");

	if (opens(path, json_opt_bool(o, "is_read_only", false)))
		return true;
	buf_addf(&v->err,
		 "Unable to create the virtio block device: Virtio backend error: Error "
		 "manipulating the backing file: %s %s",
		 os_error(errno), path);
	return false;
}

/* The place of the same drive, or of a new one; false: another one is the root already. */
static bool place_of_drive(const struct vmm *v, struct json_object *o, size_t *ret)
{
	const char *id = json_opt_str(o, "drive_id", "");
	const size_t n = json_object_array_length(v->drives);

	*ret = n;
	for (size_t i = 0; i < n; i++) {
		struct json_object *d = json_object_array_get_idx(v->drives, i);

		if (strcmp(json_opt_str(d, "drive_id", ""), id) == 0)
			*ret = i;
		else if (json_opt_bool(d, "is_root_device", false) &&
			 json_opt_bool(o, "is_root_device", false))
			return false;
	}
	return true;
}

static bool put_drive(struct vmm *v, struct json_object *o)
{
	size_t at = 0;

	if (!open_drive(v, o)) {
		auto_free char *why = buf_detach(&v->err);

		buf_addf(&v->err, "Drive config error: %s", why);
		return false;
	}
	if (!place_of_drive(v, o, &at))
		return fail(v, "Drive config error: A root block device already exists!");
	(void)json_object_array_put_idx(v->drives, at, json_object_get(o));
	return true;
}

static bool put_nic(struct vmm *v, struct json_object *o)
{
	(void)o;
	v->nic = true;
	return true;
}

static bool put_vsock(struct vmm *v, struct json_object *o)
{
	if (bind_vsock(v, json_opt_str(o, "uds_path", "")))
		return true;
	buf_addf(&v->err,
		 "Vsock config error: Cannot create backend for vsock device: Error binding to the "
		 "host-side Unix socket: %s",
		 os_error(errno));
	return false;
}

static bool put_entropy(struct vmm *v, struct json_object *o)
{
	(void)v;
	(void)o;
	return true;
}

static bool put_mmds_config(struct vmm *v, struct json_object *o)
{
	if (!v->nic)
		return fail(v, "MMMDS config error: The list of network interface IDs provided "
			       "contains at least one ID that does not correspond to any existing "
			       "network interface.");
	v->mmds_config = json_object_get(o);
	return true;
}

static bool has_store(struct vmm *v)
{
	return v->state == NOT_STARTED || v->mmds_config ||
	       fail(v, "MMDS error: The MMDS data store is not initialized.");
}

static bool put_mmds(struct vmm *v, struct json_object *o)
{
	if (!has_store(v))
		return false;
	v->mmds = json_object_get(o);
	return true;
}

static bool get_mmds(struct vmm *v, struct json_object *o)
{
	(void)o;
	if (!has_store(v))
		return false;
	buf_add_str(&v->body,
		    v->mmds ? json_object_to_json_string_ext(v->mmds, JSON_C_TO_STRING_PLAIN)
			    : "{}");
	return true;
}

static bool get_root(struct vmm *v, struct json_object *o)
{
	(void)o;
	buf_addf(&v->body,
		 "{\"id\":\"anonymous-instance\",\"state\":\"%s\",\"vmm_version\":\"1.%u.%u\","
		 "\"app_name\":\"Firecracker\"}",
		 state_names[v->state], v->minor, v->patch);
	return true;
}

static bool get_version(struct vmm *v, struct json_object *o)
{
	(void)o;
	buf_addf(&v->body, "{\"firecracker_version\":\"1.%u.%u\"}", v->minor, v->patch);
	return true;
}

/* --- actions -------------------------------------------------------------------------------- */

static bool not_before(struct vmm *v)
{
	return v->state != NOT_STARTED ||
	       fail(v, "The requested operation is not supported before starting the microVM.");
}

static bool not_after(struct vmm *v)
{
	return v->state == NOT_STARTED ||
	       fail(v, "The requested operation is not supported after starting the microVM.");
}

static void flush_metrics(const struct vmm *v)
{
	auto_close int fd = v->metrics_path ? open(v->metrics_path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)dprintf(fd, "{\"utc_timestamp_ms\":1,\"api_server\":{}}\n");
}

static bool put_action(struct vmm *v, struct json_object *o)
{
	const char *type = json_opt_str(o, "action_type", "");

	if (strcmp(type, "InstanceStart") != 0 && !not_before(v))
		return false;
	if (strcmp(type, "FlushMetrics") == 0)
		flush_metrics(v);
	if (strcmp(type, "InstanceStart") != 0)
		return true;
	if (!not_after(v))
		return false;
	if (!v->kernel)
		return fail(v, "Start microvm error: Cannot start microvm without kernel "
			       "configuration.");
	v->mem = memory_new(v->mem_mib << 20);
	memory_mark(v->mem);
	run(v);
	return true;
}

/* A snapshot resets the guest's streams; without one 1.16 forgets to answer. */
static void go_on(struct vmm *v)
{
	if (v->state != PAUSED)
		return;
	while (v->saved && v->g.all)
		service_free(v->g.all);
	v->deaf = v->minor == 16 && !v->saved;
	run(v);
}

static bool patch_vm(struct vmm *v, struct json_object *o)
{
	if (!not_before(v))
		return false;
	if (strcmp(json_opt_str(o, "state", ""), "Resumed") == 0) {
		go_on(v);
	} else if (v->state == RUNNING) {
		v->state = PAUSED;
		v->g.running = v->saved = false;
		loop_remove(v->g.loop, &v->g.tick);
		if (v->vsock_path) {
			int fd = v->vsock.fd;

			loop_remove(v->g.loop, &v->vsock);
			v->vsock.fd = fd;
		}
	}
	return true;
}

/* --- snapshots ------------------------------------------------------------------------------ */

static char *state_text(const struct vmm *v)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "container", v->g.container);
	json_add_bool(o, "check", v->g.check);
	json_add_bool(o, "frozen", v->g.frozen);
	json_add(o, "script", json_strv(&v->g.script));
	json_add_u64(o, "mem_mib", v->mem_mib);
	json_add_bool(o, "huge", v->huge);
	json_add_u64(o, "minor", v->minor);
	json_add_bool(o, "nic", v->nic);
	json_add_str(o, "vsock", v->vsock_path);
	json_add(o, "drives", json_object_get(v->drives));
	json_add(o, "mmds_config", json_object_get(v->mmds_config));
	return json_line(o);
}

static bool put_create(struct vmm *v, struct json_object *o)
{
	auto_free char *text = state_text(v);
	int fd = -1, r = 0;

	wait_at(&v->g, "save_gate");
	if (!not_before(v))
		return false;
	if (v->state == RUNNING || scripted(&v->g, "no_snapshot"))
		return fail(v, "Create snapshot error: Cannot save the microVM state: Operation "
			       "not allowed: save/restore unavailable while running");
	fd = open(json_opt_str(o, "snapshot_path", ""), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		  0600);
	if (fd < 0) {
		buf_addf(&v->err,
			 "Create snapshot error: Cannot perform open on the snapshot backing file: "
			 "%s",
			 os_error(errno));
		return false;
	}
	(void)file_write_fd(fd, text, strlen(text), NULL);
	(void)close(fd);
	if (scripted(&v->g, "link") &&
	    (unlink(json_opt_str(o, "snapshot_path", "")) < 0 ||
	     symlink("/proc/self/status", json_opt_str(o, "snapshot_path", "")) < 0))
		die("fake_firecracker: cannot cheat");
	r = memory_save(v->mem, v->mem_mib << 20, json_opt_str(o, "mem_file_path", ""));
	if (r > 0) {
		buf_addf(
			&v->err,
			"Create snapshot error: Cannot perform open on the memory backing file: %s",
			os_error(r));
		return false;
	}
	v->saved = true;
	return true;
}

#define LOAD_ERROR "Load snapshot error: Failed to restore from snapshot: "

static bool load_state(struct vmm *v, const char *path, struct json_object **ret)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	int r = file_read(path, text.max - 1, &text, NULL);

	if (r < 0)
		buf_addf(&v->err,
			 LOAD_ERROR "Failed to get snapshot state from file: Failed to open "
				    "snapshot file: %s",
			 os_error(-r));
	else if (json_parse(buf_str(&text), text.len, ret, NULL) < 0)
		buf_add_str(&v->err,
			    LOAD_ERROR "Failed to get snapshot state from file: Failed to load "
				       "snapshot state from file: An error occurred during bitcode "
				       "serialization: bitcode error");
	return v->err.len == 0;
}

static bool load_file(struct vmm *v, const char *path, uint64_t size)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (v->huge)
		return fail(v,
			    LOAD_ERROR "Failed to load guest memory: Error creating guest memory "
				       "from file: Cannot restore hugetlbfs backed snapshot by "
				       "mapping the memory file. Please use uffd.");
	if (fd >= 0) {
		v->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (v->mem != MAP_FAILED)
			return true;
	}
	buf_addf(&v->err,
		 LOAD_ERROR "Failed to load guest memory: Error creating guest memory from file: "
			    "Failed to load guest memory: %s",
		 os_error(errno));
	return false;
}

static bool load_memory(struct vmm *v, struct json_object *backend)
{
	const char *path = json_opt_str(backend, "backend_path", "");
	uint64_t size = v->mem_mib << 20;
	int r = 0;

	if (strcmp(json_opt_str(backend, "backend_type", ""), "File") == 0)
		return load_file(v, path, size);
	v->mem = memory_new(size);
	r = memory_hand_off(v->mem, size, v->huge ? HUGE_PAGE : PAGE, path);
	if (r == 0)
		return true;
	buf_addf(&v->err,
		 LOAD_ERROR "Failed to load guest memory: Error creating guest memory from uffd: "
			    "Failed to connect to UDS Unix stream: %s",
		 os_error(r));
	return false;
}

static bool load_devices(struct vmm *v, struct json_object *state, struct json_object *o)
{
	struct json_object *override = json_opt_obj(o, "vsock_override");
	struct json_object *drives = NULL;
	const char *vsock = json_opt_str(state, "vsock", NULL);

	(void)json_get_arr(state, "drives", &drives, NULL);
	for (size_t i = 0; drives && i < json_object_array_length(drives); i++)
		if (!open_drive(v, json_object_array_get_idx(drives, i))) {
			auto_free char *why = buf_detach(&v->err);

			buf_addf(&v->err,
				 LOAD_ERROR "Failed to build microVM from snapshot: Failed to "
					    "restore devices: Error restoring MMIO devices: Block: "
					    "%s",
				 why);
			return false;
		}
	if (!vsock || bind_vsock(v, override ? json_opt_str(override, "uds_path", "") : vsock))
		return true;
	buf_addf(&v->err,
		 LOAD_ERROR "Failed to build microVM from snapshot: Failed to restore devices: "
			    "Error restoring MMIO devices: VsockUnixBackend: Error binding to the "
			    "host-side Unix socket: %s",
		 os_error(errno));
	return false;
}

static void take_state(struct vmm *v, struct json_object *state)
{
	struct json_object *script = NULL;
	const char *name = json_opt_str(state, "container", NULL);

	(void)json_get_arr(state, "script", &script, NULL);
	if (script)
		(void)json_to_strv(script, &v->g.script, NULL);
	v->g.container = name ? xstrdup(name) : NULL;
	v->g.check = json_opt_bool(state, "check", false);
	v->g.frozen = json_opt_bool(state, "frozen", false);
	v->mem_mib = json_opt_u64(state, "mem_mib", 0);
	v->huge = json_opt_bool(state, "huge", false);
	v->nic = json_opt_bool(state, "nic", false);
	v->mmds_config = json_object_get(json_opt_obj(state, "mmds_config"));
}

static bool load(struct vmm *v, struct json_object *o)
{
	auto_json struct json_object *state = NULL;
	struct json_object *nics = NULL;

	if (!load_state(v, json_opt_str(o, "snapshot_path", ""), &state))
		return false;
	take_state(v, state);
	if (json_object_object_get_ex(o, "network_overrides", &nics) && !v->nic)
		return fail(v, LOAD_ERROR "Failed to get snapshot state from file: Unknown "
					  "Network Device.");
	if (json_opt_obj(o, "vsock_override") && !json_opt_str(state, "vsock", NULL))
		return fail(v, LOAD_ERROR "Failed to get snapshot state from file: Unknown Vsock "
					  "Device.");
	if (!load_memory(v, json_opt_obj(o, "mem_backend")))
		return false;
	/* Devices look at guest memory while they are restored. */
	memory_check(v->mem, MARKED - 1);
	if (!load_devices(v, state, o))
		return false;
	memory_check(v->mem, 0);
	v->state = PAUSED;
	v->saved = true;
	if (json_opt_bool(o, "resume_vm", false) && !scripted(&v->g, "no_resume"))
		go_on(v);
	return true;
}

static bool put_load(struct vmm *v, struct json_object *o)
{
	bool file = json_object_object_get_ex(o, "mem_file_path", NULL);
	bool backend = json_object_object_get_ex(o, "mem_backend", NULL);

	if (file == backend) {
		buf_addf(&v->err,
			 "An error occurred when deserializing the json body of a request: %s.",
			 file ? "too many fields: either `mem_backend` or `mem_file_path` "
				"exclusively is required"
			      : "missing field: either `mem_backend` or `mem_file_path` is "
				"required");
		return false;
	}
	if (!not_after(v))
		return false;
	if (v->configured)
		return fail(v, "Load snapshot error: Loading a microVM snapshot not allowed after "
			       "configuring boot-specific resources.");
	v->ending = !load(v, o);
	return !v->ending;
}

/* --- routes --------------------------------------------------------------------------------- */

static const struct route {
	const char *method, *path; /* with a slash at its end: an id follows */
	const struct shape *shape;
	bool (*handle)(struct vmm *v, struct json_object *o);
	bool configures; /* before the start, and no load after it */
	bool hotplug;
} routes[] = {
	{"GET", "/", NULL, get_root, false, false},
	{"GET", "/version", NULL, get_version, false, false},
	{"GET", "/mmds", NULL, get_mmds, false, false},
	{"PUT", "/machine-config", &shape_machine, put_machine, true, false},
	{"PUT", "/boot-source", &shape_boot, put_boot, true, false},
	{"PUT", "/drives/", &shape_drive, put_drive, true, true},
	{"PUT", "/network-interfaces/", &shape_nic, put_nic, true, true},
	{"PUT", "/vsock", &shape_vsock, put_vsock, true, false},
	{"PUT", "/entropy", &shape_entropy, put_entropy, true, false},
	{"PUT", "/mmds/config", &shape_mmds_config, put_mmds_config, true, false},
	{"PUT", "/mmds", &shape_any, put_mmds, false, false},
	{"PUT", "/actions", &shape_action, put_action, false, false},
	{"PATCH", "/vm", &shape_vm, patch_vm, false, false},
	{"PUT", "/snapshot/create", &shape_create, put_create, false, false},
	{"PUT", "/snapshot/load", &shape_load, put_load, false, false},
};

static const struct route *find_route(const char *method, const char *path, const char **ret_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		size_t n = strlen(routes[i].path);
		bool id = n > 1 && routes[i].path[n - 1] == '/';

		if (strcmp(routes[i].method, method) != 0)
			continue;
		*ret_id = id ? path + n : NULL;
		if (strcmp(routes[i].path, path) == 0 ||
		    (id && strncmp(path, routes[i].path, n) == 0))
			return &routes[i];
		if (id && strncmp(path, routes[i].path, n - 1) == 0 && path[n - 1] == '\0') {
			*ret_id = "";
			return &routes[i];
		}
	}
	return NULL;
}

static bool check_id(struct vmm *v, const char *id)
{
	if (!*id)
		return fail(v, "The ID cannot be empty.");
	for (; *id; id++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *id))
			return fail(v, "API Resource IDs can only contain alphanumeric characters "
				       "and underscores.");
	return true;
}

static bool same_id(struct vmm *v, const char *id, struct json_object *o)
{
	const char *drive = json_opt_str(o, "drive_id", NULL);
	const char *nic = json_opt_str(o, "iface_id", NULL);

	if (drive && strcmp(drive, id) != 0)
		return fail(v, "The id from the path does not match the id from the body!");
	if (!nic || strcmp(nic, id) == 0)
		return true;
	buf_addf(&v->err, "The id from the path [%s] does not match the id from the body [%s]!", id,
		 nic);
	return false;
}

static bool dispatch(struct vmm *v, const char *method, const char *path, const char *body,
		     size_t len)
{
	auto_json struct json_object *o = NULL;
	const char *id = NULL;
	const struct route *r = find_route(method, path, &id);

	if (!r) {
		buf_addf(&v->err, "Invalid request method and/or path: %s %s.", method, path + 1);
		return false;
	}
	if (id && !check_id(v, id))
		return false;
	if (r->shape && len == 0) {
		buf_addf(&v->err, "Empty %s request.", method);
		return false;
	}
	if (!r->shape && len > 0)
		return fail(v, "GET request cannot have a body.");
	if (r->shape && !serde_check(body, len, r->shape, v->minor, &v->err)) {
		auto_free char *why = buf_detach(&v->err);

		buf_addf(&v->err,
			 "An error occurred when deserializing the json body of a request: %s.",
			 why);
		return false;
	}
	if (len > 0 && json_parse(body, len, &o, NULL) < 0)
		return fail(v, "fake_firecracker: a body json-c does not take");
	if (id && !same_id(v, id, o))
		return false;
	if (r->hotplug && v->state != NOT_STARTED)
		return fail(v, "PCI is not enabled");
	if (r->configures && !not_after(v))
		return false;
	v->configured |= r->configures;
	return r->handle(v, o);
}

/* --- HTTP ----------------------------------------------------------------------------------- */

static void log_error(const struct vmm *v)
{
	auto_close int fd =
		v->log_path ? open(v->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
			    : -1;

	if (fd >= 0)
		(void)dprintf(fd, "2026-01-01T00:00:00.000000000 [fcvm:fc_api:ERROR] %s\n",
			      buf_str(&v->err));
}

static void http_free(struct http *c)
{
	loop_remove(c->vmm->g.loop, &c->src);
	(void)close(c->src.fd);
	c->vmm->n_connections--;
	buf_free(&c->in);
	free(c);
}

static void put_answer(struct vmm *v, bool ok, struct buf *out)
{
	if (!ok) {
		auto_json struct json_object *o = json_object_new_object();

		json_add_str(o, "fault_message", buf_str(&v->err));
		buf_reset(&v->body);
		buf_add_str(&v->body,
			    json_object_to_json_string_ext(
				    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		log_error(v);
	}
	buf_addf(out, "HTTP/1.1 %d \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n",
		 !ok           ? 400
		 : v->body.len ? 200
			       : 204);
	if (v->body.len)
		buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			 v->body.len, buf_str(&v->body));
	else
		buf_add_str(out, "\r\n");
}

/* False: the connection is over. */
static bool send_answer(const struct http *c, struct buf *out)
{
	const char *how = scripted(&c->vmm->g, "api");
	auto_buf struct buf huge = BUF_INIT(4u << 20);

	how = how ? how : "";
	if (strcmp(how, "gone") == 0)
		die("fake: the API ends as told");
	if (strcmp(how, "silent") == 0)
		return true;
	if (strcmp(how, "slow") == 0)
		(void)io_wait(-1, 0, deadline_in(SLOW_MS));
	if (strcmp(how, "truncated") == 0)
		out->len /= 2;
	if (strcmp(how, "huge") == 0) {
		buf_add_str(&huge, "HTTP/1.1 400 \r\nContent-Length: 3000000\r\n\r\n");
		while (huge.len < 3000000)
			buf_add_str(&huge, "a very long answer, ");
		out = &huge;
	}
	(void)io_write_full(c->src.fd, out->data, out->len, deadline_in(5000), NULL);
	return strcmp(how, "truncated") != 0;
}

static void answer(struct http *c, const char *method, const char *path, const char *body,
		   size_t len)
{
	struct vmm *v = c->vmm;
	auto_buf struct buf out = BUF_INIT(1u << 20);

	buf_reset(&v->err);
	buf_reset(&v->body);
	put_answer(v, dispatch(v, method, path, body, len), &out);
	if (strcmp(path, "/snapshot/create") == 0 && scripted(&v->g, "save_forever"))
		return;
	if (!send_answer(c, &out))
		(void)shutdown(c->src.fd, SHUT_RDWR);
	if (v->ending)
		_exit(1);
}

/* 1: one request is answered and taken off; 0: more must come. */
static int take_request(struct http *c)
{
	char method[16], path[256];
	const char *head = buf_str(&c->in), *end = strstr(head, "\r\n\r\n");
	const char *length = strstr(head, "Content-Length: ");
	uint64_t len = 0;

	if (!end || sscanf(head, "%15s %255s HTTP/1.1", method, path) != 2)
		return 0;
	if (length && length < end) {
		auto_free char *digits = xstrndup(length + 16, strspn(length + 16, "0123456789"));

		(void)parse_u64(digits, 0, SIZE_MAX, &len, NULL);
	}
	size_t head_len = (size_t)(end + 4 - head);

	if (len > c->vmm->payload_max) {
		auto_free char *text = xasprintf(
			"{ \"error\": \"Request payload with size %llu is larger than the limit of "
			"%zu allowed by server.\nAll previous unanswered requests will be "
			"dropped.\" }",
			(unsigned long long)len, c->vmm->payload_max);

		(void)dprintf(c->src.fd,
			      "HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: "
			      "keep-alive\r\nContent-Type: application/json\r\nContent-Length: "
			      "%zu\r\n\r\n%s",
			      strlen(text), text);
		buf_reset(&c->in);
		return 0;
	}
	if (c->in.len < head_len + len)
		return 0;
	answer(c, method, path, head + head_len, len);
	buf_consume(&c->in, head_len + len);
	return 1;
}

static void on_http(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct http *c = src->data;
	char chunk[65536];
	ssize_t n = recv(src->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n <= 0) {
		http_free(c);
		return;
	}
	buf_add(&c->in, chunk, (size_t)n);
	while (c->in.len > 0 && take_request(c) > 0)
		continue;
}

static void on_api(struct loop *loop, struct loop_source *src, uint32_t events)
{
	static const char full[] =
		"HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: "
		"close\r\nContent-Length: 40\r\n\r\n{ \"error\": \"Too many open "
		"connections\" }";
	struct vmm *v = src->data;
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
	const char *how = scripted(&v->g, "api");

	(void)events;
	if (fd < 0)
		return;
	if (v->n_connections >= CONNECTIONS_MAX) {
		(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
		(void)close(fd);
		return;
	}
	if (how && strcmp(how, "late") == 0)
		(void)dprintf(fd, "HTTP/1.1 204 \r\nConnection: keep-alive\r\n\r\n");
	struct http *c = xcalloc(1, sizeof(*c));

	c->vmm = v;
	c->in = (struct buf)BUF_INIT(4u << 20);
	v->n_connections++;
	(void)loop_add(loop, &c->src, fd, EPOLLIN, on_http, c, NULL);
}

/* --- the command line ------------------------------------------------------------------------ */

static void set_version(struct vmm *v)
{
	const char *text = scripted(&v->g, "version");

	v->minor = 16;
	v->patch = 1;
	if (text)
		(void)sscanf(text, "1.%u.%u", &v->minor, &v->patch);
}

static void say_format(const struct vmm *v)
{
	static const unsigned int formats[] = {[12] = 6, [13] = 8, [14] = 8, [15] = 9, [16] = 10};

	(void)printf("v%u.0.0\n", v->minor < ARRAY_SIZE(formats) ? formats[v->minor] : 11);
}

static int listen_api(struct vmm *v, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0)
		die("fake_firecracker: cannot listen on '%s': %s", path, strerror(errno));
	return loop_add(v->g.loop, &v->api, fd, EPOLLIN, on_api, v, NULL);
}

/* True: it was asked for something that needs no VM. */
static bool take_args(struct vmm *v, int argc, char **argv, const char **ret_sock)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--version") == 0) {
			(void)printf("Firecracker v1.%u.%u\n\n", v->minor, v->patch);
			return true;
		}
		if (strcmp(argv[i], "--snapshot-version") == 0) {
			say_format(v);
			return true;
		}
		if (strcmp(argv[i], "--show-level") == 0)
			continue;
		if (i + 1 == argc)
			die("fake_firecracker: '%s' wants a value", argv[i]);
		if (strcmp(argv[i], "--api-sock") == 0)
			*ret_sock = argv[i + 1];
		else if (strcmp(argv[i], "--log-path") == 0)
			v->log_path = argv[i + 1];
		else if (strcmp(argv[i], "--metrics-path") == 0)
			v->metrics_path = argv[i + 1];
		else if (strcmp(argv[i], "--http-api-max-payload-size") == 0)
			(void)sscanf(argv[i + 1], "%zu", &v->payload_max);
		else if (strcmp(argv[i], "--id") != 0 && strcmp(argv[i], "--level") != 0)
			die("fake_firecracker: no option '%s'", argv[i]);
		i++;
	}
	return false;
}

int main(int argc, char **argv)
{
	static struct vmm v = {.payload_max = 51200,
			       .cpus = 1,
			       .mem_mib = 128,
			       .err = BUF_INIT(1u << 16),
			       .body = BUF_INIT(1u << 20)};
	const char *sock = "/run/firecracker.socket";

	v.g = (struct guest){.qmp = -1, .channel = -1, .state_fd = -1, .exit_code = -1};
	read_script_file(&v.g);
	set_version(&v);
	if (take_args(&v, argc, argv, &sock))
		return 0;
	(void)signal(SIGPIPE, SIG_IGN);
	v.drives = json_object_new_array();
	if (loop_new(&v.g.loop, NULL) < 0 || listen_api(&v, sock) < 0)
		die("fake_firecracker: no loop");
	return loop_run(v.g.loop, NULL) < 0;
}
