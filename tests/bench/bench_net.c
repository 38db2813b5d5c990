/* bench_net.c - the network of a VM, made and taken away: one after the other and a hundred at
 * once, beside the same work done by `ip -batch` and `nft` in the same run, in turns. Targets:
 * setup at most 1/7 in sequence, 1/5 in parallel. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "net.h"
#include "netns.h"
#include "place.h"
#include "run.h"
#include "xalloc.h"

#define SEQUENCE 40
#define PARALLEL 100
#define ROUNDS 3

struct bench {
	char *dir;
	struct host host;
	int next; /* number of the next VM of either kind */
};

static void die(const char *what)
{
	(void)fprintf(stderr, "bench net: %s\n", what);
	exit(1);
}

/* A host of its own: a namespace with a way out, and a private /run/netns for `ip netns`. */
static void make_world(struct bench *b)
{
	struct place place;
	struct err err = {0};

	b->dir = tmpdir_new("bench-net");
	if (host_init(&b->host, b->dir, &err) < 0 || host_make_dirs(&b->host, &err) < 0)
		die(err.msg);
	place_make(&place);
	if (file_mkdir_p("/run/netns", 0755, &err) < 0 ||
	    mount("none", "/run/netns", "tmpfs", 0, NULL) < 0)
		die("cannot make a world");
}

/* --- ours ------------------------------------------------------------------------------------ */

/* Waits for `go` to close, brings up a network, says how long it took, waits for `end` to close and
 * says how long taking it down took. */
static void our_child(const struct bench *b, int number, const int *go, const int *end, int out)
{
	auto_free char *name = xasprintf("vm-%d", number), *dir = path_join(b->dir, name);
	auto_net_config struct net_config c = {.mode = NET_BRIDGED};
	const struct net_spec spec = {.host = &b->host, .dir = dir, .config = &c};
	struct net *n = NULL;
	struct err err = {0};
	double start = 0, ms = 0;
	char byte = 0;

	c.ports = xcalloc(1, sizeof(*c.ports));
	c.n_ports = 1;
	c.ports[0] = (struct net_port){"", 80, 80, false};
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (file_mkdir_p(dir, 0711, &err) < 0 || read(go[0], &byte, 1) != 0)
		_exit(1);
	start = bench_now_ms();
	if (net_up(&spec, &n, &err) < 0)
		die(err.msg);
	ms = bench_now_ms() - start;
	if (write(out, &ms, sizeof(ms)) != sizeof(ms) || read(end[0], &byte, 1) != 0)
		_exit(1);
	start = bench_now_ms();
	net_down(n);
	ms = bench_now_ms() - start;
	_exit(write(out, &ms, sizeof(ms)) != sizeof(ms));
}

/* --- the peer -------------------------------------------------------------------------------- */

static char *write_text(const struct bench *b, int number, const char *kind, const char *text)
{
	auto_free char *name = xasprintf("%s-%d", kind, number);
	char *path = path_join(b->dir, name);

	if (file_replace(path, text, strlen(text), 0600, NULL) < 0)
		die("cannot write a batch");
	return path;
}

struct peer {
	char *ns, *outside, *inside, *rules, *elements, *forget;
};

/* The batches are written before the clock starts. */
static void peer_prepare(const struct bench *b, int number, struct peer *p)
{
	int x = number / 64, y = number % 64 * 4;
	auto_free char *outside = xasprintf("link add pb%d type veth peer name up0 netns pb%d\n"
					    "addr add 10.201.%d.%d/30 dev pb%d\nlink set pb%d up\n",
					    number, number, x, y + 1, number, number);
	auto_free char *inside = xasprintf(
		"tuntap add tap0 mode tap vnet_hdr\nlink set lo up\nlink set tap0 address "
		"02:fc:00:00:00:02\nlink set tap0 up\naddr add 172.16.0.2/24 dev tap0\naddr add "
		"172.16.0.3/32 dev tap0\naddr add 10.201.%d.%d/30 dev up0\nlink set up0 up\nroute "
		"add default via 10.201.%d.%d\n",
		x, y + 2, x, y + 1);
	auto_free char *elements = xasprintf(
		"add element ip peer vmif { pb%d }\nadd element ip peer spoofok { pb%d . "
		"10.201.%d.%d }\nadd element ip peer pub { 127.65.%d.%d . tcp . 80 : 10.201.%d.%d . "
		"80 }\n",
		number, number, x, y + 2, x, y + 2, x, y + 2);
	auto_free char *forget = xasprintf(
		"delete element ip peer vmif { pb%d }\ndelete element ip peer spoofok { pb%d . "
		"10.201.%d.%d }\ndelete element ip peer pub { 127.65.%d.%d . tcp . 80 }\n",
		number, number, x, y + 2, x, y + 2);

	p->ns = xasprintf("pb%d", number);
	p->outside = write_text(b, number, "outside", outside);
	p->inside = write_text(b, number, "inside", inside);
	p->elements = write_text(b, number, "elements", elements);
	p->forget = write_text(b, number, "forget", forget);
	p->rules = path_join(b->dir, "rules");
}

static void peer_free(struct peer *p)
{
	free(p->ns);
	free(p->outside);
	free(p->inside);
	free(p->rules);
	free(p->elements);
	free(p->forget);
}

