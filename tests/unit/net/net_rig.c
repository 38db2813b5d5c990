#include "net_rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "net.h"
#include "net_place.h"
#include "netns.h"
#include "run.h"
#include "xalloc.h"

#define FRAME_MAX 70000
#define TEXT_SIZE 2048

/* --- guest ----------------------------------------------------------------------------------- */

static int make_eth(void)
{
	struct ifreq req = {.ifr_flags = 0};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "eth0");
	req.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	return fd >= 0 && ioctl(fd, TUNSETIFF, &req) == 0 ? fd : -1;
}

static void copy_frame(int from, int to)
{
	static char frame[FRAME_MAX];
	ssize_t n = read(from, frame, sizeof(frame));

	if (n > 0)
		(void)!write(to, frame, (size_t)n);
}

/* Both ends keep the virtio header, so that offloaded checksums stay what they are. */
static void copy_frames(int tap, int eth)
{
	struct pollfd fds[2] = {{.fd = tap, .events = POLLIN}, {.fd = eth, .events = POLLIN}};

	for (;;) {
		(void)poll(fds, 2, -1);
		if (fds[0].revents)
			copy_frame(tap, eth);
		if (fds[1].revents)
			copy_frame(eth, tap);
	}
}

static void guest_main(int tap, int ready)
{
	int eth = -1;

	/* A VMM is exec'd and holds nothing of its supervisor. */
	if (dup2(tap, 3) < 0 || dup2(ready, 4) < 0 || close_range(5, ~0u, 0) < 0)
		_exit(1);
	tap = 3;
	ready = 4;
	if (unshare(CLONE_NEWNET) < 0 || (eth = make_eth()) < 0)
		_exit(1);
	if (write(ready, "x", 1) != 1)
		_exit(1);
	copy_frames(tap, eth);
}

static void configure_guest(pid_t guest)
{
	net_ip_at(guest, "link set lo up");
	net_ip_at(guest, "link set eth0 address 02:fc:00:00:00:64");
	net_ip_at(guest, "addr add " NET_GUEST_IP "/24 dev eth0");
	net_ip_at(guest, "link set eth0 up");
	net_ip_at(guest, "route add default via " NET_GATEWAY_IP);
}

/* --- supervisor ------------------------------------------------------------------------------ */

struct supervisor {
	struct net *net;
	struct loop *loop;
	struct loop_source ctl;
	pid_t guest;
};

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text) + 1) < 0)
		_exit(1);
}

static char *view_text(const struct net *n)
{
	const struct net_view *v = net_look(n);
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "network", net_mode_name(v->mode));
	json_add_str(o, "ip", v->ip);
	json_add_str(o, "loopback", v->loopback);
	json_add(o, "ports", net_ports_json(v));
	return json_line(o);
}

static int parse_config(const char *text, struct net_config *ret, struct err *err)
{
	auto_json struct json_object *o = NULL;
	int r = json_parse(text, strlen(text), &o, err);

	return r < 0 ? r : net_config_from_json(o, ret, err);
}

/* "" ends it; everything else is a configuration. */
static void on_ctl(struct loop *loop, struct loop_source *src, uint32_t events)
{
	static char text[65536];
	struct supervisor *s = src->data;
	ssize_t n = read(src->fd, text, sizeof(text) - 1);
	auto_net_config struct net_config c = {0};
	struct err err = {0};

	(void)events;
	if (n <= 1) {
		/* A supervisor sees the end of its VMM before it takes the network down. */
		(void)kill(s->guest, SIGKILL);
		(void)waitpid(s->guest, NULL, 0);
		net_down(s->net);
		_exit(0);
	}
	text[n] = '\0';
	if (parse_config(text, &c, &err) < 0 || net_update(s->net, &c, &err) < 0) {
		auto_free char *words = xasprintf("-%s", err.msg);

		say(src->fd, words);
		return;
	}
	auto_free char *view = view_text(s->net);
	auto_free char *words = xasprintf("+%s", view);

	say(src->fd, words);
	(void)loop;
}

