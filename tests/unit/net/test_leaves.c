/* What networks leave behind: nothing, however many there were and however they ended. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "net.h"
#include "net_place.h"
#include "net_rig.h"
#include "run.h"
#include "xalloc.h"

#define OPEN "\"egress\":\"allow\",\"allow\":[],\"dns\":[]}"
#define PUBLISHED                                                                             \
	"{\"mode\":\"bridged\",\"ports\":[{\"host_ip\":null,\"host_port\":80,\"guest_port\":" \
	"80,\"proto\":\"tcp\"},{\"host_ip\":\"127.0.0.1\",\"host_port\":8080,\"guest_port\":" \
	"80,\"proto\":\"tcp\"}],\"egress\":\"deny\",\"allow\":[\"203.0.113.0/24\"],\"dns\":[]}"
#define OWN_PORT                                                                              \
	"{\"mode\":\"bridged\",\"ports\":[{\"host_ip\":null,\"host_port\":80,\"guest_port\":" \
	"80,\"proto\":\"tcp\"}]," OPEN
#define MANY 100

/* Everything of the host that a VM touches: rules, links, addresses, ports, connections. */
static char *host_state(void)
{
	static const char *const looks[][6] = {
		{"nft", "list", "ruleset", NULL},
		{"ip", "-4", "-o", "addr", NULL},
		{"ip", "route", NULL},
		{"ss", "-Hltun", NULL},
		{"grep", "-c", "10.200.", "/proc/self/net/nf_conntrack", NULL},
		{"cat", "/proc/sys/net/ipv4/conf/wan0/forwarding", NULL},
	};
	struct buf all = BUF_INIT(1u << 20);

	for (size_t i = 0; i < ARRAY_SIZE(looks); i++)
		(void)net_run_at(0, &all, looks[i]);
	buf_add_str(&all, "");
	return buf_detach(&all);
}

/* Links go with their namespace, a little later. */
static void await_state(const char *want)
{
	uint64_t deadline_ms = deadline_in(20000);
	auto_free char *have = host_state();

	while (strcmp(have, want) != 0 && now_ms() < deadline_ms) {
		free(have);
		(void)usleep(10000);
		have = host_state();
	}
	cr_expect_str_eq(have, want);
}

static void sweep(const struct net_world *w)
{
	struct err err = {0};

	cr_assert_geq(net_sweep(&w->host, &err), 0, "%s", err.msg);
}

static void expect_ledgers_empty(const struct net_world *w)
{
	static const char *const names[] = {"slot", "loopback"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = xasprintf("%s/ledger/%s", w->dir, names[i]);
		auto_free char *want = xasprintf("boot %s\n", w->host.boot_id);
		auto_buf struct buf text = BUF_INIT(65536);

		cr_assert_geq(file_read(path, 65535, &text, NULL), 0);
		cr_expect_eq(strncmp(buf_str(&text), want, strlen(want)), 0, "%s", names[i]);
		cr_expect_eq(strspn(buf_str(&text) + strlen(want), "\n"), text.len - strlen(want),
			     "%s", buf_str(&text));
	}
}

/* The kernel sees to a new link's carrier when it has time, and marks routes until then. */
Test(leaves, a_world_is_there_when_its_link_carries)
{
	static const char *const routes[] = {"ip", "route", NULL};
	auto_world struct net_world w;
	auto_buf struct buf text = BUF_INIT(65536);

	net_world_make(&w, NULL);
	cr_assert_eq(net_run_at(0, &text, routes), 0);
	cr_expect_null(strstr(buf_str(&text), "linkdown"), "%s", buf_str(&text));
}

Test(leaves, a_network_that_is_taken_down_leaves_its_host_as_it_was)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	auto_free char *before = host_state();

	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_vm_up(&w, &vm, "vm", PUBLISHED);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.1");
	net_vm_down(&vm);
	expect_ledgers_empty(&w);
	sweep(&w);
	await_state(before);
}

