/* test_network.c - networks as the loop sees them, on the fake engine: each test in a network
 * namespace of its own, which stands for the host's. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "io.h"
#include "net_host.h"
#include "user.h"
#include "xalloc.h"

TestSuite(network, .fini = apply_rig_cleanup);

/* `count` clones on the network, with those lines more. */
static void spec(struct apply_rig *r, unsigned count, const char *network, const char *more)
{
	auto_free char *lines = xasprintf("    network: %s\n%s", network, more);

	apply_rig_spec(r, 64, count, lines);
}

static void expect_plan(struct apply_rig *r, const char *counts)
{
	const struct run_result *out = apply_rig_run(r, 0, "apply", r->spec, NULL);
	auto_free char *line = xasprintf("\nplan: %s\n", counts);

	cr_expect(strstr(buf_str(&out->out), line), "%s", buf_str(&out->out));
	out = apply_rig_run(r, 0, "apply", r->spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
}

static struct json_object *row_of(struct json_object *rows, const char *suffix)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *name = json_opt_str(row, "name", "");
		const char *dot = strrchr(name, '.');

		if (dot && strcmp(dot + 1, suffix) == 0)
			return row;
	}
	cr_assert(false, "ps shows no %s", suffix);
	return NULL;
}

/* "127.0.0.1:8080->80/tcp ..." of the VM, as ps --json has them. The caller frees. */
static char *ports_of(struct apply_rig *r, const char *name)
{
	auto_json struct json_object *rows = apply_rig_ps(r);
	struct json_object *ports = NULL;
	struct buf text = BUF_INIT(1000);

	cr_assert(json_object_object_get_ex(row_of(rows, name), "ports", &ports));
	for (size_t i = 0; i < json_object_array_length(ports); i++) {
		struct json_object *p = json_object_array_get_idx(ports, i);

		buf_addf(&text, "%s%s:%d->%d/%s", i ? " " : "", json_opt_str(p, "host_ip", "?"),
			 (int)json_opt_u64(p, "host_port", 0),
			 (int)json_opt_u64(p, "guest_port", 0), json_opt_str(p, "proto", "?"));
	}
	return buf_detach(&text);
}

static void expect_ports(struct apply_rig *r, const char *name, const char *wanted)
{
	auto_free char *ports = ports_of(r, name);

	cr_expect_str_eq(ports, wanted);
}

Test(network, clones_are_published_shown_and_go_without_a_trace)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	auto_free char *before = net_host_look();
	apply_rig_make(&r, 1, false);
	spec(&r, 2, "auto", "    ports: [\"{{18080 + index}}:80\", \"53/udp\"]\n");
	expect_plan(&r, "8 to create, 0 to update, 0 to replace, 0 to destroy");
	auto_free char *first = ports_of(&r, "web-0"), *second = ports_of(&r, "web-1");
	cr_expect_eq(strncmp(first, "127.0.0.1:18080->80/tcp 127.", 28), 0, "%s", first);
	cr_expect_eq(strncmp(second, "127.0.0.1:18081->80/tcp 127.", 28), 0, "%s", second);
	cr_expect_str_neq(strrchr(first, ' '), strrchr(second, ' '), "addresses of their own");
	cr_expect_str_neq(apply_rig_text(&r, "web-0", "ip"), "null");
	const struct run_result *out = apply_rig_run(&r, 0, "ps", NULL);
	cr_expect(strstr(buf_str(&out->out), "  127.0.0.1:18080->80/tcp, 127."), "%s",
		  buf_str(&out->out));
	apply_rig_finish(&r);
	net_host_expect(before);
}

Test(network, ports_and_policy_change_in_place)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	spec(&r, 3, "bridged", "    ports: [\"{{18080 + index}}:80\"]\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	/* Each takes the port of its neighbour. */
	spec(&r, 3, "bridged", "    ports: [\"{{18081 + index}}:80\"]\n");
	const struct run_result *out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "; its connections drop\n"), "%s", buf_str(&out->out));
	expect_plan(&r, "0 to create, 3 to update, 0 to replace, 0 to destroy");
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "health"), "healthy", "still");
	expect_ports(&r, "web-0", "127.0.0.1:18081->80/tcp");
	expect_ports(&r, "web-2", "127.0.0.1:18083->80/tcp");
	/* The same port, at every address. */
	spec(&r, 3, "bridged", "    ports: [\"0.0.0.0:{{18081 + index}}:80\"]\n");
	expect_plan(&r, "0 to create, 3 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-1", "0.0.0.0:18082->80/tcp");
	spec(&r, 3, "n",
	     "networks:\n  n: { mode: bridged, egress: { default: deny, allow: [192.0.2.1] } }\n");
	expect_plan(&r, "0 to create, 3 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-0", "");
	cr_expect_eq(apply_rig_number(&r, "web-0", "pid"), pid);
	apply_rig_finish(&r);
}

