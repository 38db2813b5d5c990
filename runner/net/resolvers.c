#include "resolvers.h"

#include <arpa/inet.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"

#define CONF_MAX (64u << 10)
#define DNS_PORT 53
#define STUB "127.0.0.53"

static void add(struct resolvers *r, const char *text)
{
	struct resolver one = {.len = 0};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT)};

	if (r->n == RESOLVERS_MAX)
		return;
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(&one.at, &v4, sizeof(v4));
		one.len = sizeof(v4);
	} else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		memcpy(&one.at, &v6, sizeof(v6));
		one.len = sizeof(v6);
	} else {
		return;
	}
	r->v[r->n++] = one;
}

/* "nameserver ADDRESS" lines. */
static void read_conf(const char *path, struct strv *ret)
{
	auto_buf struct buf text = BUF_INIT(CONF_MAX);
	char *line = NULL, *at = NULL;

	if (file_read(path, CONF_MAX - 1, &text, NULL) < 0)
		return;
	for (at = text.data; at && (line = strsep(&at, "\n"));) {
		char *save = NULL, *word = strtok_r(line, " \t\r", &save);

		if (word && strcmp(word, "nameserver") == 0 &&
		    (word = strtok_r(NULL, " \t\r", &save)) && ret->n < RESOLVERS_MAX)
			strv_add(ret, word);
	}
}

static void load(struct resolvers *r)
{
	auto_strv struct strv list = {0}, real = {0};

	read_conf(r->conf, &list);
	/* The stub would answer as well, but not every host has it: its upstreams do. */
	if (list.n == 1 && strcmp(list.v[0], STUB) == 0)
		read_conf(r->resolved_conf, &real);
	r->n = 0;
	for (size_t i = 0; i < real.n; i++)
		add(r, real.v[i]);
	for (size_t i = 0; i < list.n && real.n == 0; i++)
		add(r, list.v[i]);
	if (r->n == 0)
		add(r, "127.0.0.1");
}

void resolvers_init(struct resolvers *r, const char *conf, const char *resolved_conf)
{
	*r = (struct resolvers){
		.conf = conf ? conf : RESOLVERS_CONF,
		.resolved_conf = resolved_conf ? resolved_conf : RESOLVERS_RESOLVED_CONF,
	};
}

void resolvers_set(struct resolvers *r, const struct strv *dns)
{
	r->fixed = dns->n > 0;
	r->known = false;
	r->n = 0;
	for (size_t i = 0; i < dns->n; i++)
		add(r, dns->v[i]);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void resolvers_refresh(struct resolvers *r)
{
	struct stat now[2] = {{0}, {0}};

	if (r->fixed)
		return;
	(void)stat(r->conf, &now[0]);
	(void)stat(r->resolved_conf, &now[1]);
	if (r->known && same_file(&now[0], &r->seen[0]) && same_file(&now[1], &r->seen[1]))
		return;
	load(r);
	r->seen[0] = now[0];
	r->seen[1] = now[1];
	r->known = true;
}
