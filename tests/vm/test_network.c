/* test_network.c - bridged real guests: reached by their ports, reaching out, kept from what is not
 * theirs, in a network namespace that is the whole host to them. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "../unit/net/net_dns.h"
#include "../unit/net/net_place.h"
#include "../unit/net/net_rig.h"
#include "cleanup.h"
#include "io.h"
#include "vm_env.h"
#include "xalloc.h"

TestSuite(network, .fini = vm_env_cleanup);

#define STUB "127.0.0.53"
#define METADATA "169.254.169.254"
#define AWAIT_MS 20000

/* The snapshot holds a connection to the internet: what becomes of it stands in /run/stale. */
static const char body[] =
	"networks:\n"
	"  app:\n"
	"    mode: bridged\n"
	"    egress: { default: allow, allow: [\"203.0.113.1:80/tcp\", \"two.test:8081\"] }\n"
	"snapshots:\n"
	"  web-warm:\n"
	"    from: web\n"
	"    prepare:\n"
	"      - [bash, -c, \"setsid bash -c 'exec 3<>/dev/tcp/203.0.113.1/80; read -n 4 -u 3; "
	"echo $REPLY >/run/stale; read -u 3 || echo dead >/run/stale' >/dev/null 2>&1 </dev/null "
	"& while ! grep -q inet /run/stale; do sleep 0.1; done\"]\n"
	"fleets:\n"
	"  web:\n"
	"    from: web-warm\n"
	"    count: 2\n"
	"    network: app\n"
	"    ports:\n"
	"      - \"8080\"\n"
	"      - \"{{18080 + index}}:8080\"\n"
	"      - \"203.0.113.2:{{19080 + index}}:8080\"\n";

static bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