Test(network, ports_change_hands_in_a_circle_in_place)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	spec(&r, 3, "bridged", "    ports: [\"{{18080 + index}}:80\", \"{{18090 + index}}:81\"]\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	spec(&r, 3, "bridged", "    ports: [\"{{18082 - index}}:80\", \"{{18090 + index}}:81\"]\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-0", "127.0.0.1:18082->80/tcp 127.0.0.1:18090->81/tcp");
	expect_ports(&r, "web-1", "127.0.0.1:18081->80/tcp 127.0.0.1:18091->81/tcp");
	expect_ports(&r, "web-2", "127.0.0.1:18080->80/tcp 127.0.0.1:18092->81/tcp");
	/* What is every address's for one was an address's for the other. */
	spec(&r, 1, "bridged",
	     "    ports: [\"0.0.0.0:18080:80\"]\n"
	     "  site: { from: web, network: bridged, count: 2, ports: [\"{{18081 + "
	     "index}}:80\"] }\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	spec(&r, 1, "bridged",
	     "    ports: [\"0.0.0.0:18081:80\"]\n"
	     "  site: { from: web, network: bridged, count: 2, ports: [\"{{18080 + index * "
	     "2}}:80\"] }\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-0", "0.0.0.0:18081->80/tcp");
	expect_ports(&r, "site-0", "127.0.0.1:18080->80/tcp");
	cr_expect_eq(apply_rig_number(&r, "web-0", "pid"), pid);
	apply_rig_finish(&r);
}

Test(network, a_change_of_mode_replaces_the_clones_and_nothing_else)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	spec(&r, 2, "bridged", "    ports: [80]\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	uint64_t server = apply_rig_number(&r, "web@healthy/0", "pid");
	spec(&r, 2, "none", "");
	expect_plan(&r, "0 to create, 0 to update, 2 to replace, 0 to destroy");
	cr_expect_neq(apply_rig_number(&r, "web-0", "pid"), pid);
	cr_expect_eq(apply_rig_number(&r, "web@healthy/0", "pid"), server, "the same snapshot");
	expect_ports(&r, "web-0", "");
	apply_rig_finish(&r);
}

Test(network, a_count_that_shrinks_gives_ports_back_and_a_renamed_fleet_takes_them)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	spec(&r, 3, "bridged", "    ports: [\"{{18080 + index}}:80\"]\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	spec(&r, 1, "bridged",
	     "    ports: [\"{{18080 + index}}:80\"]\n"
	     "  site: { from: web, network: bridged, count: 2, ports: [\"{{18081 + "
	     "index}}:80\"] }\n");
	expect_plan(&r, "2 to create, 0 to update, 0 to replace, 2 to destroy");
	expect_ports(&r, "site-1", "127.0.0.1:18082->80/tcp");
	apply_rig_finish(&r);
}

Test(network, an_ordinary_user_publishes_and_shifts_ports_as_root_does)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	user_make(&u, "net");
	user_open_tun();
	apply_rig_make(&r, 1, false);
	spec(&r, 2, "auto", "    ports: [\"{{18080 + index}}:80\", 8090]\n");
	apply_rig_as(&r, &u);
	expect_plan(&r, "7 to create, 0 to update, 0 to replace, 0 to destroy");
	auto_free char *first = ports_of(&r, "web-0");
	cr_expect_eq(strncmp(first, "127.0.0.1:18080->80/tcp 127.", 28), 0, "%s", first);
	spec(&r, 2, "auto", "    ports: [\"{{18081 + index}}:80\"]\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-1", "127.0.0.1:18082->80/tcp");
	spec(&r, 2, "auto",
	     "    ports: [\"{{18082 - index}}:80\", \"{{18085 + index}}:81/udp\"]\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-0", "127.0.0.1:18082->80/tcp 127.0.0.1:18085->81/udp");
	spec(&r, 2, "auto",
	     "    ports: [\"{{18081 + index}}:80\", \"{{18086 - index}}:81/udp\"]\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-1", "127.0.0.1:18082->80/tcp 127.0.0.1:18085->81/udp");
	spec(&r, 2, "auto", "    ports: [\"0.0.0.0:{{18081 + index}}:80\"]\n");
	expect_plan(&r, "0 to create, 2 to update, 0 to replace, 0 to destroy");
	expect_ports(&r, "web-0", "0.0.0.0:18081->80/tcp");
	/* What only root may have. */
	spec(&r, 2, "auto", "    ports: [\"{{81 + index}}:80\"]\n");
	const struct run_result *out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err),
			 "fleets.web.ports[0]: cannot publish 127.0.0.1:81/tcp: "
			 "Permission denied\n"),
		  "%s", buf_str(&out->err));
	cr_expect(strstr(buf_str(&out->err), "\nhint: ports below "));
	spec(&r, 2, "auto", "    ports: [90]\n");
	out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err),
			 "fleets.web.ports[0]: cannot publish 90/tcp: Permission denied\n"),
		  "%s", buf_str(&out->err));
	spec(&r, 2, "bridged", "");
	out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), "fleets.web.network: bridged is not possible here: it "
					     "needs root\n"),
		  "%s", buf_str(&out->err));
	cr_expect(strstr(buf_str(&out->err), "\nhint: network: rootless works without\n"));
	apply_rig_finish(&r);
}

