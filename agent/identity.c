#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

/* Length last: a reader in between sees the new text with a tail of the old, never nothing. */
static int rewrite(const char *path, const char *text, struct err *err)
{
	size_t len = strlen(text);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return err_sys(err, "cannot write '%s'", path);
	if (pwrite(fd, text, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)len) < 0)
		return err_sys(err, "cannot write '%s'", path);
	return 0;
}

static int rewrite_line(const char *path, const char *text, struct err *err)
{
	auto_free char *line = xasprintf("%s\n", text);

	return rewrite(path, line, err);
}

static int rewrite_run(struct agent *agent, const char *name, const char *text, struct err *err)
{
	auto_free char *path = path_join(agent->run_dir, name);

	return rewrite_line(path, text, err);
}

static bool is_hostname(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");

	return n > 0 && n <= 63 && s[n] == '\0' && *s != '-' && *s != '.';
}

static bool is_machine_id(const char *s)
{
	return strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32;
}

static bool is_uuid(const char *s)
{
	if (strlen(s) != 36 || strspn(s, "0123456789abcdef-") != 36)
		return false;
	for (size_t i = 0; i < 36; i++)
		if ((s[i] == '-') != (i == 8 || i == 13 || i == 18 || i == 23))
			return false;
	return true;
}

static int check(const struct proto_resume *r, struct err *err)
{
	if (!is_hostname(r->hostname))
		return err_set(err, ERR_GUEST, -EINVAL, "host name '%s' is not one", r->hostname);
	if (!is_machine_id(r->machine_id))
		return err_set(err, ERR_GUEST, -EINVAL, "machine-id '%s' is not 32 hex digits",
			       r->machine_id);
	if (!is_uuid(r->boot_id) || !is_uuid(r->epoch))
		return err_set(err, ERR_GUEST, -EINVAL, "boot_id '%s' or epoch '%s' is not a UUID",
			       r->boot_id, r->epoch);
	return 0;
}

static int set_hostname(const char *name, struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(1024);

	if (sethostname(name, strlen(name)) < 0)
		return err_sys(err, "cannot set the host name");
	buf_addf(&hosts,
		 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
		 "127.0.1.1\t%s\n",
		 name);
	int r = rewrite_line("/etc/hostname", name, err);
	return r < 0 ? r : rewrite("/etc/hosts", buf_str(&hosts), err);
}

int identity_set_metadata(struct agent *agent, const char *metadata, struct err *err)
{
	return rewrite_run(agent, "metadata.json", metadata, err);
}

int identity_apply(struct agent *agent, const struct proto_resume *id, struct err *err)
{
	int r = check(id, err);

	/* Only a guest's system is ours to rename. */
	if (r == 0 && agent->machine)
		r = set_hostname(id->hostname, err);
	if (r == 0 && agent->machine)
		r = rewrite_line("/etc/machine-id", id->machine_id, err);
	if (r == 0)
		r = rewrite_run(agent, "boot_id", id->boot_id, err);
	if (r == 0)
		r = rewrite_run(agent, "epoch", id->epoch, err);
	if (r == 0 && id->metadata)
		r = identity_set_metadata(agent, id->metadata, err);
	return r;
}

static void read_line(const char *path, char *ret, size_t size)
{
	auto_buf struct buf text = BUF_INIT(256);
	size_t n = 0;

	if (file_read(path, 128, &text, NULL) == 0)
		n = strcspn(buf_str(&text), "\n");
	if (n >= size)
		n = 0;
	memcpy(ret, buf_str(&text), n);
	ret[n] = '\0';
}

void identity_boot_id(struct agent *agent, char ret[37])
{
	auto_free char *path = path_join(agent->run_dir, "boot_id");

	read_line(path, ret, 37);
}

int identity_setup(struct agent *agent, struct err *err)
{
	auto_free char *boot_id_path = path_join(agent->run_dir, "boot_id");
	char boot_id[37], machine_id[33] = "";

	read_line(BOOT_ID_PATH, boot_id, sizeof(boot_id));
	for (size_t i = 0, n = 0; boot_id[i] && n < 32; i++)
		if (boot_id[i] != '-')
			machine_id[n++] = boot_id[i];
	int r = rewrite_line(boot_id_path, boot_id, err);
	if (r == 0)
		r = rewrite_run(agent, "epoch", boot_id, err);
	if (r == 0)
		r = identity_set_metadata(agent, "{}", err);
	if (r < 0 || !agent->machine)
		return r;
	r = set_hostname("fcvm", err);
	if (r == 0)
		r = rewrite_line("/etc/machine-id", machine_id, err);
	if (r == 0 && mount(boot_id_path, BOOT_ID_PATH, NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "cannot shadow boot_id");
	return r;
}
