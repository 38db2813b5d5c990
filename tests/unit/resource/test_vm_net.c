#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "kinds.h"
#include "net_rig.h"
#include "vm_net.h"
#include "xalloc.h"

#define APP                                                                           \
	"networks:\n  app:\n    mode: rootless\n    egress: { default: deny, allow: " \
	"[\"api.example.com:443/tcp\", 10.1.2.3/8] }\n    dns: [9.9.9.9]\n"

static char *described(const struct net_rig *r, const struct node *node)
{
	auto_field_list struct field_list f = {0};

	vm_net_describe(&r->choice, node, &f);
	auto_json struct json_object *o = field_list_to_json(&f);
	return json_line(o);
}

Test(vm_net, each_clone_gets_its_own_ports_and_the_policy_of_its_network)
{
	auto_net_rig struct net_rig r;
	auto_net_config struct net_config c = {0};
	struct err err = {0};

	net_rig_make(&r, APP, "    network: app\n    ports: [\"{{8080 + index}}:80\", 53/udp]\n");
	cr_assert_eq(vm_net_config(&r.choice, &r.clone, &c, &err), 0, "%s", err.msg);
	cr_expect_eq(c.mode, NET_ROOTLESS);
	cr_assert_eq(c.n_ports, 2);
	cr_expect_str_eq(c.ports[0].host_ip, "127.0.0.1");
	cr_expect_eq(c.ports[0].host_port, 8081);
	cr_expect_eq(c.ports[0].guest_port, 80);
	cr_expect_str_eq(c.ports[1].host_ip, "");
	cr_expect(c.ports[1].udp);
	cr_expect(c.egress_deny);
	cr_assert_eq(c.n_allow, 2);
	cr_expect_str_eq(c.allow[0].name, "api.example.com");
	cr_expect_eq(c.allow[0].port, 443);
	cr_expect_eq(c.allow[1].addr, 10u << 24);
	cr_expect_str_eq(c.dns.v[0], "9.9.9.9");
}

Test(vm_net, none_has_nothing_and_auto_is_what_the_host_can)
{
	auto_net_rig struct net_rig r;
	auto_net_config struct net_config c = {0}, none = {0};

	net_rig_make(&r, "", "    network: auto\n    ports: [80]\n");
	cr_assert_eq(vm_net_config(&r.choice, &r.clone, &c, NULL), 0);
	cr_expect_eq(c.mode, NET_BRIDGED);
	cr_expect_not(c.egress_deny);
	cr_assert_eq(vm_net_config(&r.choice, &r.baseline, &none, NULL), 0);
	cr_expect_eq(none.mode, NET_NONE);
	r.choice.auto_network = NET_ROOTLESS;
	cr_expect_eq(vm_net_mode(&r.choice, r.fleet->fleets[0].network), NET_ROOTLESS);
}

Test(vm_net, fields_say_what_replaces_and_what_changes_in_place)
{
	auto_net_rig struct net_rig r;

	net_rig_make(&r, APP, "    network: app\n    ports: [\"{{8080 + index}}:80\"]\n");
	auto_free char *clone = described(&r, &r.clone), *baseline = described(&r, &r.baseline);

	cr_expect_str_eq(clone,
			 "{\"note\":{},\"update\":{\"fleets.web.ports\":"
			 "\"[\\\"127.0.0.1:8081:80\\\"]\",\"networks.app.egress.default\":\"deny\","
			 "\"networks.app.egress.allow\":\"[\\\"api.example.com:443/tcp\\\","
			 "\\\"10.1.2.3/8\\\"]\",\"networks.app.dns\":\"[\\\"9.9.9.9\\\"]\"},"
			 "\"own\":{\"fleets.web.network\":\"rootless\"},\"replace\":{}}");
	cr_expect_str_eq(baseline, "{\"note\":{},\"update\":{},\"own\":{\"baselines.web.network\":"
				   "\"none\"},\"replace\":{}}");
}

Test(vm_net, what_differs_from_a_record_is_told_by_its_path)
{
	auto_net_rig struct net_rig r;
	auto_field_list struct field_list f = {0};
	struct host host = {0};
	struct seen seen = {.record = json_object_new_object()};

	net_rig_make(&r, "", "    network: bridged\n    ports: [80]\n");
	struct resource_ctx ctx = {.host = &host, .fleet = r.fleet, .choice = &r.choice};
	resource_ops_of(RESOURCE_CLONE)->describe(&ctx, &r.clone, &f);
	json_add(seen.record, "spec", field_list_to_json(&f));
	cr_expect_not(resource_differs(&ctx, &r.clone, &seen, "."));
	for (size_t i = 0; i < f.n; i++)
		if (strcmp(f.v[i].path, "fleets.web.ports") == 0) {
			free(f.v[i].value);
			f.v[i].value = xstrdup("[]");
		}
	json_add(seen.record, "spec", field_list_to_json(&f));
	cr_expect(resource_differs(&ctx, &r.clone, &seen, ".ports"));
	cr_expect_not(resource_differs(&ctx, &r.clone, &seen, ".healthcheck."));
	seen_clear(&seen);
}

