/* resolvers.h - whom the relay asks: the spec's resolvers, else the host's, as they are now. */
#ifndef FCVM_NET_RESOLVERS_H
#define FCVM_NET_RESOLVERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "strv.h"

#define RESOLVERS_MAX 8u
#define RESOLVERS_CONF "/etc/resolv.conf"
/* systemd-resolved's own list; what it listens on itself is 127.0.0.53. */
#define RESOLVERS_RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

struct resolver {
	struct sockaddr_storage at;
	socklen_t len;
};

struct resolvers {
	struct resolver v[RESOLVERS_MAX];
	size_t n;
	const char *conf, *resolved_conf;
	struct stat seen[2];
	bool fixed; /* the spec's */
	bool known;
};

void resolvers_init(struct resolvers *r, const char *conf, const char *resolved_conf);
/* dns empty: the host's. */
void resolvers_set(struct resolvers *r, const struct strv *dns);
/* Reads the files again when they have changed. */
void resolvers_refresh(struct resolvers *r);

#endif
