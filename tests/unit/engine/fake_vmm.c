#include "fake_vmm.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

enum { FD_QMP = 3, FD_READY = 7 };

static char script[32];
static bool incoming, running;

/* The shim's place in LD_PRELOAD is before ASan's, which does not matter to a fake. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0";
}

static bool scripted(const char *word)
{
	return strcmp(script, word) == 0;
}

static void say(const char *text)
{
	if (send(FD_QMP, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void status_event(const char *status)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"%s\"}}\n", status);
	say(text);
}

static void save(void)
{
	status_event("active");
	if (scripted("dies-saving"))
		_exit(1);
	say("{\"event\":\"STOP\"}\n");
	if (scripted("no-migrate")) {
		status_event("failed");
		return;
	}
	running = false;
	status_event("completed");
}

static void load(void)
{
	if (!scripted("completed")) {
		running = true;
		say("{\"event\":\"RESUME\"}\n");
	}
	status_event("completed");
}

static void obey(const char *line)
{
	const char *id = strstr(line, "\"id\":");
	char reply[200];
	const char *value = "{}";

	if (strstr(line, "\"query-status\""))
		value = running ? "{\"running\":true}" : "{\"running\":false}";
	if (strstr(line, "\"cont\""))
		running = true;
	(void)snprintf(reply, sizeof(reply), "{\"return\":%s,\"id\":%d}\n", value,
		       id ? (int)strtol(id + 5, NULL, 10) : 0);
	say(reply);
	if (strstr(line, "\"migrate\""))
		save();
	if (strstr(line, "\"migrate-incoming\""))
		load();
	if (strstr(line, "\"system_powerdown\"") && !scripted("stubborn"))
		_exit(0);
}

/* Descriptors that come with getfd are dropped by the plain read. */
__attribute__((noreturn)) static void serve(void)
{
	char text[65536];
	size_t len = 0;

	for (;;) {
		ssize_t n = read(FD_QMP, text + len, sizeof(text) - 1 - len);
		char *newline;

		if (n <= 0)
			_exit(0);
		len += (size_t)n;
		text[len] = '\0';
		while ((newline = strchr(text, '\n'))) {
			*newline = '\0';
			obey(text);
			len -= (size_t)(newline + 1 - text);
			memmove(text, newline + 1, len + 1);
		}
	}
}

static void play(void)
{
	FILE *f = fopen("script", "re");

	if (!f || !fgets(script, sizeof(script), f))
		_exit(99);
	if (scripted("dies")) {
		dprintf(STDERR_FILENO, "fake: no such disk\nfake: giving up\n");
		_exit(1);
	}
	running = !incoming && !scripted("stuck");
	if (incoming && !scripted("no-shim")) {
		const char *mode = getenv("FCVM_UFFD_MODE");
		bool uffd = mode && strcmp(mode, "uffd") == 0;
		bool say_r = uffd != scripted("wrong-shim");

		(void)!write(FD_READY, say_r ? "R" : "F", 1);
	}
	if (!scripted("silent"))
		say("{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n");
	serve();
}

__attribute__((constructor)) static void become_fake(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "-nodefaults") != 0)
		return;
	for (int i = 1; i < argc; i++)
		incoming = incoming || strcmp(argv[i], "-incoming") == 0;
	play();
}

const char *fake_vmm_path(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = '\0';
	return path;
}