Test(vm_net, a_port_knows_its_place)
{
	auto_net_rig struct net_rig r;
	struct vm_net_port p = {0};

	net_rig_make(&r, "", "    network: bridged\n    ports: [80, \"{{90 + index}}:80\"]\n");
	cr_expect_eq(vm_net_count(&r.clone), 2);
	cr_expect_eq(vm_net_count(&r.baseline), 0);
	cr_assert_eq(vm_net_port(&r.clone, 1, &p, NULL), 0);
	cr_expect_str_eq(p.path, "fleets.web.ports[1]");
	cr_expect_eq(p.at.line, 13);
	cr_expect_eq(p.at.col, 17);
	cr_expect_eq(p.port.host_port, 91);
	free(p.path);
}

/* A record with those ports, as JSON has them. */
static struct seen seen_with(const char *ports)
{
	struct seen seen = {.record = json_object_new_object(), .digest = "abc"};
	struct json_object *spec = json_object_new_object(), *update = json_object_new_object();

	json_add_str(update, "fleets.web.ports", ports);
	json_add(spec, "update", update);
	json_add(seen.record, "spec", spec);
	return seen;
}

Test(vm_net, of_the_ports_to_be_only_those_there_are_kept)
{
	auto_net_rig struct net_rig r;
	auto_net_config struct net_config c = {0};
	struct seen seen = seen_with("[\"127.0.0.1:90:80\",\"80\",\"127.0.0.1:291:1/udp\"]");

	net_rig_make(&r, "",
		     "    network: bridged\n    ports: [\"{{89 + index}}:81\", "
		     "\"{{290 + index}}:80\", 80, 81, \"0.0.0.0:{{390 + index}}:80\"]\n");
	cr_assert_eq(vm_net_config(&r.choice, &r.clone, &c, NULL), 0);
	vm_net_keep_recorded(seen.record, &c);
	cr_assert_eq(c.n_ports, 2);
	cr_expect_eq(c.ports[0].host_port, 90);
	cr_expect_eq(c.ports[0].guest_port, 81, "to where it is to lead");
	cr_expect_str_eq(c.ports[1].host_ip, "");
	cr_expect_eq(c.ports[1].host_port, 80);
	seen_clear(&seen);
}

#define TCP(ip, host, guest) \
	"{\"host_ip\":\"" ip "\",\"host_port\":" host ",\"guest_port\":" guest ",\"proto\":\"tcp\"}"
#define STATUS(ports) "{\"loopback\":\"127.64.0.3\",\"ports\":[" ports "]}"

static const struct {
	const char *record, *status;
	const char *seen; /* NULL: as recorded */
} observed[] = {
	{"[\"127.0.0.1:90:80\",\"80\"]",
	 STATUS(TCP("127.0.0.1", "90", "80") "," TCP("127.64.0.3", "80", "80")), NULL},
	{"[\"127.64.0.3:90:80\"]", STATUS(TCP("127.64.0.3", "90", "80")), NULL},
	{"[]", STATUS(""), NULL},
	{"[]", "{\"ports\":7}", NULL},
	{"[\"127.0.0.1:90:80\"]", "{}", NULL},
	{"[\"127.0.0.1:90:80\"]", STATUS(""), "[]"},
	{"[]", STATUS(TCP("127.64.0.3", "80", "80")), "[\"80\"]"},
	{"[\"127.0.0.1:90:80\"]", STATUS(TCP("127.0.0.1", "90", "81")), "[\"127.0.0.1:90:81\"]"},
	{"[\"127.0.0.1:90:80\"]",
	 STATUS(TCP("0.0.0.0", "91", "80") "," TCP("127.0.0.1", "90", "80")),
	 "[\"0.0.0.0:91:80\",\"127.0.0.1:90:80\"]"},
};

Test(vm_net, what_is_published_is_observed_whatever_the_record_says)
{
	for (size_t i = 0; i < ARRAY_SIZE(observed); i++) {
		struct seen seen = seen_with(observed[i].record);
		auto_json struct json_object *status = NULL;

		cr_assert_eq(
			json_parse(observed[i].status, strlen(observed[i].status), &status, NULL),
			0, "case %zu", i);
		vm_net_observe(status, &seen);
		cr_expect_str_eq(
			json_opt_str(json_opt_obj(json_opt_obj(seen.record, "spec"), "update"),
				     "fleets.web.ports", ""),
			observed[i].seen ? observed[i].seen : observed[i].record, "case %zu", i);
		cr_expect_str_eq(seen.digest, observed[i].seen ? "" : "abc", "case %zu", i);
		seen_clear(&seen);
	}
}
