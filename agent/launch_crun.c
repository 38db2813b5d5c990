#include "launch_crun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "json_scan.h"
#include "parse.h"
#include "passwd.h"
#include "xalloc.h"

#define CONFIG_MAX (2u << 20)
#define PASSWD_MAX (1u << 20)

struct crun_exec {
	struct strv argv;
	char *process, *log, *console;
	bool tty;
};

void crun_exec_free(struct crun_exec *c)
{
	if (!c)
		return;
	char *files[] = {c->process, c->log, c->console};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)unlink(files[i]);
		free(files[i]);
	}
	strv_free(&c->argv);
	free(c);
}

const char *const *crun_exec_argv(const struct crun_exec *c)
{
	return (const char *const *)c->argv.v;
}

const char *crun_exec_console(const struct crun_exec *c)
{
	return c->console;
}

/* --- the process object --------------------------------------------------------------------- */

static void put_member(struct buf *out, const char *name)
{
	if (out->len > 1)
		buf_add_char(out, ',');
	json_put_str(out, name);
	buf_add_char(out, ':');
}

/* Members of "process" that the caller decides. */
static bool is_ours(struct json_span key, bool other_user)
{
	static const char *const ours[] = {"args", "env", "cwd", "terminal", "consoleSize"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (json_span_is(key, ours[i]))
			return true;
	return other_user && (json_span_is(key, "user") || json_span_is(key, "capabilities"));
}

static void copy_members(struct json_span process, bool other_user, struct buf *out)
{
	struct json_span key, item;
	size_t pos = 0;

	while (json_scan_next(process, &pos, &key, &item)) {
		if (is_ours(key, other_user))
			continue;
		if (out->len > 1)
			buf_add_char(out, ',');
		buf_add_char(out, '"');
		buf_add(out, key.at, key.len);
		buf_add_str(out, "\":");
		buf_add(out, item.at, item.len);
	}
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && b[n] == '=';
}

static void env_set(struct strv *env, const char *entry)
{
	for (size_t i = 0; i < env->n; i++) {
		if (!same_name(entry, env->v[i]))
			continue;
		free(env->v[i]);
		env->v[i] = xstrdup(entry);
		return;
	}
	strv_add(env, entry);
}

static void read_strings(struct json_span list, struct strv *ret)
{
	struct json_span key, item;
	size_t pos = 0;

	while (json_scan_next(list, &pos, &key, &item)) {
		auto_buf struct buf text = BUF_INIT(CONFIG_MAX);

		if (json_scan_str(item, &text))
			strv_add(ret, buf_str(&text));
	}
}

static void put_env(struct json_span process, const struct launch_spec *spec, const char *home,
		    struct buf *out)
{
	auto_strv struct strv env = {0};
	struct json_span list;

	if (json_scan_find(process, "env", &list))
		read_strings(list, &env);
	if (home) {
		auto_free char *entry = xasprintf("HOME=%s", home);
		env_set(&env, entry);
	}
	for (size_t i = 0; spec->env && i < spec->env->n; i++)
		env_set(&env, spec->env->v[i]);
	put_member(out, "env");
	buf_add_char(out, '[');
	for (size_t i = 0; i < env.n; i++) {
		if (i)
			buf_add_char(out, ',');
		json_put_str(out, env.v[i]);
	}
	buf_add_char(out, ']');
}

static void put_args(const struct strv *argv, struct buf *out)
{
	put_member(out, "args");
	for (size_t i = 0; i < argv->n; i++) {
		buf_add_char(out, i ? ',' : '[');
		json_put_str(out, argv->v[i]);
	}
	buf_add_char(out, ']');
}

static void put_cwd(struct json_span process, const char *cwd, struct buf *out)
{
	struct json_span value;

	put_member(out, "cwd");
	if (cwd && *cwd)
		json_put_str(out, cwd);
	else if (json_scan_find(process, "cwd", &value))
		buf_add(out, value.at, value.len);
	else
		buf_add_str(out, "\"/\"");
}

/* Only root keeps the container's capabilities; others get what Podman would give them: none. */
static void put_user(struct json_span process, const struct child_user *user, struct buf *out)
{
	struct json_span caps;

	put_member(out, "user");
	buf_addf(out, "{\"uid\":%u,\"gid\":%u,\"additionalGids\":[", user->uid, user->gid);
	for (size_t i = 0; i < user->n_groups; i++)
		buf_addf(out, "%s%u", i ? "," : "", user->groups[i]);
	buf_add_str(out, "]}");
	put_member(out, "capabilities");
	if (user->uid == 0 && json_scan_find(process, "capabilities", &caps)) {
		buf_add(out, caps.at, caps.len);
		return;
	}
	buf_add_str(out, "{\"bounding\":");
	if (json_scan_find(process, "capabilities.bounding", &caps))
		buf_add(out, caps.at, caps.len);
	else
		buf_add_str(out, "[]");
	buf_add_str(out, "}");
}

int crun_process_json(const char *config, size_t len, const struct launch_spec *spec,
		      const struct child_user *user, const char *home, struct buf *out,
		      struct err *err)
{
	struct json_span process;

	if (!json_scan_find((struct json_span){config, len}, "process", &process))
		return err_set(err, ERR_GUEST, -EBADMSG,
			       "the container's config.json has no 'process'");
	buf_add_char(out, '{');
	copy_members(process, user, out);
	if (user)
		put_user(process, user, out);
	put_args(spec->argv, out);
	put_cwd(process, spec->cwd, out);
	put_env(process, spec, home, out);
	put_member(out, "terminal");
	buf_add_str(out, spec->tty ? "true" : "false");
	buf_add_char(out, '}');
	if (!buf_ok(out))
		return err_set(err, ERR_GUEST, -E2BIG, "command and environment are too long");
	return 0;
}

/* --- user ------------------------------------------------------------------------------------ */

static int open_inside(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = O_CLOEXEC | flags, .resolve = resolve};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* A file of the container's etc, with every symlink kept inside its root. What lies on a host
 * volume is not for us: its bytes come through our own loop. But podman may have bound a file of
 * its own over this one. */
static int open_etc(int root, const char *name)
{
	const uint64_t same_mount = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
	const uint64_t read_only = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	auto_free char *path = path_join("etc", name);
	auto_close int etc = -1;
	int fd = open_inside(root, path, read_only, same_mount);

	if (fd >= 0 || errno != EXDEV)
		return fd;
	etc = open_inside(root, "etc", O_PATH | O_DIRECTORY, same_mount);
	return etc < 0 ? -1 : open_inside(etc, name, read_only, RESOLVE_NO_SYMLINKS);
}

static void read_etc(int root, const char *name, struct buf *out)
{
	auto_close int fd = open_etc(root, name);

	while (fd >= 0 && out->len < PASSWD_MAX) {
		char piece[4096];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n <= 0)
			return;
		buf_add(out, piece, (size_t)n);
	}
}