static void peer_table(const struct bench *b)
{
	static const char inside[] =
		"table ip vm { chain c_raw { type filter hook prerouting priority raw; iifname tap0 "
		"ip saddr != 172.16.0.100 drop; }\nchain c_pre { type nat hook prerouting priority "
		"dstnat; iifname up0 dnat to 172.16.0.100; }\nchain c_post { type nat hook "
		"postrouting priority srcnat; oifname up0 masquerade; }\nchain c_forward { type "
		"filter hook forward priority filter; policy drop; ct state established,related "
		"accept; iifname up0 ct status dnat accept; ip daddr { 127.0.0.0/8, "
		"169.254.0.0/16, 224.0.0.0/3 } reject; iifname tap0 oifname up0 accept; }; }\n";
	static const char host[] =
		"table ip peer { set vmif { type ifname; }; set spoofok { type ifname . ipv4_addr; "
		"}; map pub { type ipv4_addr . inet_proto . inet_service : ipv4_addr . "
		"inet_service; }; }\n";
	auto_free char *rules = path_join(b->dir, "rules"), *table = path_join(b->dir, "table");

	if (file_replace(rules, inside, strlen(inside), 0600, NULL) < 0 ||
	    file_replace(table, host, strlen(host), 0600, NULL) < 0)
		die("cannot write rules");
	PLACE_RUN("nft", "-f", table);
}

static void peer_up(const struct peer *p)
{
	auto_free char *enter =
		xasprintf("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 "
			  ">/proc/sys/net/ipv6/conf/all/disable_ipv6; exec nft -f %s",
			  p->rules);

	PLACE_RUN("ip", "netns", "add", p->ns);
	PLACE_RUN("ip", "-batch", p->outside);
	PLACE_RUN("ip", "-n", p->ns, "-batch", p->inside);
	PLACE_RUN("ip", "netns", "exec", p->ns, "sh", "-c", enter);
	PLACE_RUN("nft", "-f", p->elements);
}

static void peer_down(const struct peer *p)
{
	PLACE_RUN("nft", "-f", p->forget);
	PLACE_RUN("ip", "netns", "del", p->ns);
}

static void peer_child(const struct bench *b, int number, const int *go, const int *end, int out)
{
	struct peer p;
	double start = 0, ms = 0;
	char byte = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	peer_prepare(b, number, &p);
	if (read(go[0], &byte, 1) != 0)
		_exit(1);
	start = bench_now_ms();
	peer_up(&p);
	ms = bench_now_ms() - start;
	if (write(out, &ms, sizeof(ms)) != sizeof(ms) || read(end[0], &byte, 1) != 0)
		_exit(1);
	start = bench_now_ms();
	peer_down(&p);
	ms = bench_now_ms() - start;
	peer_free(&p);
	_exit(write(out, &ms, sizeof(ms)) != sizeof(ms));
}

/* --- rounds ---------------------------------------------------------------------------------- */

typedef void (*child_fn)(const struct bench *b, int number, const int *go, const int *end, int out);

/* Takes n networks up and down again; their times go to up and down. Returns how long all n took to
 * be up. */
static double round_of(struct bench *b, child_fn fn, int n, double *up, double *down)
{
	int go[2], end[2], out[2];
	double start = 0, wall = 0;

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(end, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("no pipes");
	for (int i = 0; i < n; i++) {
		int number = b->next++;

		if (fork() != 0)
			continue;
		(void)close(go[1]);
		(void)close(end[1]);
		fn(b, number, go, end, out[1]);
	}
	(void)close(out[1]);
	(void)usleep(50000); /* all of them wait */
	start = bench_now_ms();
	(void)close(go[1]);
	for (int i = 0; i < n; i++)
		if (read(out[0], &up[i], sizeof(*up)) != sizeof(*up))
			die("a child failed");
	wall = bench_now_ms() - start;
	(void)close(end[1]);
	for (int i = 0; i < n; i++)
		if (read(out[0], &down[i], sizeof(*down)) != sizeof(*down))
			die("a child failed");
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	(void)close(go[0]);
	(void)close(end[0]);
	(void)close(out[0]);
	return wall;
}

static void print(const char *name, double ours, double theirs, uint64_t n)
{
	const struct bench_row row = {.bench = name,
				      .value = ours,
				      .unit = "ms",
				      .peer = "ip -batch + nft",
				      .peer_value = theirs,
				      .n = n};

	bench_print(&row);
}

static void bench_sequence(struct bench *b)
{
	double up[2][SEQUENCE], down[2][SEQUENCE];

	for (int i = 0; i < SEQUENCE; i++) {
		(void)round_of(b, our_child, 1, &up[0][i], &down[0][i]);
		(void)round_of(b, peer_child, 1, &up[1][i], &down[1][i]);
	}
	print("net.setup.sequential", bench_quantile(up[0], SEQUENCE, 0.5),
	      bench_quantile(up[1], SEQUENCE, 0.5), SEQUENCE);
	print("net.teardown", bench_quantile(down[0], SEQUENCE, 0.5),
	      bench_quantile(down[1], SEQUENCE, 0.5), SEQUENCE);
}

static void bench_parallel(struct bench *b)
{
	static double up[PARALLEL], down[PARALLEL];
	double wall[2][ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		wall[0][i] = round_of(b, our_child, PARALLEL, up, down);
		wall[1][i] = round_of(b, peer_child, PARALLEL, up, down);
	}
	print("net.setup.parallel100", bench_quantile(wall[0], ROUNDS, 0.5),
	      bench_quantile(wall[1], ROUNDS, 0.5), ROUNDS);
}

int main(void)
{
	struct bench b = {.dir = NULL};
	char why[200];

	if (geteuid() != 0 || !netns_tap_permitted(why, sizeof(why))) {
		(void)fprintf(stderr, "bench net: skipped: needs root and /dev/net/tun\n");
		return 0;
	}
	make_world(&b);
	peer_table(&b);
	bench_sequence(&b);
	bench_parallel(&b);
	host_free(&b.host);
	tmpdir_remove(&b.dir);
	return 0;
}
