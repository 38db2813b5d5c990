#include "user_world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define RUN_MS 300000u
#define CACHE "/var/lib/fcvm/cache"
#define ARCHIVE TEST_BUILD_DIR "/examples/hello.oci.tar"

static const char source[] = "oci-archive:" ARCHIVE;

static struct user_world live;

static void sh(const char *script)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){"sh", "-c", script, NULL}, NULL, NULL, RUN_MS);
	cr_assert_eq(r.status, 0, "%s: %s", script, buf_str(&r.err));
}

/* --- making it --- */

/* With the real network, if anything is to be fetched. */
static void build_cache(void)
{
	const char *cache = getenv("FCVM_TEST_CACHE");
	auto_run struct run_result r = RUN_INIT;

	cr_assert_eq(file_mkdir_p("/var/lib/fcvm", 0711, NULL), 0);
	cr_assert_eq(file_mkdir_p(CACHE, 0755, NULL), 0);
	if (cache)
		cr_assert_eq(mount(cache, CACHE, NULL, MS_BIND, NULL), 0);
	run_argv(&r,
		 (const char *const[]){run_fcvm_path(), "--data-dir", "/var/lib/fcvm", "setup",
				       "--image", source, NULL},
		 NULL, NULL, RUN_MS);
	cr_assert_eq(r.status, 0, "%s", buf_str(&r.err));
}

static void write_spec(struct user_world *w, const char *body)
{
	auto_free char *fcvm = path_join(w->dir, "fcvm");
	auto_free char *image = path_join(w->dir, "hello.oci.tar");
	auto_free char *text = xasprintf("apiVersion: fcvm/v1\nname: %s\nbaselines:\n  web:\n"
					 "    image: \"oci-archive:./hello.oci.tar\"\n"
					 "    memory: 256MiB\n"
					 "    healthcheck: { http: \"http://:8080/healthz\" }\n%s",
					 w->set, body);

	user_copy(run_fcvm_path(), fcvm, 0755);
	user_copy(ARCHIVE, image, 0644);
	cr_assert_eq(file_replace(w->spec, text, strlen(text), 0644, NULL), 0);
}

/* A child that dies with the test, in the internet or on the host. */
static pid_t child(const struct user_world *w, bool inet)
{
	pid_t parent = getpid(), pid = fork();

	cr_assert_geq(pid, 0);
	if (pid > 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	if (inet && w->inet) {
		auto_free char *path = xasprintf("/proc/%d/ns/net", (int)w->inet);
		auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
			_exit(1);
	}
	return 0;
}

static void make_network(struct user_world *w)
{
	char byte = 0;
	int up[2];
	pid_t pid;

	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(pipe2(up, O_CLOEXEC), 0);
	pid = child(w, false);
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) == 0 && write(up[1], "", 1) == 1)
			(void)pause();
		_exit(1);
	}
	w->inet = pid;
	cr_assert_eq(read(up[0], &byte, 1), 1);
	auto_free char *script = xasprintf(
		"ip link set lo up && ip link add wan0 type veth peer name in0 netns %d && "
		"ip addr add " WORLD_HOST "/24 dev wan0 && ip link set wan0 up && "
		"nsenter -t %d -n sh -ec 'ip link set lo up; ip link set in0 up; "
		"for a in " WORLD_INET "/24 " WORLD_INET_2 "/32 " WORLD_METADATA "/32; do "
		"ip addr add $a dev in0; done' && ip route add default via " WORLD_INET,
		(int)pid, (int)pid);
	sh(script);
}

void user_world_make(struct user_world *w, const char *what, const char *body)
{
	char uuid[37];

	user_make(&w->user, what);
	user_open_tun();
	build_cache();
	io_uuid(uuid);
	w->dir = tmpdir_new(what);
	cr_assert_eq(chmod(w->dir, 0711), 0);
	w->set = xasprintf("%s-%.8s", what, uuid);
	w->spec = path_join(w->dir, "fleet.yaml");
	write_spec(w, body);
	auto_free char *conf = path_join(w->dir, "resolv.conf");
	cr_assert_eq(file_replace(conf, "nameserver 127.0.0.53\n", 22, 0644, NULL), 0);
	cr_assert_eq(mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
	make_network(w);
	live = *w;
}

void user_world_run(struct user_world *w, struct run_result *r, int want, const char *const *words)
{
	auto_free char *fcvm = path_join(w->dir, "fcvm");
	const char *argv[32] = {fcvm};
	size_t n = 1;

	for (; *words && n < ARRAY_SIZE(argv) - 1; words++)
		argv[n++] = *words;
	user_run(&w->user, r, argv, NULL, RUN_MS);
	if (want >= 0)
		cr_assert_eq(r->status, want, "fcvm %s: status %d, wanted %d\n%s%s", argv[1],
			     r->status, want, buf_str(&r->out), buf_str(&r->err));
}

void user_world_cleanup(void)
{
	auto_run struct run_result r = RUN_INIT;

	if (!live.dir)
		return;
	WORLD_RUN(&live, &r, -1, "destroy", live.set);
	tmpdir_remove(&live.dir);
	user_free(&live.user);
}

void user_world_finish(struct user_world *w)
{
	auto_run struct run_result r = RUN_INIT;
	auto_free char *left = NULL;

	WORLD_RUN(w, &r, 0, "destroy", w->set);
	left = host_leftovers(w->user.home);
	cr_assert_str_eq(left, "", "left behind:\n%s", left);
	live.dir = NULL;
	free(w->set);
	free(w->spec);
	tmpdir_remove(&w->dir);
	user_free(&w->user);
}

/* --- who talks in it --- */

static struct sockaddr_in place(const char *ip, uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};

	cr_assert_eq(inet_pton(AF_INET, ip, &at.sin_addr), 1);
	return at;
}

