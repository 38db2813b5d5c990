/* test_rootless.c - real guests of an ordinary user: reached by their ports, reaching out, kept
 * from what is not theirs; with assets root built and memory from a file. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "user_world.h"
#include "xalloc.h"

TestSuite(rootless, .fini = user_world_cleanup);

static bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

#define EXPECT_HEARD(call, part)                                                 \
	do {                                                                     \
		auto_free char *heard_ = (call);                                 \
		cr_expect(has(heard_, (part)), "%s: heard '%s'", #call, heard_); \
	} while (0)
/* Answered by an ICMP message of the filter, as in bridged mode. */
#define EXPECT_BLOCKED(call) EXPECT_HEARD(call, "No route to host")

static const char open_body[] = "fleets:\n"
				"  web:\n"
				"    from: web\n"
				"    count: 2\n"
				"    network: rootless\n"
				"    ports:\n"
				"      - \"8080\"\n"
				"      - \"{{18080 + index}}:8080\"\n"
				"      - \"203.0.113.2:{{19080 + index}}:8080\"\n";

/* The VM's own 127.x.y.z, as ps has it. */
static char *own_address(struct user_world *w, const char *clone)
{
	auto_run struct run_result r = RUN_INIT;
	auto_free char *name = xasprintf("%s.%s", w->set, clone);

	WORLD_RUN(w, &r, 0, "ps", w->set, "--json");
	auto_json struct json_object *rows = run_json(&r);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		struct json_object *ports = NULL;

		if (strcmp(json_opt_str(row, "name", ""), name) != 0)
			continue;
		cr_assert(json_object_object_get_ex(row, "ports", &ports));
		cr_assert_eq(json_object_array_length(ports), 3);
		return xstrdup(json_opt_str(json_object_array_get_idx(ports, 0), "host_ip", ""));
	}
	cr_assert_fail("ps has no %s", name);
	return NULL;
}

