#include "apt.h"

#include "buf.h"
#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "parse.h"
#include "run.h"
#include "xalloc.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHOW_MAX (1u << 20)
#define LIST_TIMEOUT_MS (60u * 1000)
#define FETCH_TIMEOUT_MS (15u * 60 * 1000)
#define FOLLOW_MAX 4 /* meta packages on the way to a kernel */

void apt_package_free(struct apt_package *p)
{
	free(p->name);
	free(p->version);
	free(p->sha256);
	*p = (struct apt_package){0};
}

static bool made_of(const char *s, const char *also)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = strlen(s);

	if (n < 2 || n > 128 || !strchr(first, s[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!strchr(first, s[i]) && !strchr(also, s[i]))
			return false;
	return true;
}

bool apt_is_package_name(const char *s)
{
	return made_of(s, "+.-");
}

bool apt_is_suite_name(const char *s)
{
	return made_of(s, ".-");
}

static bool is_version(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			       ".+-:~") == strlen(s);
}

static bool is_sha256(const char *s)
{
	return strlen(s) == DIGEST_HEX_SIZE - 1 &&
	       strspn(s, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

/* "Depends: kmod, linux-image-6.1.0-9-amd64 (= 6.1-1)" -> the linux-image-* in it. */
static char *image_dependency(const char *depends)
{
	static const char prefix[] = "linux-image-";

	for (const char *p = depends; (p = strstr(p, prefix)); p++) {
		if (p != depends && !strchr(" ,|", p[-1]))
			continue;
		auto_free char *name = xstrndup(p, strcspn(p, " ,|(:\n"));

		if (apt_is_package_name(name))
			return TAKE_PTR(name);
	}
	return NULL;
}

struct stanza {
	char *package, *version, *sha256, *size, *depends;
};

static void stanza_free(struct stanza *s)
{
	free(s->package);
	free(s->version);
	free(s->sha256);
	free(s->size);
	free(s->depends);
}

static void take_line(struct stanza *s, const char *line, size_t len)
{
	const struct {
		const char *key;
		char **to;
	} fields[] = {
		{"Package: ", &s->package}, {"Version: ", &s->version}, {"SHA256: ", &s->sha256},
		{"Size: ", &s->size},       {"Depends: ", &s->depends},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t n = strlen(fields[i].key);

		if (len >= n && strncmp(line, fields[i].key, n) == 0 && !*fields[i].to)
			*fields[i].to = xstrndup(line + n, len - n);
	}
}

int apt_parse_show(const char *text, struct apt_package *ret, char **ret_image, struct err *err)
{
	struct stanza s __attribute__((cleanup(stanza_free))) = {0};
	uint64_t size = 0;

	for (const char *line = text; *line && *line != '\n';) {
		size_t len = strcspn(line, "\n");

		take_line(&s, line, len);
		line += len + (line[len] == '\n');
	}
	if (!s.package || !apt_is_package_name(s.package) || !s.version || !is_version(s.version))
		return err_set(err, ERR_HOST, -EBADMSG, "apt-cache gave no package and version");
	if (!s.sha256 || !is_sha256(s.sha256) || !s.size ||
	    parse_u64(s.size, 1, UINT32_MAX, &size, NULL) < 0)
		return err_set(err, ERR_HOST, -EBADMSG,
			       "apt-cache gave no SHA256 and size for package '%s'", s.package);
	*ret_image = s.depends ? image_dependency(s.depends) : NULL;
	ret->name = TAKE_PTR(s.package);
	ret->version = TAKE_PTR(s.version);
	ret->sha256 = TAKE_PTR(s.sha256);
	ret->size = size;
	return 0;
}

static int show(const struct host *host, const char *name, struct apt_package *ret,
		char **ret_image, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SHOW_MAX);
	const char *const argv[] = {"apt-cache", "show", "--no-all-versions", "--", name, NULL};
	const struct run_tool tool = {
		.argv = argv, .package = "apt", .stdout_to = &text, .timeout_ms = LIST_TIMEOUT_MS};
	int r = run_tool(host, &tool, err);

	if (r == 0)
		r = apt_parse_show(buf_str(&text), ret, ret_image, err);
	if (r == 0)
		return 0;
	(void)err_wrap(err, "cannot find package '%s'", name);
	return err_hint(err, "run apt-get update, or give the kernel as `path`");
}

int apt_resolve_kernel(const struct host *host, const char *name, struct apt_package *ret,
		       struct err *err)
{
	auto_free char *next = xstrdup(name);

	for (int i = 0; i < FOLLOW_MAX; i++) {
		auto_apt_package struct apt_package p = {0};
		auto_free char *image = NULL;
		int r = show(host, next, &p, &image, err);

		if (r < 0)
			return r;
		if (!image) {
			*ret = p;
			p = (struct apt_package){0};
			return 0;
		}
		cleanup_free_p(&next);
		next = TAKE_PTR(image);
	}
	return err_set(err, ERR_HOST, -ELOOP, "package '%s' leads to no kernel package", name);
}

static int find_deb(const char *dir, char **ret, struct err *err)
{
	auto_closedir DIR *d = opendir(dir);
	const struct dirent *e;

	if (!d)
		return err_sys(err, "cannot list '%s'", dir);
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot && strcmp(dot, ".deb") == 0) {
			*ret = path_join(dir, e->d_name);
			return 0;
		}
	}
	return err_set(err, ERR_HOST, -ENOENT, "apt-get download left no package in '%s'", dir);
}