__attribute__((noreturn)) static void serve(int fd, const char *name, int log)
{
	for (;;) {
		struct sockaddr_in peer = {0};
		socklen_t len = sizeof(peer);
		auto_close int conn = accept(fd, (struct sockaddr *)&peer, &len);
		char ip[INET_ADDRSTRLEN] = "";

		if (conn < 0)
			continue;
		(void)inet_ntop(AF_INET, &peer.sin_addr, ip, sizeof(ip));
		(void)!write(log, "", 1);
		(void)dprintf(conn, "%s %s\n", name, ip);
	}
}

int world_serve(struct user_world *w, bool inet, const char *name, const char *ip, uint16_t port)
{
	const struct sockaddr_in at = place(ip, port);
	char byte = 0;
	int log[2];

	cr_assert_eq(pipe2(log, O_CLOEXEC), 0);
	if (child(w, inet) == 0) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0 ||
		    write(log[1], "", 1) != 1)
			_exit(1);
		serve(fd, name, log[1]);
	}
	(void)close(log[1]);
	cr_assert_eq(read(log[0], &byte, 1), 1, "nobody listens at %s:%u", ip, port);
	cr_assert_eq(io_set_nonblock(log[0], true), 0);
	return log[0];
}

/* "web.example" as DNS writes it: each label behind its length. */
static size_t encode_name(const char *name, unsigned char *ret)
{
	size_t n = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		ret[n++] = (unsigned char)len;
		memcpy(ret + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	ret[n++] = 0;
	return n;
}

/* Answers A questions for the name; of everything else there is nothing. */
__attribute__((noreturn)) static void resolve(int fd, const char *name, const char *ip)
{
	unsigned char wire[256], record[16] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
	size_t n_wire = encode_name(name, wire);

	(void)inet_pton(AF_INET, ip, record + 12);
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		unsigned char msg[1024];
		ssize_t n = recvfrom(fd, msg, 512, 0, (struct sockaddr *)&from, &len);
		size_t end = 12 + n_wire + 4;

		if (n < (ssize_t)end)
			continue;
		msg[2] |= 0x80;
		msg[10] = msg[11] = 0; /* nothing additional */
		if (memcmp(msg + 12, wire, n_wire) == 0 && msg[12 + n_wire + 1] == 1) {
			msg[7] = 1;
			memcpy(msg + end, record, sizeof(record));
			end += sizeof(record);
		}
		(void)sendto(fd, msg, end, 0, (const struct sockaddr *)&from, len);
	}
}

void world_resolve(struct user_world *w, const char *name, const char *ip)
{
	const struct sockaddr_in at = place("127.0.0.53", 53);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	if (child(w, false) == 0)
		resolve(fd, name, ip);
	(void)close(fd);
}

static char *hear(const struct sockaddr_in *at)
{
	const struct timeval patience = {.tv_sec = 20};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct buf text = BUF_INIT(4096);
	char chunk[512];
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0) {
		(void)!write(fd, "GET / HTTP/1.0\r\n\r\n", 18);
		while ((n = read(fd, chunk, sizeof(chunk))) > 0)
			buf_add(&text, chunk, (size_t)n);
	}
	return buf_detach(&text);
}

char *world_hear(struct user_world *w, bool inet, const char *ip, uint16_t port)
{
	const struct sockaddr_in at = place(ip, port);
	struct buf text = BUF_INIT(4096);
	char chunk[512];
	ssize_t n;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	if (child(w, inet) == 0) {
		auto_free char *heard = hear(&at);

		(void)!write(fds[1], heard, strlen(heard));
		_exit(0);
	}
	(void)close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(&text, chunk, (size_t)n);
	(void)close(fds[0]);
	return buf_detach(&text);
}

char *guest_sh(struct user_world *w, const char *clone, const char *script)
{
	auto_run struct run_result r = RUN_INIT;
	auto_free char *vm = xasprintf("%s.%s", w->set, clone);

	WORLD_RUN(w, &r, -1, "exec", "--vm", vm, "--", "bash", "-c", script);
	return xstrdup(buf_str(&r.out));
}

char *guest_hear(struct user_world *w, const char *clone, const char *host, uint16_t port)
{
	auto_free char *script =
		xasprintf("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/%u && head -n 1 <&3' 2>&1; "
			  "[ $? -ne 124 ] || echo timeout",
			  host, port);

	return guest_sh(w, clone, script);
}
