#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "net_rig.h"
#include "record.h"
#include "vm_net.h"
#include "xalloc.h"

/* A port of 127.77.5.1 that we listen on. */
static int listen_somewhere(uint16_t *ret_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(inet_pton(AF_INET, "127.77.5.1", &at.sin_addr), 1);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret_port = ntohs(at.sin_port);
	return fd;
}

/* What the record of a VM that has these ports says; its supervisor is this test, or long gone. */
static struct json_object *record_of(const struct net_rig *r, bool alive)
{
	struct json_object *o = json_object_new_object();
	auto_field_list struct field_list f = {0};
	struct proc_id id;

	vm_net_describe(&r->choice, &r->clone, &f);
	json_add(o, "spec", field_list_to_json(&f));
	cr_assert_eq(proc_id_of(getpid(), &id, NULL), 0);
	id.start_time += !alive;
	json_add(o, "supervisor", record_proc(&id));
	return o;
}

static int admit_beside(const struct net_rig *r, struct json_object *record, bool making,
			bool leaving, struct err *err)
{
	struct host host = {0};
	struct seen seen = {.record = record};

	cr_assert_eq(host_init(&host, "/nonexistent", NULL), 0);
	struct resource_ctx ctx = {.host = &host, .fleet = r->fleet, .choice = &r->choice};
	int code = resource_admit_ports(&ctx, &r->clone, &seen, 1, &making, &leaving, err);
	host_free(&host);
	return code;
}

static int admit(const struct net_rig *r, struct json_object *record, bool making, struct err *err)
{
	return admit_beside(r, record, making, making, err);
}

Test(publish, a_taken_port_is_refused_with_its_place_and_holder_unless_it_is_our_own)
{
	auto_net_rig struct net_rig r;
	uint16_t port = 0;
	auto_close int fd = listen_somewhere(&port);
	auto_free char *more = xasprintf(
		"    network: bridged\n    ports: [80, \"127.77.5.1:{{%u - 1 + index}}:80\"]\n",
		port);
	struct err err = {0};

	cr_assert_geq(fd, 0);
	net_rig_make(&r, "", more);
	auto_free char *want = xasprintf(
		"/dir/t.yaml:13:17: error: fleets.web.ports[1]: port 127.77.5.1:%u/tcp is taken by "
		"pid %d (unit-resource)\n    ports: [80, \"127.77.5.1:{{%u - 1 + index}}:80\"]\n"
		"                ^\nhint: choose another host port, or end what holds it\n",
		port, (int)getpid(), port);
	cr_expect_eq(admit(&r, NULL, true, &err), -EADDRINUSE);
	cr_expect_eq(err.class, ERR_HOST);
	auto_free char *said = net_rig_problems(&r);
	cr_expect_str_eq(said, want);
	cr_expect_eq(admit(&r, NULL, false, &err), 0, "nothing is made");
	auto_json struct json_object *ours = record_of(&r, true), *gone = record_of(&r, false);
	cr_expect_eq(admit(&r, ours, true, &err), 0, "a live VM of the set has it");
	cr_expect_eq(admit(&r, gone, true, &err), -EADDRINUSE, "the record's VM is dead");
	cr_expect_eq(admit_beside(&r, ours, true, false, &err), -EADDRINUSE, "it stays as it is");
}

/* What is in the way is what is changed: the VM's own socket, at another address. */
Test(publish, a_port_that_moves_to_every_address_is_our_own)
{
	auto_net_rig struct net_rig was, now;
	uint16_t port = 0;
	auto_close int fd = listen_somewhere(&port);
	auto_free char *one = xasprintf(
		"    network: bridged\n    ports: [\"127.77.5.1:{{%u - 1 + index}}:80\"]\n", port);
	auto_free char *all = xasprintf(
		"    network: bridged\n    ports: [\"0.0.0.0:{{%u - 1 + index}}:80\"]\n", port);
	struct err err = {0};

	cr_assert_geq(fd, 0);
	net_rig_make(&was, "", one);
	net_rig_make(&now, "", all);
	auto_json struct json_object *ours = record_of(&was, true), *gone = record_of(&was, false);
	cr_expect_eq(admit(&now, ours, true, &err), 0, "%s", err.msg);
	cr_expect_eq(admit(&now, gone, true, &err), -EADDRINUSE);
}

Test(publish, an_address_of_another_machine_is_refused)
{
	auto_net_rig struct net_rig r;
	struct err err = {0};

	net_rig_make(&r, "",
		     "    network: bridged\n    ports: [\"192.0.2.7:{{8079 + index}}:80\"]\n");
	cr_expect_lt(admit(&r, NULL, true, &err), 0);
	cr_expect_eq(err.class, ERR_HOST);
	auto_free char *said = net_rig_problems(&r);
	cr_expect_str_eq(said, "/dir/t.yaml:13:13: error: fleets.web.ports[0]: cannot publish "
			       "192.0.2.7:8080/tcp: Cannot assign requested address\n"
			       "    ports: [\"192.0.2.7:{{8079 + index}}:80\"]\n            ^\n"
			       "hint: this host has no address 192.0.2.7\n");
}
