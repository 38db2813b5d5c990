/* Bridged VMs through their supervisor, in a network namespace of the test's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "net.h"
#include "netns.h"
#include "run.h"
#include "supervise_rig.h"

#define CALL_MS 20000
#define SHOWN                                                                                  \
	"[ { \"host_ip\": \"127.0.0.1\", \"host_port\": 8080, \"guest_port\": 80, \"proto\": " \
	"\"tcp\" }, { \"host_ip\": \"127.64.0.1\", \"host_port\": 53, \"guest_port\": 53, "    \
	"\"proto\": \"udp\" } ]"

static void enter_world(void)
{
	static const char *const lo[] = {"ip", "link", "set", "lo", "up", NULL};
	auto_run struct run_result up = RUN_INIT;
	char why[200];

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	if (!netns_tap_permitted(why, sizeof(why)))
		cr_skip_test("%s", why);
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	run_argv(&up, lo, NULL, NULL, 10000);
	cr_assert_eq(up.status, 0);
}

static void make_net(struct net_config *c, struct net_port *ports)
{
	*c = (struct net_config){.mode = NET_BRIDGED, .ports = ports, .n_ports = 2};
	ports[0] = (struct net_port){"127.0.0.1", 8080, 80, false};
	ports[1] = (struct net_port){"", 53, 53, true};
}

static void boot(struct rig *r, const struct net_config *c)
{
	struct supervisor_call call = rig_call(r->dir, CALL_MS);
	struct err err = {0};

	rig_spawn(r, r->dir);
	cr_assert_geq(supervisor_start(&call, &r->config, &r->workload, NULL, c, NULL, &err), 0,
		      "%s", err.msg);
	cr_assert_geq(supervisor_wait(&call, UNTIL_HEALTHY, &err), 0, "%s", err.msg);
}

static void expect_rules(const char *what, bool there)
{
	static const char *const list[] = {"nft", "list", "ruleset", NULL};
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, list, NULL, NULL, 10000);
	cr_expect_eq(strstr(buf_str(&r.out), what) != NULL, there, "%s", buf_str(&r.out));
}

static void await_no_link(const char *name)
{
	uint64_t deadline_ms = deadline_in(10000);

	while (if_nametoindex(name) != 0 && now_ms() < deadline_ms)
		(void)usleep(5000);
	cr_expect_eq(if_nametoindex(name), 0u);
}

Test(supervise_net, a_bridged_vm_shows_its_network_and_takes_it_along)
{
	auto_rig struct rig r;
	struct net_port ports[4];
	struct supervisor_call call;
	struct net_config c;
	struct err err = {0};

	enter_world();
	rig_make(&r, "");
	make_net(&c, ports);
	boot(&r, &c);
	cr_expect_str_eq(rig_status(r.dir, "network"), "bridged");
	cr_expect_str_eq(rig_status(r.dir, "ip"), "10.200.0.2");
	cr_expect_str_eq(rig_status(r.dir, "loopback"), "127.64.0.1");
	cr_expect_str_eq(rig_status(r.dir, "ports"), SHOWN);
	cr_expect_neq(if_nametoindex("fv0"), 0u);
	expect_rules("127.0.0.1 . tcp . 8080 : 10.200.0.2 . 80", true);

	call = rig_call(r.dir, CALL_MS);
	cr_assert_geq(supervisor_stop(&call, 0, &err), 0, "%s", err.msg);
	cr_expect_str_eq(rig_status(r.dir, "network"), "bridged");
	cr_expect_str_eq(rig_status(r.dir, "ip"), "null");
	cr_expect_str_eq(rig_status(r.dir, "ports"), "[ ]");
	expect_rules("10.200.0.2", false);
	await_no_link("fv0");
	cr_assert_geq(net_sweep(&r.host, &err), 0, "%s", err.msg);
	expect_rules("fcvm", false);
}

Test(supervise_net, ports_and_egress_change_in_place_and_outlive_a_restart)
{
	auto_rig struct rig r;
	struct net_port ports[4];
	struct net_config c, none = {.mode = NET_NONE};
	struct update_request req = {.net = &c, .restart = "always"};
	struct supervisor_call call;
	struct err err = {0};

	enter_world();
	rig_make(&r, "");
	make_net(&c, ports);
	boot(&r, &c);
	call = rig_call(r.dir, CALL_MS);
	c.n_ports = 1;
	c.egress_deny = true;
	cr_assert_geq(supervisor_update(&call, &req, &err), 0, "%s", err.msg);
	expect_rules("elements = { 127.0.0.1 . tcp . 8080 : 10.200.0.2 . 80 }", true);
	expect_rules("set restricted {\n\t\ttype ifname\n\t\telements = { \"fv0\" }", true);

	cr_assert_eq(kill(rig_vmm_of(r.dir), SIGKILL), 0);
	rig_await(r.dir, "restarts", "1");
	rig_await(r.dir, "state", "ready");
	cr_expect_str_eq(rig_status(r.dir, "ip"), "10.200.0.2");
	expect_rules("elements = { 127.0.0.1 . tcp . 8080 : 10.200.0.2 . 80 }", true);

	req = (struct update_request){.net = &none};
	cr_expect_eq(supervisor_update(&call, &req, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "network: a running VM keeps its mode bridged, it cannot become "
				  "none");
}

Test(supervise_net, ports_and_egress_change_also_while_the_vm_waits_for_its_restart)
{
	auto_rig struct rig r;
	struct net_port ports[4];
	struct net_config c;
	struct update_request req = {.restart = "always"};
	struct supervisor_call call;
	struct err err = {0};

	enter_world();
	rig_make(&r, "");
	make_net(&c, ports);
	boot(&r, &c);
	call = rig_call(r.dir, CALL_MS);
	cr_assert_geq(supervisor_update(&call, &req, &err), 0, "%s", err.msg);
	rig_script(&r, "fake.die");
	cr_assert_eq(kill(rig_vmm_of(r.dir), SIGKILL), 0);
	rig_await(r.dir, "state", "failed");
	c.n_ports = 1;
	c.egress_deny = true;
	req = (struct update_request){.net = &c};
	cr_assert_geq(supervisor_update(&call, &req, &err), 0, "%s", err.msg);
	expect_rules("elements = { 127.0.0.1 . tcp . 8080 : 10.200.0.2 . 80 }", true);
	expect_rules("set restricted {\n\t\ttype ifname\n\t\telements = { \"fv0\" }", true);
	rig_script(&r, "");
	rig_await(r.dir, "state", "ready");
	expect_rules("elements = { 127.0.0.1 . tcp . 8080 : 10.200.0.2 . 80 }", true);
}

Test(supervise_net, what_a_killed_supervisor_left_is_swept)
{
	auto_rig struct rig r;
	struct net_port ports[4];
	struct net_config c;
	struct err err = {0};

	enter_world();
	rig_make(&r, "");
	make_net(&c, ports);
	boot(&r, &c);
	pid_t vmm = rig_vmm_of(r.dir);

	cr_assert_eq(kill(r.supervisor.pid, SIGKILL), 0);
	rig_await_gone(vmm);
	cr_assert_geq(net_sweep(&r.host, &err), 0, "%s", err.msg);
	expect_rules("fcvm", false);
	await_no_link("fv0");
}

Test(supervise_net, a_network_that_cannot_be_had_ends_the_start_with_its_reason)
{
	auto_rig struct rig r;
	struct net_port ports[4];
	struct supervisor_call call;
	struct net_config c;
	struct err err = {0};

	enter_world();
	rig_make(&r, "");
	make_net(&c, ports);
	ports[c.n_ports++] = (struct net_port){"192.0.2.77", 80, 80, false};
	rig_spawn(&r, r.dir);
	call = rig_call(r.dir, CALL_MS);
	cr_expect_eq(supervisor_start(&call, &r.config, &r.workload, NULL, &c, NULL, &err),
		     -EADDRNOTAVAIL);
	cr_expect_str_eq(err.msg,
			 "network: cannot publish 192.0.2.77:80/tcp: Cannot assign requested "
			 "address");
	cr_expect_str_eq(err.hint, "this host has no address 192.0.2.77");
	rig_await(r.dir, "state", "failed");
}
