/* fake_qemu.c - what fcvm needs of QEMU and of a guest, in milliseconds: usable as FCVM_QEMU. Takes
 * the command line the engine builds, speaks QMP on its descriptor, keeps (or privately maps) the
 * memory file, and serves the real mux with a scripted agent behind it.
 *
 * Script: words "fake.NAME[=VALUE]" of -append, which a snapshot's state carries on to its clones,
 * and those of the file <program>.script. Names:
 *   hang           the channel never answers         no_migrate   saving the state fails
 *   no_resume      a clone loads but does not run    die          ends at once, with last words
 *   protocol=N     the agent's protocol version      unhealthy    the check never passes
 *   refuse_X=N     answers request X with errno N    garbage      a malformed frame on the channel
 *   frozen         does not answer PREPARE           exit=N       the container ends with N
 *   hold           answers the first PREPARE when told (held, let-go)
 *   hold_resume    the same for RESUME, as if its hooks took so long
 *   save_forever   saving the state never ends       off          ends once it is started
 *   gate=FIFO      does nothing before it has read a byte from there
 *   save_gate=FIFO the same, before it saves its state
 *   cross          its answer to PREPARE crosses a SHUTDOWN on the way; does not end by itself then
 *   freezing       answers PREPARE when a THAW calls it off; does not end by itself
 * Commands in the guest: echo WORDS, cat, exit N, wait (for a signal), identity, container-exit N,
 * held (is there a PREPARE), let-go, frozen (is it), checked (is there a check), poweroff, crash;
 * anything else is "not found". */
#include "fake_guest.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "file.h"
#include "json.h"

#define PAGE 4096u

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	/* The shim is preloaded in front of the sanitizer; what we leak ends with us. */
	return "verify_asan_link_order=0:detect_leaks=0";
}

/* --- the state of a VM, as the snapshot carries it ------------------------------------------- */

static void save_state(const struct guest *g)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "container", g->container);
	json_add_bool(o, "check", g->check);
	json_add_bool(o, "frozen", g->frozen);
	json_add(o, "script", json_strv(&g->script));
	auto_free char *text = json_line(o);

	if (file_write_fd(g->state_fd, text, strlen(text), NULL) < 0)
		die("fake_qemu: cannot write the state");
}

static void load_state(struct guest *g)
{
	auto_json struct json_object *o = NULL;
	struct json_object *script = NULL;
	char text[65536];
	ssize_t n = pread(g->state_fd, text, sizeof(text), 0);
	const char *name = NULL;

	if (n <= 0 || json_parse(text, (size_t)n, &o, NULL) < 0 ||
	    json_get_arr(o, "script", &script, NULL) < 0)
		die("fake_qemu: cannot read the state");
	(void)json_to_strv(script, &g->script, NULL);
	name = json_opt_str(o, "container", NULL);
	g->container = name ? xstrdup(name) : NULL;
	g->check = json_opt_bool(o, "check", false);
	g->frozen = json_opt_bool(o, "frozen", false);
}