static void supervisor_main(const struct net_world *w, const char *dir, const char *text, int ctl)
{
	struct supervisor s = {0};
	auto_net_config struct net_config c = {0};
	const struct net_spec spec = {.host = &w->host, .dir = dir, .config = &c};
	struct err err = {0};
	int ready[2] = {-1, -1};
	char byte = 0;

	if (parse_config(text, &c, &err) < 0 || net_up(&spec, &s.net, &err) < 0 ||
	    loop_new(&s.loop, &err) < 0 || net_serve(s.net, s.loop, &err) < 0 ||
	    loop_add(s.loop, &s.ctl, ctl, POLLIN, on_ctl, &s, &err) < 0) {
		auto_free char *words = xasprintf("-%s", err.msg);

		say(ctl, words);
		_exit(0);
	}
	if (pipe2(ready, O_CLOEXEC) < 0)
		_exit(1);
	s.guest = net_spawn();
	if (s.guest == 0)
		guest_main(net_tap_fd(s.net), ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		_exit(1);
	auto_free char *view = view_text(s.net);
	auto_free char *words = xasprintf("+%d %s", (int)s.guest, view);

	say(ctl, words);
	_exit(loop_run(s.loop, &err) < 0);
}

static void read_text(int fd, char text[TEXT_SIZE * 8])
{
	ssize_t n = 0;

	cr_assert_eq(io_wait(fd, POLLIN, deadline_in(60000)), 1, "the supervisor says nothing");
	n = read(fd, text, TEXT_SIZE * 8 - 1);
	text[n > 0 ? n : 0] = '\0';
}

static void start(struct net_world *w, struct net_vm *vm, const char *name, const char *config)
{
	int pair[2] = {-1, -1};
	struct err err = {0};

	*vm = (struct net_vm){.dir = path_join(w->dir, name), .ctl = -1, .guest_end = -1};
	cr_assert_geq(file_mkdir_p(vm->dir, 0711, &err), 0, "%s", err.msg);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	vm->supervisor = net_spawn();
	if (vm->supervisor == 0) {
		(void)close(pair[0]);
		supervisor_main(w, vm->dir, config, pair[1]);
	}
	(void)close(pair[1]);
	vm->ctl = pair[0];
}

static void take_view(struct net_vm *vm, const char *text)
{
	struct err err = {0};

	json_put_p(&vm->view);
	cr_assert_geq(json_parse(text, strlen(text), &vm->view, &err), 0, "%s: %s", err.msg, text);
}

void net_vm_up(struct net_world *w, struct net_vm *vm, const char *name, const char *config)
{
	char text[TEXT_SIZE * 8], *view = NULL;

	start(w, vm, name, config);
	read_text(vm->ctl, text);
	cr_assert_eq(text[0], '+', "%s", text);
	vm->guest = (pid_t)strtol(text + 1, &view, 10);
	vm->guest_end = (int)syscall(SYS_pidfd_open, vm->guest, 0);
	cr_assert_geq(vm->guest_end, 0);
	take_view(vm, view);
	configure_guest(vm->guest);
}

char *net_vm_try(struct net_world *w, const char *name, const char *config)
{
	char text[TEXT_SIZE * 8];
	struct net_vm vm;

	start(w, &vm, name, config);
	read_text(vm.ctl, text);
	net_vm_down(&vm);
	return xstrdup(text[0] == '-' ? text + 1 : "");
}

char *net_vm_update(struct net_vm *vm, const char *config)
{
	char text[TEXT_SIZE * 8];

	cr_assert_gt(write(vm->ctl, config, strlen(config)), 0);
	read_text(vm->ctl, text);
	if (text[0] != '+')
		return xstrdup(text + 1);
	take_view(vm, text + 1);
	return xstrdup("");
}

static void settle(struct net_vm *vm)
{
	(void)waitpid(vm->supervisor, NULL, 0);
	/* It dies with a killed supervisor, and a moment later: until then it can send. */
	if (vm->guest_end >= 0)
		cr_assert_eq(io_wait(vm->guest_end, POLLIN, deadline_in(60000)), 1);
	cleanup_close_p(&vm->guest_end);
	cleanup_close_p(&vm->ctl);
	json_put_p(&vm->view);
	free(vm->dir);
	*vm = (struct net_vm){.ctl = -1, .guest_end = -1};
}

void net_vm_down(struct net_vm *vm)
{
	if (vm->supervisor <= 0)
		return;
	(void)shutdown(vm->ctl, SHUT_RDWR);
	settle(vm);
}

void net_vm_kill(struct net_vm *vm)
{
	(void)kill(vm->supervisor, SIGKILL);
	settle(vm);
}

const char *net_vm_text(const struct net_vm *vm, const char *key)
{
	return json_opt_str(vm->view, key, "");
}
