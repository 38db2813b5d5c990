#include "qemu_sight.h"

#include <criterion/criterion.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"

static const char *home;

static const char *fake_env(const char *name)
{
	return strcmp(name, "HOME") == 0 ? home : NULL;
}

static void add(struct buf *out, const struct qemu_sight *s)
{
	for (size_t i = 0; i < s->hide.n_dirs; i++)
		buf_addf(out, "%s ", s->hide.dirs[i]);
	buf_add_str(out, "|");
	for (size_t i = 0; i < s->hide.n_keep; i++)
		buf_addf(out, " %s%s", s->hide.keep[i].path, s->hide.keep[i].writable ? "*" : "");
}

Test(qemu_sight, only_what_the_vm_is_made_of_is_kept)
{
	struct host host = {.data_dir = (char[]){"/home/u/data"},
			    .shared_cache = (char[]){"/var/lib/fcvm/cache"},
			    .getenv = fake_env};
	struct vm vm = {.host = &host, .vm_dir = (char[]){"/home/u/data/sets/s/vms/a/vm"}};
	static const struct {
		const char *home, *binary, *memory, *want;
	} cases[] = {
		{"/home/u", "/usr/bin/qemu", NULL,
		 "/home/u /home/u/data /home /run /tmp /var/tmp /dev/shm | /home/u/data/cache "
		 "/var/lib/fcvm/cache /home/u/data/sets/s/vms/a/vm*"},
		{NULL, "/usr/bin/qemu", "/home/u/data/sets/s/snapshots/w/k/memory",
		 "/home/u/data /home /run /tmp /var/tmp /dev/shm | /home/u/data/cache "
		 "/var/lib/fcvm/cache /home/u/data/sets/s/snapshots/w/k "
		 "/home/u/data/sets/s/vms/a/vm*"},
		{"/", "/home/u/qemu/bin/qemu", NULL,
		 "/home/u/data /home /run /tmp /var/tmp /dev/shm | /home/u/qemu/share/qemu "
		 "/home/u/qemu/bin /home/u/data/cache /var/lib/fcvm/cache "
		 "/home/u/data/sets/s/vms/a/vm*"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_sight struct qemu_sight s = {0};
		auto_buf struct buf out = BUF_INIT(4096);

		home = cases[i].home;
		qemu_sight_of(&vm, cases[i].binary, cases[i].memory, &s);
		add(&out, &s);
		cr_expect_str_eq(buf_str(&out), cases[i].want);
		cr_expect_str_eq(s.hide.cwd, vm.vm_dir);
	}
}
