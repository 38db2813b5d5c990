/* hello.c - the example workload: a small HTTP server on port 8080 that says who it is.
 *
 * GET / answers JSON with everything that must differ between clones of one snapshot: hostname,
 * machine-id, boot_id, epoch (/run/fcvm/epoch), 32 fresh bytes of getrandom, and the time.
 * GET /healthz answers "ok". Every request is a line on stdout, and so is one tick a second (every
 * HELLO_TICK_MS milliseconds, when that is set), which names its host. SIGTERM
 * ends it with status 0. One poll loop, no threads, no allocation after start.
 *
 * `hello get PATH` asks the running server and prints the answer: the image has no other program,
 * and `fcvm exec CLONE -- /hello get /` is how one looks into a clone. `hello get URL` asks a
 * published one from the host. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 8080
#define CLIENTS_MAX 1024
#define IDLE_MS 10000
#define TICK_MS 1000
#define TICK_MAX_MS 3600000
#define TIME_SIZE 64

struct client {
	int fd; /* -1 while free */
	int64_t since_ms;
	size_t in_len, out_len, out_pos;
	char in[2048];
	char out[1024];
};

static struct client clients[CLIENTS_MAX];
static struct pollfd polled[CLIENTS_MAX + 1];
static volatile sig_atomic_t stopping;

static void on_term(int sig)
{
	(void)sig;
	stopping = 1;
}

static int64_t monotonic_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* RFC 3339 with milliseconds; 24 characters. */
static void now_text(char *ret, size_t size)
{
	struct timespec t;
	struct tm tm;
	char date[32];

	(void)clock_gettime(CLOCK_REALTIME, &t);
	(void)gmtime_r(&t.tv_sec, &tm);
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret, size, "%s.%03ldZ", date, t.tv_nsec / 1000000);
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* one write a line: it reaches the log whole or not at all */
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		return;
}

/* The first word of a file, "" when it is not there. */
static void first_word(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);
	size_t len = 0;

	if (fd >= 0)
		(void)close(fd);
	ret[n < 0 ? 0 : n] = '\0';
	while (ret[len] > ' ' && ret[len] != '"' && ret[len] != '\\' && ret[len] != 127)
		len++;
	ret[len] = '\0';
}

static void random_hex(char *ret, size_t bytes)
{
	unsigned char raw[64];

	if (bytes > sizeof(raw) || getrandom(raw, bytes, 0) != (ssize_t)bytes)
		bytes = 0;
	for (size_t i = 0; i < bytes; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", raw[i]);
	ret[2 * bytes] = '\0';
}

static int identity(char *ret, size_t size)
{
	char host[65] = "", machine[65], boot[65], epoch[65], rnd[65], now[TIME_SIZE];

	(void)gethostname(host, sizeof(host) - 1);
	first_word("/etc/machine-id", machine, sizeof(machine));
	first_word("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	first_word("/run/fcvm/epoch", epoch, sizeof(epoch));
	random_hex(rnd, 32);
	now_text(now, sizeof(now));
	return snprintf(ret, size,
			"{\"hostname\":\"%s\",\"machine_id\":\"%s\",\"boot_id\":\"%s\","
			"\"epoch\":\"%s\",\"random\":\"%s\",\"time\":\"%s\"}\n",
			host, machine, boot, epoch, rnd, now);
}

static void respond(struct client *c, const char *status, const char *type, const char *body)
{
	int n = snprintf(c->out, sizeof(c->out),
			 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			 "Connection: close\r\n\r\n%s",
			 status, type, strlen(body), body);

	c->out_len = n < 0 ? 0 : (size_t)n;
}

static void answer(struct client *c)
{
	char method[8] = "", path[64] = "", body[512], now[TIME_SIZE];

	(void)sscanf(c->in, "%7s %63s", method, path);
	now_text(now, sizeof(now));
	say("request %s %s %s", method, path, now);
	if (strcmp(method, "GET") != 0) {
		respond(c, "405 Method Not Allowed", "text/plain", "only GET\n");
	} else if (strcmp(path, "/") == 0) {
		(void)identity(body, sizeof(body));
		respond(c, "200 OK", "application/json", body);
	} else if (strcmp(path, "/healthz") == 0) {
		respond(c, "200 OK", "text/plain", "ok\n");
	} else {
		respond(c, "404 Not Found", "text/plain", "no such page\n");
	}
}

static void drop(struct client *c)
{
	(void)close(c->fd);
	c->fd = -1;
}

static void read_request(struct client *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	if (strstr(c->in, "\r\n\r\n"))
		answer(c);
	else if (c->in_len == sizeof(c->in) - 1)
		respond(c, "431 Request Header Fields Too Large", "text/plain", "too large\n");
}

static void write_response(struct client *c)
{
	ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->out_pos += (size_t)n;
	if (n <= 0 || c->out_pos == c->out_len)
		drop(c);
}

static struct client *free_client(void)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (clients[i].fd < 0)
			return &clients[i];
	return NULL;
}

static void accept_clients(int listener)
{
	struct client *c;

	while ((c = free_client())) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		c->fd = fd;
		c->since_ms = monotonic_ms();
		c->in_len = c->out_len = c->out_pos = 0;
	}
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 512) < 0) {
		perror("hello: cannot listen");
		return -1;
	}
	return fd;
}

