#include "resolvers.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

static void write_text(const char *path, const char *text)
{
	cr_assert_eq(file_replace(path, text, strlen(text), 0644, NULL), 0);
}

/* The addresses in text. */
static const char *list(const struct resolvers *r)
{
	static char text[1024];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < r->n; i++) {
		const struct sockaddr_in *v4 = (const void *)&r->v[i].at;
		const struct sockaddr_in6 *v6 = (const void *)&r->v[i].at;
		const void *addr = v4->sin_family == AF_INET ? (const void *)&v4->sin_addr
							     : (const void *)&v6->sin6_addr;
		char ip[INET6_ADDRSTRLEN];

		cr_expect_eq(v4->sin_port, htons(53));
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "",
				       inet_ntop(v4->sin_family, addr, ip, sizeof(ip)));
	}
	return text;
}

Test(resolvers, the_hosts_are_read_as_its_own_library_does)
{
	static const struct {
		const char *conf, *resolved, *want;
	} cases[] = {
		{"nameserver 192.0.2.1\n", "nameserver 192.0.2.9\n", "192.0.2.1"},
		{"# nameserver 192.0.2.7\n;x\nsearch a b\n\tnameserver\t192.0.2.1 # x\r\n"
		 "nameserver fd00::1",
		 "", "192.0.2.1 fd00::1"},
		{"nameserver 127.0.0.53\noptions edns0\n",
		 "nameserver 192.0.2.8\nnameserver 192.0.2.9\n", "192.0.2.8 192.0.2.9"},
		{"nameserver 127.0.0.53\n", "", "127.0.0.53"},
		{"nameserver what\n", "", "127.0.0.1"},
		{"", "", "127.0.0.1"},
	};
	auto_tmpdir char *dir = tmpdir_new("resolvers");
	auto_free char *conf = path_join(dir, "conf"), *resolved = path_join(dir, "resolved");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct resolvers r;

		write_text(conf, cases[i].conf);
		write_text(resolved, cases[i].resolved);
		resolvers_init(&r, conf, resolved);
		resolvers_refresh(&r);
		cr_expect_str_eq(list(&r), cases[i].want, "%s", cases[i].conf);
	}
}

Test(resolvers, no_more_than_eight_are_kept)
{
	auto_tmpdir char *dir = tmpdir_new("resolvers");
	auto_free char *conf = path_join(dir, "conf");
	auto_buf struct buf text = BUF_INIT(65536);
	struct resolvers r;

	for (int i = 1; i < 30; i++)
		buf_addf(&text, "nameserver 192.0.2.%d\n", i);
	write_text(conf, buf_str(&text));
	resolvers_init(&r, conf, "/nowhere");
	resolvers_refresh(&r);
	cr_expect_eq(r.n, (size_t)RESOLVERS_MAX);
}

Test(resolvers, a_changed_file_is_read_again_and_the_specs_own_win)
{
	auto_tmpdir char *dir = tmpdir_new("resolvers");
	auto_free char *conf = path_join(dir, "conf");
	auto_strv struct strv dns = {0}, none = {0};
	struct resolvers r;

	write_text(conf, "nameserver 192.0.2.1\n");
	resolvers_init(&r, conf, "/nowhere");
	resolvers_refresh(&r);
	write_text(conf, "nameserver 192.0.2.2\n");
	resolvers_refresh(&r);
	cr_expect_str_eq(list(&r), "192.0.2.2");
	strv_add(&dns, "198.51.100.1");
	strv_add(&dns, "fd00::2");
	resolvers_set(&r, &dns);
	resolvers_refresh(&r);
	cr_expect_str_eq(list(&r), "198.51.100.1 fd00::2");
	resolvers_set(&r, &none);
	resolvers_refresh(&r);
	cr_expect_str_eq(list(&r), "192.0.2.2");
	cr_assert_eq(unlink(conf), 0);
	resolvers_refresh(&r);
	cr_expect_str_eq(list(&r), "127.0.0.1");
}
