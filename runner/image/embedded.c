#include "embedded.h"

#include "assets.h"
#include "cache.h"
#include "cleanup.h"
#include "file.h"

#include <sys/stat.h>

/* Laid down by embed.S. */
extern const unsigned char embedded_agent_bytes[] __attribute__((visibility("hidden")));
extern const unsigned char embedded_agent_bytes_end[] __attribute__((visibility("hidden")));
extern const unsigned char embedded_shim_bytes[] __attribute__((visibility("hidden")));
extern const unsigned char embedded_shim_bytes_end[] __attribute__((visibility("hidden")));

struct embedded {
	const char *name;
	const unsigned char *data, *end;
};

static const struct embedded agent = {
	.name = "fc-agent",
	.data = embedded_agent_bytes,
	.end = embedded_agent_bytes_end,
};
static const struct embedded shim = {
	.name = "libfcvm-uffd.so",
	.data = embedded_shim_bytes,
	.end = embedded_shim_bytes_end,
};

static size_t size_of(const struct embedded *e)
{
	return (size_t)(e->end - e->data);
}

const void *embedded_agent_data(size_t *ret_len)
{
	*ret_len = size_of(&agent);
	return agent.data;
}

void embedded_agent_digest(char ret[DIGEST_HEX_SIZE])
{
	digest_of(agent.data, size_of(&agent), ret);
}

struct extract {
	const struct embedded *what;
};

static int write_out(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct embedded *e = ((const struct extract *)data)->what;
	auto_free char *path = path_join(dir, e->name);

	json_add_str(made_of, "fcvm", FCVM_VERSION);
	return file_replace(path, e->data, size_of(e), 0755, err);
}

static int extract(const struct host *host, const struct embedded *e, char **ret_path,
		   struct err *err)
{
	auto_cache_entry struct cache_entry entry = {0};
	struct extract data = {.what = e};
	struct cache_build build = {
		.make = write_out, .data = &data, .what = e->name, .executable = true};
	char key[DIGEST_HEX_SIZE];
	int r;

	digest_of(e->data, size_of(e), key);
	r = cache_ensure(host, "bin", key, &build, &entry, err);
	if (r < 0)
		return r;
	*ret_path = cache_entry_path(&entry, e->name);
	return 0;
}

int embedded_agent(const struct host *host, char **ret_path, struct err *err)
{
	return extract(host, &agent, ret_path, err);
}

int embedded_shim(const struct host *host, char **ret_path, struct err *err)
{
	return extract(host, &shim, ret_path, err);
}