/* One round: wait, serve whoever is ready, drop whoever dawdles. */
static void serve_once(int listener, int timeout_ms, const sigset_t *unblocked)
{
	struct timespec wait = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
	int64_t now;

	polled[CLIENTS_MAX] =
		(struct pollfd){.fd = free_client() ? listener : -1, .events = POLLIN};
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		polled[i] = (struct pollfd){.fd = clients[i].fd,
					    .events = clients[i].out_len ? POLLOUT : POLLIN};
	if (ppoll(polled, CLIENTS_MAX + 1, &wait, unblocked) < 0)
		return;
	now = monotonic_ms();
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &clients[i];

		if (c->fd >= 0 && polled[i].revents && !c->out_len)
			read_request(c);
		if (c->fd >= 0 && c->out_len)
			write_response(c);
		if (c->fd >= 0 && now - c->since_ms > IDLE_MS)
			drop(c);
	}
	if (polled[CLIENTS_MAX].revents)
		accept_clients(listener);
}

/* With the name it has at that moment: a clone must never speak under another's. */
static void tick(unsigned long n)
{
	char now[TIME_SIZE], name[HOST_NAME_MAX + 1] = "";

	now_text(now, sizeof(now));
	(void)gethostname(name, sizeof(name) - 1);
	say("tick %lu %s host=%s", n, now, name);
}

/* http://ADDRESS:PORT/PATH, or only the path of the server beside us; NULL when it is neither. */
static const char *find_server(const char *url, struct sockaddr_in *ret)
{
	static const char scheme[] = "http://";
	const char *host = url + strlen(scheme);
	char address[INET_ADDRSTRLEN] = "", *end = NULL;
	size_t len;

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(PORT),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (url[0] == '/')
		return url;
	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return NULL;
	len = strcspn(host, ":");
	if (len >= sizeof(address) || !isdigit((unsigned char)host[len + (host[len] == ':')]))
		return NULL;
	memcpy(address, host, len);
	unsigned long port = strtoul(host + len + 1, &end, 10);
	if (*end != '/' || port == 0 || port > UINT16_MAX ||
	    inet_pton(AF_INET, address, &ret->sin_addr) != 1)
		return NULL;
	ret->sin_port = htons((uint16_t)port);
	return end;
}

/* The client half: prints the body of GET url; 0 when the server said 200. */
static int get(const char *url)
{
	struct sockaddr_in addr;
	const char *path = find_server(url, &addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096];
	size_t len = 0;
	ssize_t n;

	if (!path) {
		(void)fprintf(stderr, "hello: expected /PATH or http://ADDRESS:PORT/PATH\n");
		return 2;
	}
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror("hello: cannot reach the server");
		return 1;
	}
	(void)dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(fd);
	text[len] = '\0';
	char *body = strstr(text, "\r\n\r\n");

	if (!body || fputs(body + 4, stdout) < 0)
		return 1;
	return strncmp(text, "HTTP/1.1 200 ", 13) == 0 ? 0 : 1;
}

static long tick_ms(void)
{
	const char *text = getenv("HELLO_TICK_MS");
	long ms = text ? strtol(text, NULL, 10) : TICK_MS;

	return ms > 0 && ms <= TICK_MAX_MS ? ms : TICK_MS;
}

static int serve(void)
{
	long every_ms = tick_ms();
	struct sigaction term = {.sa_handler = on_term};
	sigset_t blocked, unblocked;
	int64_t next_ms = monotonic_ms();
	int listener = listen_on(PORT);

	if (listener < 0)
		return 1;
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigaddset(&blocked, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	(void)sigaction(SIGTERM, &term, NULL);
	(void)sigaction(SIGINT, &term, NULL);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		clients[i].fd = -1;
	say("listening on port %d", PORT);
	for (unsigned long n = 0; !stopping;) {
		int64_t left = next_ms - monotonic_ms();

		if (left <= 0) {
			tick(n++);
			next_ms = monotonic_ms() + every_ms;
			left = every_ms;
		}
		serve_once(listener, (int)left, &unblocked);
	}
	say("stopped");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return serve();
	if (argc == 3 && strcmp(argv[1], "get") == 0)
		return get(argv[2]);
	(void)fprintf(stderr, "usage: hello [get PATH|URL]\n");
	return 2;
}