static int check_deb(const char *deb, const struct apt_package *p, struct err *err)
{
	char hex[DIGEST_HEX_SIZE];
	int r = digest_file(deb, hex, err);

	if (r < 0)
		return r;
	if (strcmp(hex, p->sha256) == 0)
		return 0;
	return err_set(err, ERR_HOST, -EBADMSG,
		       "package '%s' %s came with SHA-256 %s, pinned is %s", p->name, p->version,
		       hex, p->sha256);
}

int apt_download(const struct host *host, const struct apt_package *p, const char *dir,
		 char **ret_deb, struct err *err)
{
	auto_free char *which = xasprintf("%s=%s", p->name, p->version);
	auto_free char *deb = NULL;
	const char *const argv[] = {"apt-get", "-q", "download", "--", which, NULL};
	const struct run_tool tool = {
		.argv = argv, .cwd = dir, .package = "apt", .timeout_ms = FETCH_TIMEOUT_MS};
	int r = run_tool(host, &tool, err);

	if (r < 0) {
		(void)err_wrap(err, "cannot download package '%s' %s", p->name, p->version);
		return err_hint(err, "run apt-get update; if that version is gone from the archive,"
				     " `fcvm setup --update` moves to the newest");
	}
	r = find_deb(dir, &deb, err);
	if (r == 0)
		r = check_deb(deb, p, err);
	if (r < 0)
		return r;
	*ret_deb = TAKE_PTR(deb);
	return 0;
}

/* The suite itself, its updates and its security archive; not backports, which apt would not
 * install from unasked, either. */
static bool serves_suite(const char *release, const char *suite)
{
	size_t n = strlen(suite);

	if (strncmp(release, suite, n) != 0)
		return false;
	return release[n] == '\0' || strcmp(release + n, "-updates") == 0 ||
	       strcmp(release + n, "-security") == 0;
}

static void add_source(const char *line, const char *suite, struct strv *ret)
{
	auto_free char *copy = xstrdup(line);
	char *field[4];
	char *rest = copy;

	for (size_t i = 0; i < ARRAY_SIZE(field); i++)
		field[i] = strsep(&rest, "|");
	if (!field[3] || rest || strcmp(field[2], "Debian") != 0 ||
	    !serves_suite(field[1], suite) || strpbrk(copy, " \t"))
		return;
	auto_free char *source = xasprintf("deb %s %s %s", field[0], field[1], field[3]);

	if (!strv_has(ret, source))
		strv_add(ret, source);
}

void apt_parse_sources(const char *text, const char *suite, struct strv *ret)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		auto_free char *line = xstrndup(text, len);

		add_source(line, suite, ret);
		text += len + (text[len] == '\n');
	}
}

int apt_sources(const struct host *host, const char *suite, struct strv *ret, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SHOW_MAX);
	const char *const argv[] = {"apt-get",
				    "indextargets",
				    "--format",
				    "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(COMPONENT)",
				    "Created-By: Packages",
				    NULL};
	const struct run_tool tool = {
		.argv = argv, .package = "apt", .stdout_to = &text, .timeout_ms = LIST_TIMEOUT_MS};
	int r = run_tool(host, &tool, err);

	if (r < 0)
		return err_wrap(err, "cannot read the host's apt sources");
	apt_parse_sources(buf_str(&text), suite, ret);
	return 0;
}