static void check_published(struct user_world *w)
{
	auto_free char *own = own_address(w, "web-0");
	auto_free char *other = own_address(w, "web-1");

	cr_expect_str_neq(own, other);
	EXPECT_HEARD(world_hear(w, false, own, 8080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(world_hear(w, false, other, 8080), "\"hostname\":\"web-1\"");
	EXPECT_HEARD(world_hear(w, false, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(world_hear(w, false, "127.0.0.1", 18081), "\"hostname\":\"web-1\"");
	EXPECT_HEARD(world_hear(w, true, WORLD_HOST, 19080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(world_hear(w, true, WORLD_HOST, 19081), "\"hostname\":\"web-1\"");
}

/* Both hold their connection while the other makes one: one inner address, two VMs. */
static void check_egress(struct user_world *w)
{
	(void)world_serve(w, true, "inet", WORLD_INET, 80);
	(void)world_serve(w, true, "far", WORLD_INET_2, 8081);
	EXPECT_HEARD(guest_hear(w, "web-0", WORLD_INET, 80), "inet 203.0.113.2");
	EXPECT_HEARD(guest_hear(w, "web-1", WORLD_INET, 80), "inet 203.0.113.2");
	EXPECT_HEARD(guest_hear(w, "web-1", "web.example", 8081), "far 203.0.113.2");
	EXPECT_HEARD(guest_sh(w, "web-0", "getent hosts web.example"), WORLD_INET_2);
	EXPECT_HEARD(guest_sh(w, "web-0", "getent hosts other.example || echo unknown"), "unknown");
}

static void check_blocked(struct user_world *w)
{
	int seen[] = {
		world_serve(w, false, "lan", WORLD_HOST, 7001),
		world_serve(w, false, "loopback", "127.0.0.1", 7002),
		world_serve(w, true, "metadata", WORLD_METADATA, 80),
		world_serve(w, true, "spoofed", WORLD_INET, 7003),
	};
	char byte;

	EXPECT_HEARD(world_hear(w, true, WORLD_HOST, 7001), "lan");
	EXPECT_HEARD(world_hear(w, true, WORLD_METADATA, 80), "metadata");
	cr_assert_eq(read(seen[0], &byte, 1), 1);
	cr_assert_eq(read(seen[2], &byte, 1), 1);
	EXPECT_BLOCKED(guest_hear(w, "web-0", WORLD_HOST, 7001));
	EXPECT_BLOCKED(guest_hear(w, "web-0", "172.16.0.2", 7002));
	EXPECT_BLOCKED(guest_hear(w, "web-0", WORLD_METADATA, 80));
	/* The other VM's, by the host's address; its 127.x.y.z is the guest's own loopback. */
	EXPECT_BLOCKED(guest_hear(w, "web-0", WORLD_HOST, 19081));
	auto_free char *spoof = guest_sh(
		w, "web-0",
		"ip addr add 172.16.0.101/24 dev eth0 && timeout 3 perl -MIO::Socket::INET -e "
		"'IO::Socket::INET->new(PeerAddr=>\"" WORLD_INET ":7003\","
		"LocalAddr=>\"172.16.0.101\") or die' 2>&1; echo ended $?; "
		"ip addr del 172.16.0.101/24 dev eth0");
	cr_expect(has(spoof, "ended 124"), "spoofing: %s", spoof);
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		cr_expect_lt(read(seen[i], &byte, 1), 0, "server %zu was reached", i);
	EXPECT_HEARD(guest_hear(w, "web-0", WORLD_INET, 7003), "spoofed");
}

Test(rootless, two_clones_are_reached_reach_out_and_are_kept_from_the_host)
{
	struct user_world w = {0};
	auto_run struct run_result r = RUN_INIT;

	user_world_make(&w, "rootless", open_body);
	world_resolve(&w, "web.example", WORLD_INET_2);
	WORLD_RUN(&w, &r, 0, "apply", w.spec);
	cr_expect(has(buf_str(&r.err), "memory.backend: auto means file here"));
	check_published(&w);
	check_egress(&w);
	check_blocked(&w);
	user_world_finish(&w);
}

static const char shut_body[] = "networks:\n"
				"  shut:\n"
				"    mode: rootless\n"
				"    egress:\n"
				"      default: deny\n"
				"      allow: [\"203.0.113.1:80/tcp\", \"web.example:8081\"]\n"
				"fleets:\n"
				"  web:\n"
				"    from: web\n"
				"    network: shut\n"
				"    ports: [\"18080:8080\"]\n"
				"  alone: { from: web, network: none }\n";

static pid_t supervisor_of(struct user_world *w, const char *clone)
{
	auto_free char *path = xasprintf("%s/.local/share/fcvm/sets/%s/vms/%s/status.json",
					 w->user.home, w->set, clone);
	auto_json struct json_object *status = NULL;
	struct err err = {0};

	cr_assert_eq(json_load(path, &status, &err), 0, "%s", err.msg);
	return (pid_t)json_opt_u64(json_opt_obj(status, "supervisor"), "pid", 0);
}

/* Nothing of it stays: not its port, not its uplink. */
static void check_killed(struct user_world *w)
{
	auto_run struct run_result r = RUN_INIT;
	auto_free char *text = NULL;
	pid_t pid = supervisor_of(w, "web-0");
	uint64_t deadline_ms = deadline_in(20000);

	cr_assert_gt(pid, 1);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	do {
		free(text);
		text = world_hear(w, false, "127.0.0.1", 18080);
	} while (*text && deadline_left(deadline_ms) > 0);
	cr_expect_str_eq(text, "", "the port is still there");
	WORLD_RUN(w, &r, 0, "apply", w->spec);
	EXPECT_HEARD(world_hear(w, false, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
}

Test(rootless, under_deny_only_what_is_allowed_is_reached)
{
	struct user_world w = {0};
	auto_run struct run_result r = RUN_INIT;

	user_world_make(&w, "shut", shut_body);
	world_resolve(&w, "web.example", WORLD_INET_2);
	WORLD_RUN(&w, &r, 0, "apply", w.spec);
	(void)world_serve(&w, true, "inet", WORLD_INET, 80);
	(void)world_serve(&w, true, "other", WORLD_INET, 81);
	(void)world_serve(&w, true, "far", WORLD_INET_2, 8081);
	EXPECT_HEARD(world_hear(&w, false, "127.0.0.1", 18080), "\"hostname\":\"web-0\"");
	EXPECT_HEARD(guest_hear(&w, "web-0", WORLD_INET, 80), "inet 203.0.113.2");
	/* Told at once, not left to wait. */
	EXPECT_HEARD(guest_hear(&w, "web-0", WORLD_INET, 81), "Connection refused");
	EXPECT_HEARD(guest_hear(&w, "web-0", WORLD_INET_2, 8081), "Connection refused");
	EXPECT_HEARD(guest_sh(&w, "web-0", "getent hosts other.example || echo unknown"),
		     "unknown");
	EXPECT_HEARD(guest_hear(&w, "web-0", "web.example", 8081), "far 203.0.113.2");
	/* Of the same snapshot: a network card and nothing behind it. */
	auto_free char *alone = guest_hear(&w, "alone-0", WORLD_INET, 80);

	cr_expect_not(has(alone, "inet"), "%s", alone);
	check_killed(&w);
	user_world_finish(&w);
}

static const char volume_body[] = "volumes:\n"
				  "  own: { type: host, source: own, access: rw }\n"
				  "fleets:\n"
				  "  web: { from: web, network: none, volumes: [\"own:/own\"] }\n";

static void put(const char *dir, const char *name, mode_t mode)
{
	auto_free char *path = path_join(dir, name);
	struct err err = {0};

	cr_assert_geq(file_replace(path, "text\n", 5, mode, &err), 0, "%s", err.msg);
}

/* Whose it is in the guest is who the guest's root is; whose it is here is the user. */
static void check_owners(struct user_world *w, const char *dir)
{
	auto_free char *made = path_join(dir, "made");
	struct stat st = {0};

	EXPECT_HEARD(guest_sh(w, "web-0", "cd /own && echo hi >made && stat -c %u:%g made"), "0:0");
	cr_assert_eq(stat(made, &st), 0);
	cr_expect(st.st_uid == w->user.uid && st.st_gid == w->user.uid, "%u:%u", st.st_uid,
		  st.st_gid);
	EXPECT_HEARD(guest_sh(w, "web-0", "stat -c %u:%g /own/theirs"), "65534:65534");
	EXPECT_HEARD(guest_sh(w, "web-0", "chown 0:0 /own/made && echo same"), "same");
	EXPECT_HEARD(guest_sh(w, "web-0", "chown 5:5 /own/made || echo refused"), "refused");
}

static void check_rights(struct user_world *w, const char *dir)
{
	auto_free char *made = path_join(dir, "made");
	struct stat st = {0};

	EXPECT_HEARD(guest_sh(w, "web-0", "cat /own/theirs"), "text");
	EXPECT_HEARD(guest_sh(w, "web-0", "cat /own/secret || echo refused"), "refused");
	EXPECT_HEARD(guest_sh(w, "web-0", "echo x >>/own/theirs || echo refused"), "refused");
	EXPECT_HEARD(guest_sh(w, "web-0", "mknod /own/dev c 1 3 || echo refused"), "refused");
	EXPECT_HEARD(guest_sh(w, "web-0", "chmod 4755 /own/made; echo done"), "done");
	cr_assert_eq(stat(made, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0755);
	/* Removing is the directory's owner's right, as everywhere. */
	EXPECT_HEARD(guest_sh(w, "web-0", "rm -f /own/secret && echo gone"), "gone");
}

Test(rootless, a_volume_has_the_rights_of_its_user_and_no_more)
{
	struct user_world w = {0};
	auto_run struct run_result r = RUN_INIT;

	user_world_make(&w, "volume", volume_body);
	auto_free char *dir = path_join(w.dir, "own");

	cr_assert_eq(mkdir(dir, 0755), 0);
	cr_assert_eq(chown(dir, w.user.uid, w.user.uid), 0);
	put(dir, "theirs", 0644);
	put(dir, "secret", 0600);
	WORLD_RUN(&w, &r, 0, "apply", w.spec);
	check_owners(&w, dir);
	check_rights(&w, dir);
	user_world_finish(&w);
}