/* A process of the guest that sends for as long as it is let. */
static void speak_on(pid_t guest)
{
	if (net_spawn() != 0)
		return;
	net_enter(guest);
	for (;;) {
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
		auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		(void)inet_pton(AF_INET, RIG_INET, &to.sin_addr);
		(void)sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, sizeof(to));
	}
}

Test(leaves, of_a_guest_that_speaks_to_the_end_nothing_stays)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	auto_free char *before = host_state();

	net_vm_up(&w, &vm, "vm", OWN_PORT);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	speak_on(vm.guest);
	net_vm_down(&vm);
	sweep(&w);
	await_state(before);
}

Test(leaves, after_a_killed_supervisor_a_sweep_does)
{
	auto_world struct net_world w;
	struct net_vm vm, live;

	net_world_make(&w, NULL);
	auto_free char *before = host_state();

	net_vm_up(&w, &live, "live", OWN_PORT);
	net_serve_at(live.guest, "live", "0.0.0.0", 80, false);
	auto_free char *with_live = host_state();

	net_vm_up(&w, &vm, "vm", PUBLISHED);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.5");
	net_vm_kill(&vm);
	sweep(&w);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "refused");
	await_state(with_live);
	cr_expect_str_eq(net_hear(0, "127.64.0.1", 80, false, NULL), "live 10.200.0.1");
	net_vm_down(&live);
	sweep(&w);
	expect_ledgers_empty(&w);
	await_state(before);
}

Test(leaves, a_new_supervisor_in_the_directory_of_a_killed_one_begins_anew)
{
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_vm_up(&w, &vm, "vm", PUBLISHED);
	net_vm_kill(&vm);
	net_vm_up(&w, &vm, "vm", OWN_PORT);
	net_serve_at(vm.guest, "anew", "0.0.0.0", 80, false);
	net_serve_at(w.inet, "inet", RIG_INET_2, 80, false);
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET_2, 80, false, NULL), "inet " RIG_WAN,
			 "it is not restricted");
	sweep(&w);
	cr_expect(strncmp(net_hear(0, net_vm_text(&vm, "loopback"), 80, false, NULL), "anew", 4) ==
		  0);
	net_vm_down(&vm);
}

/* A second fcvm user has a data directory of its own, and the same host. */
Test(leaves, another_data_directory_takes_nothing_away)
{
	auto_world struct net_world w;
	struct net_world second;
	struct net_vm one, two;
	struct err err = {0};

	net_world_make(&w, NULL);
	second = w;
	second.dir = path_join(w.dir, "second");
	cr_assert_geq(host_init(&second.host, second.dir, &err), 0);
	cr_assert_geq(host_make_dirs(&second.host, &err), 0);
	net_vm_up(&w, &one, "one", OWN_PORT);
	net_vm_up(&second, &two, "two", OWN_PORT);
	net_serve_at(one.guest, "one", "0.0.0.0", 80, false);
	net_serve_at(two.guest, "two", "0.0.0.0", 80, false);
	cr_expect_str_eq(net_vm_text(&one, "ip"), "10.200.0.2");
	cr_expect_str_eq(net_vm_text(&two, "ip"), "10.200.0.6");
	cr_expect_str_eq(net_vm_text(&two, "loopback"), "127.64.0.2");
	sweep(&second);
	sweep(&w);
	cr_expect_str_eq(net_hear(0, "127.64.0.1", 80, false, NULL), "one 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.64.0.2", 80, false, NULL), "two 10.200.0.5");
	net_vm_down(&two);
	sweep(&second);
	cr_expect_str_eq(net_hear(0, "127.64.0.1", 80, false, NULL), "one 10.200.0.1");
	net_vm_down(&one);
	host_free(&second.host);
	free(second.dir);
}

/* A process that sweeps for another data directory, over and over: it takes the table away whenever
 * no VM is in it. */
