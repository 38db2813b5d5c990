/* main.c - PID 1 of the guest. `--test-socket FD DIR` instead serves the mux on an inherited socket
 * without touching the system: what tests and the fake VMM talk to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "disks.h"
#include "file.h"
#include "identity.h"
#include "init.h"
#include "io.h"
#include "parse.h"
#include "services.h"

#define PORT_WAIT_MS 15000
#define CMDLINE_MAX 8192

static int port_ready(void *data)
{
	int r = serve_find_port(data, NULL);

	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Modules for both are loaded whatever the machine has: the host says which it is. */
static bool is_vsock(void)
{
	auto_buf struct buf cmdline = BUF_INIT(CMDLINE_MAX);
	char channel[16] = "";

	if (file_read("/proc/cmdline", CMDLINE_MAX - 1, &cmdline, NULL) == 0)
		init_cmdline_value(buf_str(&cmdline), "fcvm.channel", channel, sizeof(channel));
	return strcmp(channel, "vsock") == 0;
}

/* The virtio port, or vsock (Firecracker). */
static int open_channel(struct agent *agent, struct mux **ret_mux, struct err *err)
{
	auto_close int watch = -1;
	int port = -1;
	int r = disks_watch(&watch, err);

	if (r < 0)
		return r;
	if (is_vsock())
		return serve_vsock(agent, err);
	r = disks_wait(watch, port_ready, &port, deadline_in(PORT_WAIT_MS));
	if (r < 0)
		return err_sys_code(err, r, "no channel to the host");
	return serve_mux(agent, port, NULL, NULL, ret_mux, err);
}

static int run_machine(struct err *err)
{
	auto_loop struct loop *loop = NULL;
	static struct agent agent;
	struct mux *mux = NULL;
	int r = init_enter_root(err);

	if (r == 0)
		r = loop_new(&loop, err);
	if (r == 0)
		r = agent_init(&agent, loop, true, AGENT_RUN_DIR, AGENT_PRIVATE_DIR, err);
	if (r == 0)
		r = init_setup(&agent, err);
	if (r == 0)
		r = open_channel(&agent, &mux, err);
	if (r < 0)
		return r;
	agent_say("ready");
	return loop_run(loop, err);
}

static void on_test_lost(void *data, const char *why)
{
	(void)why;
	loop_stop(data, 0);
}

static int run_test(const char *fd_text, const char *dir, struct err *err)
{
	auto_loop struct loop *loop = NULL;
	struct agent agent;
	struct mux *mux = NULL;
	uint64_t fd;
	int r = parse_u64(fd_text, 3, 1u << 20, &fd, err);

	if (r == 0)
		r = loop_new(&loop, err);
	if (r == 0)
		r = agent_init(&agent, loop, false, dir, dir, err);
	if (r == 0)
		r = identity_setup(&agent, err);
	if (r == 0)
		r = io_set_cloexec((int)fd, true);
	if (r == 0)
		r = serve_mux(&agent, (int)fd, on_test_lost, loop, &mux, err);
	if (r == 0)
		r = loop_run(loop, err);
	mux_free(mux);
	return r;
}

int main(int argc, char **argv)
{
	struct err err = {0};

	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	(void)setenv("HOME", "/root", 1);
	if (getpid() == 1) {
		(void)run_machine(&err);
		init_die(&err);
	}
	if (argc == 4 && strcmp(argv[1], "--test-socket") == 0) {
		if (run_test(argv[2], argv[3], &err) == 0)
			return 0;
		(void)fprintf(stderr, "fc-agent: error: %s\n", err.msg);
		return 1;
	}
	(void)fprintf(stderr, "fc-agent " FCVM_VERSION ": runs as PID 1 of a guest\n");
	return 3;
}