static int take_port(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

Test(network, a_taken_port_is_exit_4_with_its_line_and_holder_before_anything_starts)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	auto_close int fd = take_port(18081);
	spec(&r, 2, "bridged", "    ports: [\"{{18080 + index}}:80\"]\n");
	auto_free char *said = xasprintf(
		"%s:16:13: error: fleets.web.ports[0]: port 127.0.0.1:18081/tcp is taken by "
		"pid %d (",
		r.spec, (int)getpid());
	const struct run_result *out = apply_rig_run(&r, 4, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), said), "%s", buf_str(&out->err));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 0);
	out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), said), "%s", buf_str(&out->err));
	cr_expect(strstr(buf_str(&out->out), "\nplan: 8 to create"), "%s", buf_str(&out->out));
	cleanup_close_p(&fd);
	fd = -1;
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	/* Its own ports are no obstacle to a set that is changed. */
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.restart=always", NULL);
	apply_rig_finish(&r);
}

Test(network, what_a_killed_supervisor_had_on_the_host_is_gone_after_destroy_or_apply)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	auto_free char *before = net_host_look();
	apply_rig_make(&r, 1, false);
	spec(&r, 2, "bridged", "    ports: [\"{{18080 + index}}:80\", 90]\n");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *two = net_host_look();
	auto_free char *status = xasprintf("%s/sets/%s/vms/web-1/status.json", r.data, r.name);
	auto_json struct json_object *o = NULL;
	cr_assert_eq(json_load(status, &o, NULL), 0);
	pid_t supervisor = (pid_t)json_opt_u64(json_opt_obj(o, "supervisor"), "pid", 0);
	cr_assert_gt(supervisor, 1);
	cr_assert_eq(kill(supervisor, SIGKILL), 0);
	uint64_t deadline_ms = deadline_in(20000);
	while (apply_rig_number(&r, "web-1", "pid") > 0 && now_ms() < deadline_ms)
		(void)usleep(20000);
	expect_ports(&r, "web-1", "");
	cr_expect_str_eq(apply_rig_text(&r, "web-1", "ip"), "null");
	/* One clone fewer: what the dead one had goes with it. */
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.count=1", NULL);
	auto_free char *one = net_host_look();
	cr_expect_lt(strlen(one), strlen(two), "%s", one);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	json_put_p(&o);
	cr_assert_eq(json_load(status, &o, NULL), 0);
	cr_assert_eq(kill((pid_t)json_opt_u64(json_opt_obj(o, "supervisor"), "pid", 0), SIGKILL),
		     0);
	apply_rig_finish(&r);
	net_host_expect(before);
}

Test(network, a_mode_that_needs_what_is_not_there_is_exit_4_with_its_line)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	apply_rig_make(&r, 1, false);
	cr_assert_eq(setenv("PATH", "/nonexistent", 1), 0);
	spec(&r, 1, "rootless", "");
	auto_free char *said =
		xasprintf("%s:15:14: error: fleets.web.network: rootless is not possible here: "
			  "slirp4netns is not installed\n    network: rootless\n%13s^\n"
			  "hint: apt install slirp4netns, or say network: none\n",
			  r.spec, "");
	const struct run_result *out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), said), "%s", buf_str(&out->err));
}

Test(network, commands_by_hand_publish_as_well)
{
	auto_apply_rig struct apply_rig r = {0};

	net_host_make();
	auto_free char *before = net_host_look();
	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "baselines.web.keep_running=true", NULL);
	apply_rig_run(&r, 0, "snapshot", "create", "web", "--tag", "warm", NULL);
	auto_close int fd = take_port(18090);

	cr_assert_geq(fd, 0);
	const struct run_result *out = apply_rig_run(&r, 4, "snapshot", "run", "--snapshot", "warm",
						     "-p", "18090:80", "--exec", "echo x", NULL);
	cr_expect(strstr(buf_str(&out->err), "port 127.0.0.1:18090/tcp is taken by pid "), "%s",
		  buf_str(&out->err));
	out = apply_rig_run(&r, 0, "snapshot", "run", "--snapshot", "warm", "--publish", "18091:80",
			    "-p", "90", "--exec", "echo published", NULL);
	cr_expect_str_eq(buf_str(&out->out), "published\n");
	out = apply_rig_run(&r, 3, "snapshot", "run", "--snapshot", "warm", "-p", "x", NULL);
	cr_expect(strstr(buf_str(&out->err), "--publish: expected a guest port of 1 to 65535, got "
					     "'x'"),
		  "%s", buf_str(&out->err));
	out = apply_rig_run(&r, 3, "podman", "run", "--network", "none", "-p", "80", "dir:./image",
			    NULL);
	cr_expect(strstr(buf_str(&out->err), "network none publishes nothing"), "%s",
		  buf_str(&out->err));
	apply_rig_run(&r, 0, "destroy", "default", NULL);
	apply_rig_finish(&r);
	net_host_expect(before);
}
