#include "crun_rig.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "container.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "user.h"
#include "xalloc.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BUNDLE "/var/lib/containers/storage/overlay-containers/" ID "/userdata"
#define EXITS "/run/libpod/exits"

static void write_file(const char *dir, const char *name, const char *text, mode_t mode)
{
	auto_free char *path = path_join(dir, name);

	cr_assert_eq(file_mkdir_p(dir, 0755, NULL), 0);
	cr_assert_eq(file_replace(path, text, strlen(text), mode, NULL), 0, "%s", path);
}

void crun_rig_program(struct crun_rig *c, const char *name, const char *script)
{
	auto_free char *dir = path_join(c->rig.dir, "bin");
	auto_free char *text = xasprintf("#!/bin/sh\n%s\n", script);

	write_file(dir, name, text, 0755);
}

/* What is hidden the agent would share with a Podman of the machine. */
static void hide_podman(void)
{
	static const char *const dirs[] = {"/var/lib", "/run", "/sys/fs/cgroup"};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		cr_skip_test("needs a mount namespace");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		user_hide(dirs[i]);
}

/* Its conmon waits for the container and leaves the exit code, as the real one. */
static void write_programs(struct crun_rig *c, const char *init)
{
	auto_free char *podman = xasprintf("cd %s\n"
					   "printf " ID " >container.id\n"
					   "bin/conmon &\n"
					   "printf $! >conmon.pid\n"
					   "until [ -s container.pid ]; do sleep 0.01; done\n",
					   c->rig.dir);
	auto_free char *conmon = xasprintf("bin/init &\n"
					   "printf $! >.pid; mv .pid container.pid\n"
					   "wait $!; printf $? >" EXITS "/.code\n"
					   "mv " EXITS "/.code " EXITS "/" ID "\n");

	crun_rig_program(c, "podman", podman);
	crun_rig_program(c, "conmon", conmon);
	crun_rig_program(c, "init", init);
}

void crun_rig_new(struct crun_rig *c, const char *init)
{
	static char name[] = CRUN_RIG_NAME, image[] = "none";
	const struct proto_container spec = {.name = name, .image = image};
	auto_buf struct buf body = BUF_INIT(4096);
	struct container_view view;

	hide_podman();
	/* Who runs on without its parent comes to us, as to PID 1. */
	cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	agent_rig_new(&c->rig);
	write_programs(c, init);
	write_file(BUNDLE, "config.json", "{\"process\":{\"cwd\":\"/\"}}", 0644);
	auto_free char *path = xasprintf("%s/bin:%s", c->rig.dir, getenv("PATH"));
	cr_assert_eq(setenv("PATH", path, 1), 0);
	client_open(&c->rig, AGENT_PORT_CONTROL, &c->control);
	tlv_put_u64(&body, TAG_ID, 1);
	proto_put_container(&body, &spec);
	chan_send_buf(c->control.chan, MSG_WORKLOAD, &body);
	RIG_UNTIL(&c->rig, container_state(&c->rig.agent) == CONTAINER_STARTED);
	cr_assert_eq(container_find(&c->rig.agent, name, &view, NULL), 0);
	c->pid = view.pid;
}

void crun_rig_free(struct crun_rig *c)
{
	if (container_state(&c->rig.agent) == CONTAINER_STARTED) {
		cr_assert_eq(kill(c->pid, SIGKILL), 0);
		RIG_UNTIL(&c->rig, container_state(&c->rig.agent) == CONTAINER_EXITED);
	}
	client_close(&c->control);
	agent_rig_free(&c->rig);
}