#define EXPECT_HEARD(call, part)                                                 \
	do {                                                                     \
		auto_free char *heard_ = (call);                                 \
		cr_expect(has(heard_, (part)), "%s: heard '%s'", #call, heard_); \
	} while (0)

static char *guest_sh(struct vm_env *env, const char *clone, const char *script)
{
	auto_run struct run_result r = RUN_INIT;

	VM_RUN(env, &r, -1, "exec", "--vm", vm_name(env, clone), "--", "bash", "-c", script);
	return xstrdup(buf_str(&r.out));
}

/* What is said at ip:port to the guest, or bash's own words. */
static char *guest_hear(struct vm_env *env, const char *clone, const char *host, int port)
{
	auto_free char *script =
		xasprintf("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/%d && timeout 1 cat <&3' 2>&1; "
			  "[ $? -ne 124 ] || echo timeout",
			  host, port);

	return guest_sh(env, clone, script);
}

/* The answer to GET / from the host or the internet. */
static char *get(pid_t where, const char *ip, int port)
{
	auto_free char *url = xasprintf("http://%s:%d/", ip, port);
	struct buf out = BUF_INIT(65536);

	(void)net_run_at(
		where, &out,
		(const char *const[]){TEST_BUILD_DIR "/examples/hello-server", "get", url, NULL});
	buf_add_str(&out, "");
	return buf_detach(&out);
}

static char *text_of(struct vm_env *env, const char *clone, const char *key)
{
	auto_json struct json_object *ps = vm_ps(env);

	return xstrdup(json_opt_str(vm_row(ps, vm_name(env, clone)), key, ""));
}

static char *own_address(struct vm_env *env, const char *clone)
{
	auto_json struct json_object *ps = vm_ps(env);
	struct json_object *ports = NULL;

	cr_assert(json_object_object_get_ex(vm_row(ps, vm_name(env, clone)), "ports", &ports));
	cr_assert_eq(json_object_array_length(ports), 3);
	return xstrdup(json_opt_str(json_object_array_get_idx(ports, 0), "host_ip", ""));
}

static void check_published(struct vm_env *env, const struct net_world *w)
{
	auto_free char *one = own_address(env, "web-0"), *two = own_address(env, "web-1");

	cr_expect_str_neq(one, two);
	EXPECT_HEARD(get(0, one, 8080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(get(0, two, 8080), "\"hostname\":\"web-1\"");
	EXPECT_HEARD(get(0, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(get(0, "127.0.0.1", 18081), "\"hostname\":\"web-1\"");
	EXPECT_HEARD(get(w->inet, RIG_WAN, 19080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(get(w->inet, RIG_WAN, 19081), "\"hostname\":\"web-1\"");
}

/* One inner address, two guests that hold connections to the same place at the same time. */
static void check_egress(struct vm_env *env)
{
	static const char both[] = "exec 3<>/dev/tcp/203.0.113.1/80 4<>/dev/tcp/203.0.113.1/80; "
				   "timeout 1 cat <&3; timeout 1 cat <&4";

	EXPECT_HEARD(guest_sh(env, "web-0", both), "inet " RIG_WAN "inet " RIG_WAN);
	EXPECT_HEARD(guest_sh(env, "web-1", both), "inet " RIG_WAN "inet " RIG_WAN);
	EXPECT_HEARD(guest_sh(env, "web-0", "getent ahostsv4 both.test"), RIG_INET_2);
	EXPECT_HEARD(guest_sh(env, "web-1", "getent ahostsv4 no.test || echo unknown"), "unknown");
	EXPECT_HEARD(guest_hear(env, "web-1", "two.test", 8081), "two " RIG_WAN);
	EXPECT_HEARD(guest_hear(env, "web-1", RIG_INET, 81), "other " RIG_WAN);
}

#define EXPECT_BLOCKED(call) EXPECT_HEARD(call, "No route to host")

static void check_blocked(struct vm_env *env, const struct net_world *w)
{
	static const char *const counter[] = {
		"nft",
		"add table ip t; add chain ip t c { type filter hook prerouting priority 0; }; "
		"add rule ip t c tcp dport 7003 counter",
		NULL};
	static const char *const list[] = {"nft", "list", "table", "ip", "t", NULL};
	auto_buf struct buf seen = BUF_INIT(65536);
	auto_free char *other = text_of(env, "web-1", "ip");

	cr_expect(has(other, "10.200."), "%s", other);
	EXPECT_BLOCKED(guest_hear(env, "web-0", RIG_WAN, 7001));
	EXPECT_BLOCKED(guest_hear(env, "web-0", "10.200.0.1", 7001));
	EXPECT_BLOCKED(guest_hear(env, "web-0", "172.16.0.2", 7001));
	EXPECT_BLOCKED(guest_hear(env, "web-0", other, 8080));
	EXPECT_BLOCKED(guest_hear(env, "web-0", RIG_WAN, 19081));
	EXPECT_BLOCKED(guest_hear(env, "web-0", METADATA, 80));
	cr_assert_eq(net_run_at(w->inet, NULL, counter), 0);
	EXPECT_HEARD(guest_sh(env, "web-0",
			      "ip addr add 172.16.0.101/24 dev eth0; ip route add 203.0.113.1/32 "
			      "via 172.16.0.2 src 172.16.0.101; timeout 2 bash -c "
			      "'exec 3<>/dev/tcp/203.0.113.1/7003'; echo ended $?; "
			      "ip route del 203.0.113.1/32; ip addr del 172.16.0.101/24 dev eth0"),
		     "ended 124");
	cr_assert_eq(net_run_at(w->inet, &seen, list), 0);
	cr_expect(has(buf_str(&seen), "packets 0 "), "%s", buf_str(&seen));
}

/* The connection is dead as soon as the clone is ready; what listens, listens. */
static void check_stale(struct vm_env *env)
{
	EXPECT_HEARD(guest_sh(env, "web-0", "cat /run/stale"), "dead");
	EXPECT_HEARD(guest_sh(env, "web-1", "cat /run/stale"), "dead");
}

/* The same VMs under another policy. */
static void check_allowlist(struct vm_env *env)
{
	auto_json struct json_object *before = vm_ps(env);
	pid_t pid = vm_pid(before, vm_name(env, "web-0"));

	vm_apply(env, "networks.app.egress.default=deny", NULL);
	auto_json struct json_object *after = vm_ps(env);

	cr_expect_eq(vm_pid(after, vm_name(env, "web-0")), pid, "it is the same VM");
	EXPECT_HEARD(guest_hear(env, "web-0", RIG_INET, 80), "inet " RIG_WAN);
	EXPECT_HEARD(guest_hear(env, "web-0", RIG_INET, 81), "Connection refused");
	EXPECT_HEARD(guest_hear(env, "web-0", RIG_INET_2, 8081), "Connection refused");
	EXPECT_HEARD(guest_sh(env, "web-0", "getent ahostsv4 api.test || echo unknown"), "unknown");
	EXPECT_HEARD(guest_hear(env, "web-0", "two.test", 8081), "two " RIG_WAN);
	EXPECT_HEARD(guest_hear(env, "web-0", RIG_INET_2, 8081), "two " RIG_WAN);
	EXPECT_HEARD(guest_hear(env, "web-1", RIG_INET_2, 8081), "Connection refused");
	EXPECT_HEARD(get(0, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
}

/* The next apply finds the clone gone and everything it had free. */
static void check_killed(struct vm_env *env)
{
	auto_free char *path = xasprintf("%s/sets/%s/vms/web-0/status.json", env->dir, env->set);
	auto_json struct json_object *status = NULL;
	uint64_t pid = 0;

	cr_assert_eq(json_load(path, &status, NULL), 0);
	pid = json_opt_u64(json_opt_obj(status, "supervisor"), "pid", 0);
	cr_assert_gt(pid, 1u);
	cr_assert_eq(kill((pid_t)pid, SIGKILL), 0);
	vm_await_state(env, vm_name(env, "web-0"), "failed");
	vm_apply(env, "networks.app.egress.default=deny", NULL);
	EXPECT_HEARD(get(0, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(get(0, "127.0.0.1", 18081), "\"hostname\":\"web-1\"");
}

static void expect_nothing_left(void)
{
	static const char *const looks[] = {"sh", "-c",
					    "nft list ruleset; ip -o link | grep -o 'fv[0-9]*'; ss "
					    "-Hltn | grep -v :53",
					    NULL};
	auto_buf struct buf out = BUF_INIT(65536);
	uint64_t deadline_ms = deadline_in(AWAIT_MS);

	do {
		buf_reset(&out);
		(void)net_run_at(0, &out, looks);
	} while (has(buf_str(&out), "fv") && deadline_left(deadline_ms) > 0);
	cr_expect_not(has(buf_str(&out), "fv"), "%s", buf_str(&out));
	cr_expect_not(has(buf_str(&out), "table ip fcvm"), "%s", buf_str(&out));
	cr_expect_not(has(buf_str(&out), "8080"), "%s", buf_str(&out));
}

/* What is missing is fetched before the host loses its real network. */
static void build_assets(struct vm_env *env)
{
	auto_run struct run_result r = RUN_INIT;

	VM_RUN(env, &r, 0, "setup", "--image",
	       "oci-archive:" TEST_BUILD_DIR "/examples/hello.oci.tar");
}

Test(network, two_bridged_clones_are_reached_reach_out_and_are_kept_apart)
{
	auto_world struct net_world w = {0};
	struct vm_env env;

	vm_env_init(&env, "network", body);
	build_assets(&env);
	net_world_make(&w, "nameserver " STUB "\n");
	net_ip_at(w.inet, "addr add " METADATA "/32 dev in0");
	net_resolver_at(0, STUB);
	net_serve_at(w.inet, "inet", RIG_INET, 80, false);
	net_serve_at(w.inet, "other", RIG_INET, 81, false);
	net_serve_at(w.inet, "two", RIG_INET_2, 8081, false);
	net_serve_at(w.inet, "metadata", METADATA, 80, false);
	net_serve_at(0, "host", "0.0.0.0", 7001, false);
	vm_apply(&env, NULL, NULL);
	check_stale(&env);
	check_published(&env, &w);
	check_egress(&env);
	check_blocked(&env, &w);
	check_allowlist(&env);
	check_killed(&env);
	vm_env_finish(&env);
	expect_nothing_left();
}
