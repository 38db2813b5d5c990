#include "probe.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "kvm_speed.h"
#include "tsc.h"
#include "xalloc.h"

#define BINARIES_MAX 8

/* A new figure is taken when /dev/kvm came, went or changed hands since. */
static bool kvm_opens(void)
{
	return access("/dev/kvm", R_OK | W_OK) == 0;
}

/* What is remembered, or an empty object when it is of another boot or unreadable. */
static struct json_object *load_cache(const struct host *host)
{
	auto_free char *path = host_path(host, "probe.json");
	struct json_object *o = NULL;

	if (json_load(path, &o, NULL) < 0)
		return json_object_new_object();
	if (!json_object_is_type(o, json_type_object) ||
	    strcmp(json_opt_str(o, "boot_id", ""), host->boot_id) != 0) {
		json_put_p(&o);
		return json_object_new_object();
	}
	return o;
}

/* Losing a race against another fcvm costs a measurement, no more; nor does a read-only disk. */
static void save_cache(const struct host *host, struct json_object *o)
{
	auto_free char *path = host_path(host, "probe.json");
	struct stat st;

	json_add_str(o, "boot_id", host->boot_id);
	if (stat(host->data_dir, &st) == 0)
		(void)json_save(path, o, NULL);
}

static bool cached_machine(struct json_object *cache, struct probe_machine *ret)
{
	struct json_object *o = json_opt_obj(cache, "machine");
	uint64_t insn_s = 0, tsc_khz = 0;

	if (!o || json_opt_bool(o, "kvm_opens", false) != kvm_opens() ||
	    json_get_u64(o, "kvm_insn_s", &insn_s, NULL) < 0 ||
	    json_get_u64(o, "tsc_khz", &tsc_khz, NULL) < 0)
		return false;
	ret->kvm_minsn_s = (double)insn_s / 1e6;
	ret->tsc_khz = tsc_khz;
	(void)snprintf(ret->kvm_error, sizeof(ret->kvm_error), "%s",
		       json_opt_str(o, "kvm_error", ""));
	return true;
}

static struct json_object *machine_to_json(const struct probe_machine *m)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "kvm_opens", kvm_opens());
	json_add_u64(o, "kvm_insn_s", (uint64_t)(m->kvm_minsn_s * 1e6));
	json_add_str(o, "kvm_error", m->kvm_error);
	json_add_u64(o, "tsc_khz", m->tsc_khz);
	return o;
}

void probe_machine(const struct host *host, struct probe_machine *ret)
{
	auto_json struct json_object *cache = load_cache(host);
	struct probe_machine m = {.kvm_minsn_s = 0};
	struct err err;

	if (cached_machine(cache, ret))
		return;
	if (kvm_speed_measure(&m.kvm_minsn_s, &err) < 0)
		(void)snprintf(m.kvm_error, sizeof(m.kvm_error), "%.199s", err.msg);
	m.tsc_khz = tsc_measure_khz();
	json_add(cache, "machine", machine_to_json(&m));
	save_cache(host, cache);
	*ret = m;
}

/* A binary is the same file while these are. */
static char *binary_key(const char *path, const struct stat *st)
{
	return xasprintf("%s %llu:%llu %lld %lld.%09ld", path, (unsigned long long)st->st_dev,
			 (unsigned long long)st->st_ino, (long long)st->st_size,
			 (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static bool copy_text(struct json_object *o, const char *key, char *ret, size_t size)
{
	const char *text = NULL;

	if (json_get_str(o, key, &text, NULL) < 0 || strlen(text) >= size)
		return false;
	(void)snprintf(ret, size, "%s", text);
	return true;
}

static bool cached_binary(struct json_object *cache, const char *key, struct probe_binary *ret)
{
	struct json_object *binaries = json_opt_obj(cache, "binaries");
	struct json_object *o = binaries ? json_opt_obj(binaries, key) : NULL;
	struct probe_binary b = {.version = ""};

	if (!o || !copy_text(o, "version", b.version, sizeof(b.version)) ||
	    !copy_text(o, "format", b.format, sizeof(b.format)) ||
	    !copy_text(o, "sha256", b.sha256, sizeof(b.sha256)) ||
	    strlen(b.sha256) != sizeof(b.sha256) - 1)
		return false;
	*ret = b;
	return true;
}

static void remember(const struct host *host, struct json_object *cache, const char *key,
		     const struct probe_binary *b)
{
	struct json_object *binaries = json_opt_obj(cache, "binaries");
	struct json_object *o = json_object_new_object();

	/* Few are ever asked: a cache that grew has had many rebuilds, and starts anew. */
	if (!binaries || json_object_object_length(binaries) >= BINARIES_MAX) {
		binaries = json_object_new_object();
		json_add(cache, "binaries", binaries);
	}
	json_add_str(o, "version", b->version);
	json_add_str(o, "format", b->format);
	json_add_str(o, "sha256", b->sha256);
	json_add(binaries, key, o);
	save_cache(host, cache);
}

int probe_binary(const struct host *host, const char *path,
		 int (*ask)(const char *path, struct probe_binary *ret, struct err *err),
		 struct probe_binary *ret, struct err *err)
{
	auto_json struct json_object *cache = load_cache(host);
	struct probe_binary b = {.version = ""};
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	auto_free char *key = binary_key(path, &st);
	if (cached_binary(cache, key, ret))
		return 0;
	r = ask(path, &b, err);
	if (r == 0)
		r = digest_file(path, b.sha256, err);
	if (r < 0)
		return r;
	remember(host, cache, key, &b);
	*ret = b;
	return 0;
}

void probe_kvm_speed(const struct probe_machine *m, char *ret_why, size_t size)
{
	if (m->kvm_minsn_s < PROBE_KVM_FAST_MINSN_S)
		(void)snprintf(ret_why, size,
			       "kvm is slow: /dev/kvm runs only %.1f million instructions a second "
			       "here, %.0f are wanted",
			       m->kvm_minsn_s, PROBE_KVM_FAST_MINSN_S);
	else
		(void)snprintf(ret_why, size, "kvm: %.0f million instructions a second measured",
			       m->kvm_minsn_s);
}

bool probe_prefers_kvm(const struct probe_machine *m, char *ret_why, size_t size)
{
	static const char tcg[] = "tcg, for development and trusted guests";

	if (m->kvm_error[0]) {
		(void)snprintf(ret_why, size, "%s: %s", tcg, m->kvm_error);
		return false;
	}
	if (m->kvm_minsn_s < PROBE_KVM_FAST_MINSN_S) {
		(void)snprintf(ret_why, size,
			       "%s: /dev/kvm runs only %.1f million instructions a second here, "
			       "%.0f are wanted",
			       tcg, m->kvm_minsn_s, PROBE_KVM_FAST_MINSN_S);
		return false;
	}
	probe_kvm_speed(m, ret_why, size);
	return true;
}