static pid_t start_sweeping(const struct net_world *w)
{
	pid_t parent = getpid(), pid = fork();
	struct err err = {0};

	cr_assert_geq(pid, 0);
	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	while (net_sweep(&w->host, &err) >= 0)
		continue;
	_exit(1);
}

Test(leaves, a_table_that_others_take_away_while_a_network_comes_up_is_made_again)
{
	auto_world struct net_world w;
	struct net_world second;
	struct err err = {0};

	net_world_make(&w, NULL);
	second = w;
	second.dir = path_join(w.dir, "second");
	cr_assert_geq(host_init(&second.host, second.dir, &err), 0);
	cr_assert_geq(host_make_dirs(&second.host, &err), 0);
	pid_t sweeper = start_sweeping(&second);
	for (int i = 0; i < 30; i++) {
		auto_free char *why = net_vm_try(&w, "vm", OWN_PORT);

		cr_expect_str_eq(why, "", "try %d: %s", i, why);
	}
	cr_expect_eq(waitpid(sweeper, NULL, WNOHANG), 0, "the sweeper gave up");
	(void)kill(sweeper, SIGKILL);
	(void)waitpid(sweeper, NULL, 0);
	host_free(&second.host);
	free(second.dir);
}

/* What another version of fcvm finds: its marker is not there. */
Test(leaves, rules_of_another_generation_are_replaced_under_live_vms)
{
	static const char *const list[] = {"nft", "list", "ruleset", NULL};
	static const char *const older[] = {
		"sh", "-c",
		"m=$(nft list ruleset | sed -n 's/.*chain \\(gen_[0-9a-f]*\\).*/\\1/p'); "
		"nft \"delete chain ip fcvm $m; add chain ip fcvm gen_0123456789abcdef; "
		"insert rule ip fcvm c_forward drop\"",
		NULL};
	auto_world struct net_world w;
	struct net_vm one, two;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_vm_up(&w, &one, "one", PUBLISHED);
	net_serve_at(one.guest, "one", "0.0.0.0", 80, false);
	auto_buf struct buf loaded = BUF_INIT(65536), reloaded = BUF_INIT(65536);

	cr_assert_eq(net_run_at(0, &loaded, list), 0);
	cr_assert_eq(net_run_at(0, NULL, older), 0);
	cr_expect_str_eq(net_hear(one.guest, RIG_INET, 80, false, NULL), "timeout");
	net_vm_up(&w, &two, "two", OWN_PORT);
	cr_expect_str_eq(net_hear(one.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "one 10.200.0.1");
	net_vm_down(&two);
	cr_assert_eq(net_run_at(0, &reloaded, list), 0);
	cr_expect_str_eq(buf_str(&reloaded), buf_str(&loaded));
	net_vm_down(&one);
}

/* The children all wait for one pipe, and then for another: up at once, down at once. */
static void many_child(const struct net_world *w, int i, int go, int done, int out)
{
	auto_free char *name = xasprintf("vm-%d", i), *dir = path_join(w->dir, name);
	auto_net_config struct net_config c = {.mode = NET_BRIDGED};
	const struct net_spec spec = {.host = &w->host, .dir = dir, .config = &c};
	struct net *n = NULL;
	struct err err = {0};
	char line[128], byte = 0;

	c.ports = xcalloc(1, sizeof(*c.ports));
	c.n_ports = 1;
	c.ports[0] = (struct net_port){"", 80, 80, false};
	if (file_mkdir_p(dir, 0711, NULL) < 0 || read(go, &byte, 1) != 0)
		_exit(1);
	if (net_up(&spec, &n, &err) < 0)
		(void)snprintf(line, sizeof(line), "%-63.63s\n", err.msg);
	else
		(void)snprintf(line, sizeof(line), "%-31s %-31s\n", net_look(n)->ip,
			       net_look(n)->loopback);
	if (write(out, line, strlen(line)) < 0 || read(done, &byte, 1) != 0)
		_exit(1);
	net_down(n);
	_exit(0);
}

static void read_lines(int fd, struct strv *ret)
{
	char line[65] = "";

	while (ret->n < MANY && io_read_full(fd, line, 64, deadline_in(60000), NULL) >= 0)
		strv_add(ret, line);
}

Test(leaves, a_hundred_at_once_are_all_unique_and_leave_nothing)
{
	auto_world struct net_world w;
	auto_strv struct strv lines = {0};
	int go[2], done[2], out[2];
	pid_t pids[MANY];

	net_world_make(&w, NULL);
	auto_free char *before = host_state();

	cr_assert(pipe2(go, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0 &&
		  pipe2(out, O_CLOEXEC) == 0);
	for (int i = 0; i < MANY; i++) {
		pids[i] = net_spawn();
		if (pids[i] == 0) {
			(void)close(go[1]);
			(void)close(done[1]);
			many_child(&w, i, go[0], done[0], out[1]);
		}
	}
	(void)close(go[1]);
	(void)close(out[1]);
	read_lines(out[0], &lines);
	cr_assert_eq(lines.n, (size_t)MANY);
	strv_sort(&lines);
	for (size_t i = 0; i < lines.n; i++) {
		cr_expect(strncmp(lines.v[i], "10.200.", 7) == 0, "%s", lines.v[i]);
		cr_expect(strstr(lines.v[i], " 127.64."), "%s", lines.v[i]);
		cr_expect(i == 0 || strcmp(lines.v[i - 1], lines.v[i]) != 0, "%s", lines.v[i]);
	}
	(void)close(done[1]);
	for (int i = 0; i < MANY; i++) {
		int status = -1;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_expect_eq(status, 0);
	}
	expect_ledgers_empty(&w);
	sweep(&w);
	await_state(before);
}

static bool rules_have(const char *what)
{
	static const char *const list[] = {"nft", "list", "ruleset", NULL};
	auto_buf struct buf text = BUF_INIT(1u << 20);

	(void)net_run_at(0, &text, list);
	return strstr(buf_str(&text), what) != NULL;
}

static void await_rules(const char *what, bool there)
{
	uint64_t deadline_ms = deadline_in(60000);

	while (rules_have(what) != there && now_ms() < deadline_ms)
		(void)usleep(100000);
	cr_expect_eq(rules_have(what), there, "%s", what);
}

/* Supervisors look every ten seconds: after somebody flushed everything, and became a router. */
Test(leaves, what_others_do_to_the_hosts_rules_is_made_good)
{
	static const char *const flush[] = {"nft", "flush", "ruleset", NULL};
	static const char *const route[] = {"sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward",
					    NULL};
	auto_world struct net_world w;
	struct net_vm vm;

	net_world_make(&w, NULL);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_vm_up(&w, &vm, "vm", PUBLISHED);
	net_serve_at(vm.guest, "guest", "0.0.0.0", 80, false);
	cr_expect(rules_have("elements = { \"wan0\" }"));
	cr_assert_eq(net_run_at(0, NULL, flush), 0);
	cr_assert_eq(net_run_at(0, NULL, route), 0);
	await_rules("elements = { \"fv0\" }", true);
	await_rules("elements = { \"wan0\" }", false);
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(vm.guest, RIG_INET, 80, false, NULL), "inet " RIG_WAN);

	/* Nor is a change that comes meanwhile in trouble. */
	cr_assert_eq(net_run_at(0, NULL, flush), 0);
	auto_free char *words = net_vm_update(&vm, OWN_PORT);

	cr_expect_str_eq(words, "");
	cr_expect_str_eq(net_hear(0, net_vm_text(&vm, "loopback"), 80, false, NULL),
			 "guest 10.200.0.1");
	cr_expect_str_eq(net_hear(0, "127.0.0.1", 8080, false, NULL), "refused");
	net_vm_down(&vm);
}