/* A booted VM's memory says what every page is; a clone's must say the same. */
static void map_memory(const char *path, uint64_t size, bool incoming)
{
	int fd = open(path, incoming ? O_RDONLY : O_RDWR);
	char *mem = fd < 0 ? MAP_FAILED
			   : mmap(NULL, size, PROT_READ | PROT_WRITE,
				  incoming ? MAP_PRIVATE : MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		die("fake_qemu: cannot map '%s': %s", path, strerror(errno));
	for (uint64_t at = 0; at < size && at < 64 * PAGE; at += PAGE) {
		char want[32];

		(void)snprintf(want, sizeof(want), "page %llu", (unsigned long long)(at / PAGE));
		if (!incoming)
			memcpy(mem + at, want, sizeof(want));
		else if (strcmp(mem + at, want) != 0)
			die("fake_qemu: page %llu is wrong", (unsigned long long)(at / PAGE));
	}
}

/* --- QMP ------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void say(const struct guest *g, const char *fmt, ...)
{
	auto_buf struct buf line = BUF_INIT(65536);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	buf_add_str(&line, "\r\n");
	(void)io_write_full(g->qmp, line.data, line.len, deadline_in(5000), NULL);
}

static void event(const struct guest *g, const char *name, const char *status)
{
	if (status)
		say(g, "{\"event\":\"%s\",\"data\":{\"status\":\"%s\"}}", name, status);
	else
		say(g, "{\"event\":\"%s\"}", name);
}

static int on_accept(void *data, uint32_t port, int *ret_fd)
{
	int pair[2];

	if (!is_served(port))
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	service_start(data, port, pair[0]);
	*ret_fd = pair[1];
	return 0;
}

static void on_synced(void *data, bool fresh)
{
	(void)data;
	(void)fresh;
}

static void on_quiesced(void *data)
{
	(void)data;
}

static void on_lost(void *data, const char *why)
{
	(void)data;
	(void)why;
}

static void start_guest(struct guest *g)
{
	static const struct mux_ops ops = {on_accept, on_synced, on_quiesced, on_lost};

	g->running = true;
	if (scripted(g, "off"))
		(void)loop_timer(g->loop, &g->end, LAST_FRAMES_MS, 0, on_end, g, NULL);
	if (scripted(g, "hang") || g->mux)
		return;
	if (scripted(g, "garbage"))
		(void)!write(g->channel, "\377\377\377\377\377\377\377\377garbage", 15);
	if (mux_new(g->loop, g->channel, false, &ops, g, &g->mux, NULL) < 0)
		die("fake_qemu: no mux");
	(void)loop_timer(g->loop, &g->tick, TICK_MS, TICK_MS, on_tick, g, NULL);
}

static void migrate(struct guest *g)
{
	event(g, "MIGRATION", "setup");
	if (scripted(g, "no_migrate")) {
		event(g, "MIGRATION", "failed");
		return;
	}
	if (scripted(g, "save_forever"))
		return;
	wait_at(g, "save_gate");
	g->running = false;
	event(g, "STOP", NULL);
	save_state(g);
	event(g, "MIGRATION", "completed");
}

static void incoming(struct guest *g)
{
	load_state(g);
	event(g, "MIGRATION", "active");
	event(g, "MIGRATION", "completed");
	if (scripted(g, "no_resume"))
		return;
	start_guest(g);
	event(g, "RESUME", NULL);
}

static void on_command(struct guest *g, struct json_object *o)
{
	const char *name = json_opt_str(o, "execute", "");
	struct json_object *id = NULL;
	const char *id_text = "null";

	if (json_object_object_get_ex(o, "id", &id))
		id_text = json_object_to_json_string_ext(id, JSON_C_TO_STRING_PLAIN);
	if (strcmp(name, "query-status") == 0)
		say(g, "{\"return\":{\"running\":%s},\"id\":%s}", g->running ? "true" : "false",
		    id_text);
	else
		say(g, "{\"return\":{},\"id\":%s}", id_text);
	if (strcmp(name, "migrate") == 0)
		migrate(g);
	else if (strcmp(name, "migrate-incoming") == 0)
		incoming(g);
	else if (strcmp(name, "cont") == 0)
		start_guest(g);
	else if (strcmp(name, "quit") == 0)
		_exit(0);
}

static void on_qmp(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct guest *g = src->data;
	char chunk[16384];
	size_t n_fds = 0;
	int fd = -1;
	ssize_t n = io_recv_fds(g->qmp, chunk, sizeof(chunk), &fd, 1, &n_fds, 0, NULL);
	char *end = NULL;

	(void)loop;
	(void)events;
	if (n <= 0)
		_exit(0);
	if (n_fds > 0)
		g->state_fd = fd;
	buf_add(&g->qmp_in, chunk, (size_t)n);
	while (g->qmp_in.len > 0 && (end = memchr(g->qmp_in.data, '\n', g->qmp_in.len))) {
		auto_json struct json_object *o = NULL;
		size_t len = (size_t)(end - g->qmp_in.data);

		if (json_parse(g->qmp_in.data, len, &o, NULL) >= 0)
			on_command(g, o);
		buf_consume(&g->qmp_in, len + 1);
	}
}

/* --- the command line ------------------------------------------------------------------------ */

/* The value of key in "a,key=value,b", or "". */
static char *suboption(const char *text, const char *key)
{
	auto_free char *mark = xasprintf("%s=", key);
	const char *at = text;

	while (at && strncmp(at, mark, strlen(mark)) != 0) {
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	at = at ? at + strlen(mark) : "";
	return xstrndup(at, strcspn(at, ","));
}

static uint64_t sub_number(const char *text, const char *key)
{
	auto_free char *value = suboption(text, key);
	uint64_t n = 0;

	if (parse_u64(value, 0, UINT64_MAX, &n, NULL) < 0)
		die("fake_qemu: no %s in '%s'", key, text);
	return n;
}

static void take_chardev(struct guest *g, const char *value)
{
	if (strncmp(value, "socket,id=qmp,", 14) == 0)
		g->qmp = (int)sub_number(value, "fd");
	if (strncmp(value, "socket,id=channel,", 18) == 0)
		g->channel = (int)sub_number(value, "fd");
}

static void check_drive(const char *value)
{
	auto_free char *path = suboption(value, "file.filename");
	int fd = open(path, strstr(value, "readonly=on") ? O_RDONLY : O_RDWR);

	if (fd < 0)
		die("fake_qemu: cannot open disk '%s': %s", path, strerror(errno));
}

static void take_args(struct guest *g, int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++) {
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "-chardev") == 0)
			take_chardev(g, value);
		else if (strcmp(argv[i], "-drive") == 0)
			check_drive(value);
		else if (strcmp(argv[i], "-append") == 0)
			add_script(g, value);
		else if (strcmp(argv[i], "-incoming") == 0)
			g->incoming = true;
	}
	for (int i = 1; i + 1 < argc; i++) {
		auto_free char *path = suboption(argv[i + 1], "mem-path");

		if (strcmp(argv[i], "-object") == 0)
			map_memory(path, sub_number(argv[i + 1], "size"), g->incoming);
	}
}

int main(int argc, char **argv)
{
	struct guest g = {.qmp = -1, .channel = -1, .state_fd = -1, .exit_code = -1};
	struct loop_source qmp = {0};

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)puts("QEMU emulator version 7.2.99 (fake)");
		return 0;
	}
	g.qmp_in = (struct buf)BUF_INIT(1u << 20);
	(void)signal(SIGPIPE, SIG_IGN);
	read_script_file(&g);
	take_args(&g, argc, argv);
	if (scripted(&g, "die"))
		die("fake: died as told");
	wait_at(&g, "gate");
	(void)puts("fake console: up");
	(void)fflush(stdout);
	if (loop_new(&g.loop, NULL) < 0 ||
	    loop_add(g.loop, &qmp, g.qmp, EPOLLIN, on_qmp, &g, NULL) < 0)
		die("fake_qemu: no loop");
	say(&g, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":99}},"
		"\"capabilities\":[]}}");
	if (!g.incoming)
		start_guest(&g);
	return loop_run(g.loop, NULL) < 0;
}