static int lookup_inside(const struct container_view *view, const char *want,
			 struct passwd_user *ret, struct err *err)
{
	auto_free char *path = xasprintf("/proc/%d/root", view->pid);
	auto_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_buf struct buf passwd = BUF_INIT(PASSWD_MAX + 4096);
	auto_buf struct buf group = BUF_INIT(PASSWD_MAX + 4096);

	if (root < 0)
		return err_sys(err, "cannot look into the container");
	read_etc(root, "passwd", &passwd);
	read_etc(root, "group", &group);
	return passwd_lookup(buf_str(&passwd), buf_str(&group), want, ret, err);
}

static int write_process(const struct container_view *view, const struct launch_spec *spec,
			 const char *path, struct err *err)
{
	auto_free char *config_path = path_join(view->bundle, "config.json");
	auto_buf struct buf config = BUF_INIT(CONFIG_MAX);
	auto_buf struct buf out = BUF_INIT(CONFIG_MAX);
	struct passwd_user user;
	bool other = spec->user && *spec->user;
	int r = file_read(config_path, CONFIG_MAX, &config, err);

	if (r == 0 && other)
		r = lookup_inside(view, spec->user, &user, err);
	if (r == 0)
		r = crun_process_json(buf_str(&config), config.len, spec, other ? &user.ids : NULL,
				      other ? user.home : NULL, &out, err);
	if (r < 0)
		return r;
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot write '%s'", path);
	return file_write_fd(fd, out.data, out.len, err);
}

