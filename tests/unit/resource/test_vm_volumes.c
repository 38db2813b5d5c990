#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "net_rig.h"
#include "vm_volumes.h"
#include "xalloc.h"

#define VOLUMES                                                                      \
	"volumes:\n"                                                                 \
	"  src: { type: host, source: src }\n"                                       \
	"  out: { type: host, source: \"/o/{{clone}}\", access: rw, create: true,\n" \
	"         trust: full, cache: private }\n"                                   \
	"  tmp: { type: disk, size: 64MiB }\n"                                       \
	"  set: { type: disk, size: 32MiB, per: set }\n"                             \
	"defaults: { baseline: { volumes: [\"src:/z\", \"out:/o:ro\", \"tmp:/a\", "  \
	"\"set:/b:ro\"] } }\n"

static struct resource_ctx ctx_of(const struct net_rig *r)
{
	return (struct resource_ctx){
		.fleet = r->fleet, .choice = &r->choice, .set_dir = "/sets/t", .run = "abcdabcd"};
}

static char *described(const struct net_rig *r, const struct node *node)
{
	auto_field_list struct field_list f = {0};
	struct resource_ctx ctx = ctx_of(r);

	vm_volumes_describe(&ctx, node, &f);
	auto_json struct json_object *o = field_list_to_json(&f);
	return json_line(o);
}

Test(vm_volumes, a_baseline_is_made_of_its_mounts_and_disks_and_only_notes_where_directories_are)
{
	auto_net_rig struct net_rig r;

	net_rig_make(&r, VOLUMES, "");
	r.baseline.n_users = 1;
	auto_free char *users = described(&r, &r.baseline);
	cr_expect_str_eq(users,
			 "{\"note\":{\"volumes.src.source\":\"/dir/src\",\"volumes.out.source\":"
			 "\"/o/_baseline-web\",\"volumes.out.access\":\"rw\",\"volumes.out.trust\":"
			 "\"full\",\"volumes.out.cache\":\"private\"},\"update\":{},\"own\":{},"
			 "\"replace\":{\"baselines.web.volumes\":\"[\\\"out:/o:ro\\\","
			 "\\\"set:/b:ro\\\",\\\"src:/z\\\",\\\"tmp:/a\\\"]\","
			 "\"volumes.tmp.size\":\"64MiB\",\"volumes.set.size\":\"32MiB\","
			 "\"volumes.set.per\":\"set\"}}");
	/* Nobody is made from it: it is made anew itself. */
	r.baseline.n_users = 0;
	auto_free char *alone = described(&r, &r.baseline);
	cr_expect(strstr(alone, "\"own\":{\"volumes.src.source\":\"/dir/src\""), "%s", alone);
	net_rig_free(&r);
	net_rig_make(&r, "", "");
	auto_free char *none = described(&r, &r.baseline);
	cr_expect_str_eq(none, "{\"note\":{},\"update\":{},\"own\":{},\"replace\":{}}");
}

Test(vm_volumes, a_clone_is_replaced_for_its_directories_alone)
{
	auto_net_rig struct net_rig r;

	net_rig_make(&r, VOLUMES, "    volumes: [\"out:/more\", \"src:/o:ro\"]\n");
	auto_free char *said = described(&r, &r.clone);
	cr_expect_str_eq(said,
			 "{\"note\":{},\"update\":{},\"own\":{\"volumes.src.source\":\"/dir/src\","
			 "\"volumes.out.source\":\"/o/web-1\",\"volumes.out.access\":\"rw\","
			 "\"volumes.out.trust\":\"full\",\"volumes.out.cache\":\"private\"},"
			 "\"replace\":{\"fleets.web.volumes\":\"[\\\"out:/more\\\","
			 "\\\"src:/o:ro\\\"]\"}}");
}

static const struct volume_mount *at(const struct volume_list *l, size_t i, const char *target)
{
	cr_assert_str_eq(l->v[i].target, target);
	return &l->v[i];
}

Test(vm_volumes, mounts_come_in_order_with_the_clones_own_source)
{
	auto_net_rig struct net_rig r;
	auto_volume_list struct volume_list clone = {0}, baseline = {0};
	struct err err = {0};

	net_rig_make(&r, VOLUMES, "    volumes: [\"out:/z\"]\n");
	struct resource_ctx ctx = ctx_of(&r);
	cr_assert_eq(vm_volumes_list(&ctx, &r.clone, &clone, &err), 0, "%s", err.msg);
	cr_assert_eq(clone.n, 4);
	const struct volume_mount *m = at(&clone, 0, "/a");
	cr_expect_eq(m->type, VOLUME_DISK);
	cr_expect_str_eq(m->source, "vol-tmp");
	cr_expect_not(m->read_only);
	m = at(&clone, 1, "/b");
	cr_expect_str_eq(m->source, "vol-set");
	cr_expect(m->read_only);
	m = at(&clone, 2, "/o");
	cr_expect_eq(m->type, VOLUME_HOST);
	cr_expect(m->read_only, ":ro");
	m = at(&clone, 3, "/z");
	cr_expect_str_eq(m->name, "out");
	cr_expect_str_eq(m->source, "/o/web-1");
	cr_expect_not(m->read_only);
	cr_expect_eq(m->cache, VOLUME_PRIVATE);
	cr_expect_eq(m->trust, VOLUME_FULL);
	cr_assert_eq(vm_volumes_list(&ctx, &r.baseline, &baseline, &err), 0, "%s", err.msg);
	cr_expect_str_eq(at(&baseline, 2, "/o")->source, "/o/_baseline-web");
	cr_expect(at(&baseline, 3, "/z")->read_only, "access: ro");
}

