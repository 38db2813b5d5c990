#include "vm.h"

#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

/* QEMU's own limits lie above; these bound what a state file can make us allocate. */
#define CPUS_MAX 255
#define MEMORY_MIN (16u << 20)
#define MEMORY_MAX (UINT64_C(1) << 42)
#define TEXT_MAX 4096

static const char *const accel_names[] = {[VM_ACCEL_KVM] = "kvm", [VM_ACCEL_TCG] = "tcg"};

void vm_config_free(struct vm_config *c)
{
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline_extra);
	free(c->root_fstype);
	for (size_t i = 0; i < c->n_disks; i++)
		free(c->disks[i].path);
	*c = (struct vm_config){.n_disks = 0};
}

static struct json_object *disk_to_json(const struct vm_disk *d)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "path", d->path);
	json_add_str(o, "serial", d->serial);
	json_add_bool(o, "read_only", d->read_only);
	json_add_u64(o, "bytes", d->bytes);
	return o;
}

struct json_object *vm_config_to_json(const struct vm_config *c)
{
	struct json_object *o = json_object_new_object();
	struct json_object *disks = json_object_new_array();

	json_add_str(o, "kernel", c->kernel);
	json_add_str(o, "initrd", c->initrd);
	json_add_str(o, "cmdline_extra", c->cmdline_extra);
	json_add_str(o, "root_fstype", c->root_fstype);
	json_add_u64(o, "cpus", c->cpus);
	json_add_u64(o, "memory_bytes", c->memory_bytes);
	json_add_bool(o, "has_net", c->has_net);
	json_add_bool(o, "shared_dev", c->shared_dev);
	json_add_bool(o, "huge_pages", c->huge_pages);
	json_add_bool(o, "jailer", c->jailer);
	json_add_str(o, "accel", accel_names[c->accel]);
	for (size_t i = 0; i < c->n_disks; i++)
		(void)json_object_array_add(disks, disk_to_json(&c->disks[i]));
	json_add(o, "disks", disks);
	return o;
}

static int get_text(struct json_object *o, const char *key, char **ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(o, key, &text, err);

	if (r < 0)
		return r;
	if (strlen(text) > TEXT_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "%s is longer than %d bytes", key,
			       TEXT_MAX);
	*ret = xstrdup(text);
	return 0;
}

static int get_number(struct json_object *o, const char *key, uint64_t min, uint64_t max,
		      uint64_t *ret, struct err *err)
{
	uint64_t n = 0;
	int r = json_get_u64(o, key, &n, err);

	if (r < 0)
		return r;
	if (n < min || n > max)
		return err_set(err, ERR_FAILED, -ERANGE, "%s: expected %llu to %llu, got %llu", key,
			       (unsigned long long)min, (unsigned long long)max,
			       (unsigned long long)n);
	*ret = n;
	return 0;
}

static int get_accel(struct json_object *o, enum vm_accel *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(o, "accel", &text, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(accel_names); i++) {
		if (strcmp(text, accel_names[i]) == 0) {
			*ret = (enum vm_accel)i;
			return 0;
		}
	}
	return err_set(err, ERR_FAILED, -EINVAL, "accel: expected kvm or tcg, got '%s'", text);
}

/* Writable disks are made, cloned and moved by name, below the VM's directory: the name is one of
 * two, and never a path. */
static int check_writable(const char *path, const char *serial, struct err *err)
{
	auto_free char *volume = xasprintf("%s.img", serial);
	bool is_volume = strncmp(serial, VM_VOLUME_PREFIX, strlen(VM_VOLUME_PREFIX)) == 0 &&
			 !strchr(serial, '/') && strcmp(path, volume) == 0;

	if (is_volume || strcmp(path, VM_DATA_DISK) == 0)
		return 0;
	return err_set(err, ERR_FAILED, -EINVAL, "writable disk '%s': expected '%s'", path,
		       VM_DATA_DISK);
}

static int get_disk(struct json_object *o, struct vm_disk *ret, struct err *err)
{
	auto_free char *path = NULL;
	const char *serial = "";
	bool read_only = false;
	int r = get_text(o, "path", &path, err);

	if (r == 0)
		r = json_get_str(o, "serial", &serial, err);
	if (r == 0)
		r = json_get_bool(o, "read_only", &read_only, err);
	if (r < 0)
		return r;
	if (*serial == '\0' || strlen(serial) >= sizeof(ret->serial))
		return err_set(err, ERR_FAILED, -EINVAL,
			       "serial: expected 1 to %zu characters, got '%s'",
			       sizeof(ret->serial) - 1, serial);
	r = read_only ? 0 : check_writable(path, serial, err);
	if (r < 0)
		return r;
	ret->bytes = json_opt_u64(o, "bytes", 0);
	ret->path = TAKE_PTR(path);
	ret->read_only = read_only;
	(void)snprintf(ret->serial, sizeof(ret->serial), "%s", serial);
	return 0;
}

static int get_disks(struct json_object *o, struct vm_config *c, struct err *err)
{
	struct json_object *disks = NULL;
	size_t n;
	int r = json_get_arr(o, "disks", &disks, err);

	if (r < 0)
		return r;
	n = json_object_array_length(disks);
	if (n > VM_DISKS_MAX)
		return err_set(err, ERR_FAILED, -E2BIG, "disks: expected at most %d, got %zu",
			       VM_DISKS_MAX, n);
	for (size_t i = 0; i < n; i++) {
		r = get_disk(json_object_array_get_idx(disks, i), &c->disks[i], err);
		if (r < 0)
			return err_wrap(err, "disks[%zu]", i);
		c->n_disks = i + 1;
	}
	return 0;
}

int vm_config_from_json(struct json_object *o, struct vm_config *ret, struct err *err)
{
	auto_vm_config struct vm_config c = {.n_disks = 0};
	uint64_t cpus = 0;
	int r = get_text(o, "kernel", &c.kernel, err);

	if (r == 0)
		r = get_text(o, "initrd", &c.initrd, err);
	if (r == 0)
		r = get_text(o, "cmdline_extra", &c.cmdline_extra, err);
	if (r == 0)
		r = get_text(o, "root_fstype", &c.root_fstype, err);
	if (r == 0)
		r = get_number(o, "cpus", 1, CPUS_MAX, &cpus, err);
	if (r == 0)
		r = get_number(o, "memory_bytes", MEMORY_MIN, MEMORY_MAX, &c.memory_bytes, err);
	if (r == 0)
		r = json_get_bool(o, "has_net", &c.has_net, err);
	if (r == 0)
		r = get_accel(o, &c.accel, err);
	if (r == 0)
		r = get_disks(o, &c, err);
	if (r < 0) {
		(void)err_wrap(err, "VM configuration");
		return r;
	}
	c.cpus = (uint32_t)cpus;
	c.shared_dev = json_opt_bool(o, "shared_dev", false);
	c.huge_pages = json_opt_bool(o, "huge_pages", false);
	c.jailer = json_opt_bool(o, "jailer", false);
	*ret = c;
	c = (struct vm_config){.n_disks = 0};
	return 0;
}