int crun_exec_new(struct agent *agent, const struct container_view *view,
		  const struct launch_spec *spec, struct crun_exec **ret, struct err *err)
{
	static unsigned int serial;
	unsigned int n = ++serial;
	struct crun_exec *c = xcalloc(1, sizeof(*c));

	c->tty = spec->tty;
	c->process = xasprintf("%s/exec-%u.json", agent->private_dir, n);
	c->log = xasprintf("%s/exec-%u.log", agent->private_dir, n);
	c->console = xasprintf("%s/exec-%u.sock", agent->private_dir, n);
	strv_add(&c->argv, "crun");
	strv_addf(&c->argv, "--log=%s", c->log);
	strv_add(&c->argv, "exec");
	strv_addf(&c->argv, "--process=%s", c->process);
	if (spec->tty)
		strv_addf(&c->argv, "--console-socket=%s", c->console);
	strv_add(&c->argv, view->id);
	int r = write_process(view, spec, c->process, err);
	if (r < 0) {
		crun_exec_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* --- its end --------------------------------------------------------------------------------- */

/* crun's children are the command, or the process about to become it, in a session of its own. */
static void read_children(pid_t crun, struct strv *ret)
{
	auto_free char *path = xasprintf("/proc/%d/task/%d/children", crun, crun);
	auto_buf struct buf text = BUF_INIT(4096);

	if (file_read(path, 4096, &text, NULL) == 0)
		(void)parse_words(buf_str(&text), ret, NULL);
}

bool crun_exec_signal(pid_t crun, int sig)
{
	auto_strv struct strv children = {0};
	bool sent = false;
	uint64_t pid;

	read_children(crun, &children);
	for (size_t i = 0; i < children.n; i++) {
		if (parse_u64(children.v[i], 2, INT32_MAX, &pid, NULL) < 0)
			continue;
		/* crun is ours and not reaped, nor are its children: the numbers are still theirs.
		 */
		pid_t group = getpgid((pid_t)pid);
		if (group > 1 && group != crun)
			sent |= kill(-group, sig) == 0;
	}
	return sent;
}

int crun_error_code(const char *message)
{
	static const struct {
		const char *text;
		int code;
	} known[] = {
		{"chdir", LAUNCH_CODE_NOT_RUNNABLE},
		{"executable file", LAUNCH_CODE_NOT_FOUND},
		{"No such file or directory", LAUNCH_CODE_NOT_FOUND},
		{"open executable", LAUNCH_CODE_NOT_RUNNABLE},
		{"ermission denied", LAUNCH_CODE_NOT_RUNNABLE},
		{"Exec format error", LAUNCH_CODE_NOT_RUNNABLE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(message, known[i].text))
			return known[i].code;
	return LAUNCH_CODE_OURS;
}

int crun_exec_code(const struct crun_exec *c, int status, struct buf *text)
{
	auto_buf struct buf log = BUF_INIT(4096);

	/* crun writes there only what went wrong with crun. */
	if (status == 0 || file_read(c->log, 4096, &log, NULL) < 0 || log.len == 0)
		return status;
	while (log.len && log.data[log.len - 1] == '\n')
		log.data[--log.len] = '\0';
	/* It said so on its stderr too, which with a terminal nobody sees. */
	if (c->tty)
		buf_add_str(text, buf_str(&log));
	return crun_error_code(buf_str(&log));
}