Test(vm_volumes, disks_are_drives_of_the_vm_or_of_the_set)
{
	auto_net_rig struct net_rig r;
	auto_vm_config struct vm_config c = {.n_disks = 0};

	net_rig_make(&r, VOLUMES, "");
	struct resource_ctx ctx = ctx_of(&r);
	vm_volumes_add_disks(&ctx, r.baseline.spec, &c);
	cr_assert_eq(c.n_disks, 2);
	cr_expect_str_eq(c.disks[0].path, "vol-tmp.img");
	cr_expect_str_eq(c.disks[0].serial, "vol-tmp");
	cr_expect_not(c.disks[0].read_only);
	cr_expect_eq(c.disks[0].bytes, 64u << 20);
	cr_expect_str_eq(c.disks[1].path, "/sets/t/volumes/set-32768K.img");
	cr_expect(c.disks[1].read_only);
}

Test(vm_volumes, a_long_name_has_a_serial_of_its_own)
{
	char a[20], b[20], c[20];

	vm_volumes_serial("fifteen-letters", a);
	cr_expect_str_eq(a, "vol-fifteen-letters");
	vm_volumes_serial("a-name-too-long-1", b);
	vm_volumes_serial("a-name-too-long-2", c);
	cr_expect_eq(strlen(b), 19);
	cr_expect_eq(strncmp(b, "vol-", 4), 0);
	cr_expect_str_neq(b, c);
}

struct place_rig {
	struct net_rig net;
	struct host host;
	char dir[32];
};

static void place_make(struct place_rig *p, const char *create)
{
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/fcvm-volumes-XXXXXX");
	cr_assert_not_null(mkdtemp(p->dir));
	auto_free char *text =
		xasprintf("volumes:\n  out: { type: host, source: \"%s/a/{{clone}}\", "
			  "access: rw%s }\n  set: { type: disk, size: 16MiB, per: set "
			  "}\ndefaults: { baseline: { volumes: [\"out:/o\", "
			  "\"set:/s:ro\"] } }\n",
			  p->dir, create);

	net_rig_make(&p->net, text, "");
	cr_assert_eq(host_init(&p->host, p->dir, NULL), 0);
}

static void place_free(struct place_rig *p)
{
	net_rig_free(&p->net);
	host_free(&p->host);
	cr_assert_eq(file_remove_tree(p->dir, NULL), 0);
}

Test(vm_volumes, a_directory_that_is_missing_is_refused_with_its_place)
{
	struct place_rig p;
	bool making = true, resting = false;
	struct err err = {0};

	place_make(&p, "");
	struct resource_ctx ctx = ctx_of(&p.net);
	auto_free char *first = xasprintf("/dir/t.yaml:4:30: error: volumes.out.source: no "
					  "directory '%s/a/web-1'\n",
					  p.dir);
	cr_expect_eq(resource_admit_volumes(&ctx, &p.net.clone, 1, &resting, &err), 0);
	cr_expect_eq(resource_admit_volumes(&ctx, &p.net.clone, 1, &making, &err), -ENOENT);
	cr_expect_eq(err.class, ERR_HOST);
	auto_free char *said = net_rig_problems(&p.net);
	cr_expect_eq(strncmp(said, first, strlen(first)), 0, "%s", said);
	cr_expect(strstr(said, "\nhint: make it, or say create: true\n"), "%s", said);
	auto_free char *path = xasprintf("%s/a/web-1", p.dir);
	cr_assert_eq(file_mkdir_p(path, 0755, NULL), 0);
	cr_expect_eq(resource_admit_volumes(&ctx, &p.net.clone, 1, &making, &err), 0);
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(file_replace(path, "", 0, 0600, NULL), 0);
	cr_expect_eq(resource_admit_volumes(&ctx, &p.net.clone, 1, &making, &err), -ENOTDIR);
	place_free(&p);
}

Test(vm_volumes, what_is_to_be_made_is_made_once)
{
	struct place_rig p;
	bool making = true;
	struct stat st, again;
	struct err err = {0};

	place_make(&p, ", create: true");
	struct resource_ctx ctx = ctx_of(&p.net);
	ctx.set_dir = p.dir;
	auto_free char *path = xasprintf("%s/a/web-1", p.dir);
	auto_free char *disk = xasprintf("%s/volumes/set-16384K.img", p.dir);
	cr_expect_eq(resource_admit_volumes(&ctx, &p.net.clone, 1, &making, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(vm_volumes_make(&ctx, &p.net.clone, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0755);
	cr_expect_eq(st.st_uid, geteuid());
	cr_assert_eq(stat(disk, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0444);
	cr_expect_eq(st.st_size, 16 << 20);
	cr_assert_eq(vm_volumes_make(&ctx, &p.net.clone, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(disk, &again), 0);
	cr_expect_eq(again.st_ino, st.st_ino);
	place_free(&p);
}
