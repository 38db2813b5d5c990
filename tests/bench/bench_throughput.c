/* bench_throughput.c - one TCP stream between a guest and the internet, bridged and of an ordinary
 * user, beside the same stream without a guest over the veth pair that both go through: the ceiling
 * of this host, in the same run, in turns. "up" is out of the guest. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "netns.h"
#include "place.h"
#include "run.h"
#include "user.h"
#include "world.h"
#include "xalloc.h"

#define ROUNDS 3
#define SECONDS "4"
#define IPERF_MS 60000u /* a hang is a failure */

/* The snapshot is made without a network: what it is restored into is what differs. */
static const char keys[] = "    rootfs: iperf\n    network: none\n";
#define BODY(mode)                                     \
	"rootfs:\n"                                    \
	"  iperf: { build: { packages: [iperf3] } }\n" \
	"fleets:\n"                                    \
	"  web: { from: web, count: 1, network: " mode " }\n"

static struct place place;

static double number_of(struct json_object *end, const char *sum, const char *key)
{
	struct json_object *o = json_opt_obj(end, sum), *number = NULL;

	if (!o || !json_object_object_get_ex(o, key, &number))
		world_die("iperf3: no end.%s.%s", sum, key);
	return json_object_get_double(number);
}

/* Mbit/s: what the receiver has counted, by the clock of the server, as a guest's may go wrong. */
static double rate_of(const struct run_result *r, bool down)
{
	auto_json struct json_object *o = NULL;
	struct json_object *end = NULL;
	struct err err = {0};

	if (json_parse(buf_str(&r->out), r->out.len, &o, &err) < 0)
		world_die("iperf3: %s\n%s%s", err.msg, buf_str(&r->out), buf_str(&r->err));
	if (json_opt_str(o, "error", NULL)) /* also of a stream cut short, beside its figures */
		world_die("iperf3: %s", json_opt_str(o, "error", NULL));
	end = json_opt_obj(o, "end");
	return number_of(end, "sum_received", "bytes") * 8 / 1e6 /
	       number_of(end, down ? "sum_sent" : "sum_received", "seconds");
}

/* The last word: -R turns the stream round. */
#define IPERF(down) "iperf3", "-c", PLACE_INET, "-J", "-i", "0", "-t", SECONDS, (down) ? "-R" : NULL

static double rate_of_guest(const struct world *w, bool down)
{
	auto_free char *vm = xasprintf("%s.web-0", w->set);
	auto_run struct run_result r = RUN_INIT;

	world_fcvm_heard(w, &r, (const char *const[]){"exec", "--vm", vm, "--", IPERF(down), NULL});
	return rate_of(&r, down);
}

static double rate_of_veth(bool down)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){IPERF(down), NULL}, NULL, NULL, IPERF_MS);
	return rate_of(&r, down);
}

/* In the internet, until the measuring process ends. Its first words come when it listens. */
static void serve(void)
{
	const char *const argv[] = {"iperf3", "-s", "-i", "0", "--forceflush", NULL};
	pid_t parent = getpid(), pid = -1;
	char byte = 0;
	int out[2];

	if (pipe2(out, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		world_die("cannot start a server");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		    dup2(out[1], STDOUT_FILENO) < 0)
			_exit(1);
		place_enter(place.inet);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(out[1]);
	if (read(out[0], &byte, 1) != 1) /* the rest fits the pipe, which stays open */
		world_die("iperf3 does not serve");
}

static void measure(const struct world *w)
{
	static const char *const names[] = {"up", "down"};
	const char *mode = w->user ? "rootless" : "bridged";
	double guest[2][ROUNDS], veth[2][ROUNDS];

	serve();
	WORLD_FCVM(w, "apply", w->spec);
	for (int i = 0; i < ROUNDS; i++)
		for (int down = 0; down < 2; down++) {
			guest[down][i] = rate_of_guest(w, down);
			veth[down][i] = rate_of_veth(down);
		}
	for (int down = 0; down < 2; down++) {
		auto_free char *name = xasprintf("net.throughput.%s.%s", mode, names[down]);

		bench_print(&(struct bench_row){name, bench_quantile(guest[down], ROUNDS, 0.5),
						"Mbit/s", "veth",
						bench_quantile(veth[down], ROUNDS, 0.5), ROUNDS});
	}
}

/* The guest's root with iperf3 in it is built where the machine's own network is. */
static void measure_bridged(const struct world *w)
{
	place_enter(place.real);
	WORLD_FCVM(w, "apply", w->spec, "--set", "fleets.web.count=0");
	place_enter(place.host);
	measure(w);
}

/* Whether an ordinary user can be made who may do what rootless mode needs. */
static bool user_possible(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		const struct user u = {.uid = 65534};

		user_open_tun();
		user_become(&u);
		_exit(netns_tap_permitted(NULL, 0) && user_enter_namespace() == 0 ? 0 : 1);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return pid > 0 && status == 0;
}

static const char *missing(void)
{
	if (!user_possible())
		return "an ordinary user with /dev/net/tun and a user namespace";
	return file_exists("/usr/bin/slirp4netns") ? NULL : "slirp4netns";
}

int main(void)
{
	char why[200] = "needs root";
	int status = 0;

	if (geteuid() != 0 || !netns_tap_permitted(why, sizeof(why))) {
		(void)fprintf(stderr, "bench throughput: skipped: %s\n", why);
		return 0;
	}
	place_make(&place);
	status = world_run("bench-bridged", keys, BODY("bridged"), measure_bridged);
	if (status != 0)
		return status;
	if (missing()) {
		(void)fprintf(stderr, "bench throughput: rootless skipped: needs %s\n", missing());
		return 0;
	}
	user_open_tun();
	return world_run_user("bench-rootless", keys, BODY("rootless"), measure);
}
