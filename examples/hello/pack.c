/* pack.c - `pack BINARY OUT`: one static program as an OCI archive, without network or root.
 *
 * Deterministic: times and owners are 0 and entries come in a fixed order, so the image digest
 * changes only when the program does, and a second `fcvm apply` sees no change. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM_MAX (16u << 20)
#define LAYER_MAX (PROGRAM_MAX + (64u << 10))
#define HEX_SIZE (2 * SHA256_DIGEST_LENGTH + 1)

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "pack: %s: %s\n", what, why);
	exit(1);
}

static void hex_digest(const void *data, size_t len, char ret[HEX_SIZE])
{
	unsigned char raw[SHA256_DIGEST_LENGTH];

	(void)SHA256(data, len, raw);
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", raw[i]);
}

static char *read_program(const char *path, size_t *ret_len)
{
	char *data = malloc(PROGRAM_MAX);
	FILE *f = fopen(path, "rbe");

	if (!data || !f)
		die(path, "cannot be read");
	*ret_len = fread(data, 1, PROGRAM_MAX, f);
	if (*ret_len == 0 || !feof(f))
		die(path, "is empty or too large");
	(void)fclose(f);
	return data;
}

static void add(struct archive *a, const char *name, mode_t mode, const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_mode(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	archive_entry_set_mtime(e, 0, 0);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 0);
	if (archive_write_header(a, e) != ARCHIVE_OK ||
	    (len > 0 && archive_write_data(a, data, len) != (la_ssize_t)len))
		die(name, archive_error_string(a));
	archive_entry_free(e);
}

static struct archive *new_tar(void)
{
	struct archive *a = archive_write_new();

	if (!a || archive_write_set_format_ustar(a) != ARCHIVE_OK)
		die("tar", "cannot start an archive");
	(void)archive_write_set_bytes_in_last_block(a, 1);
	return a;
}

static void finish(struct archive *a, const char *what)
{
	if (archive_write_close(a) != ARCHIVE_OK)
		die(what, archive_error_string(a));
	archive_write_free(a);
}

static char *make_layer(const char *program, size_t program_len, size_t *ret_len)
{
	char *layer = malloc(LAYER_MAX);
	struct archive *a = new_tar();

	if (!layer || archive_write_open_memory(a, layer, LAYER_MAX, ret_len) != ARCHIVE_OK)
		die("layer", "no memory");
	add(a, "etc", S_IFDIR | 0755, NULL, 0);
	add(a, "hello", S_IFREG | 0755, program, program_len);
	add(a, "run", S_IFDIR | 0755, NULL, 0);
	add(a, "tmp", S_IFDIR | 01777, NULL, 0);
	finish(a, "layer");
	return layer;
}

static void add_blob(struct archive *a, const void *data, size_t len, char ret_hex[HEX_SIZE])
{
	char name[HEX_SIZE + 32];

	hex_digest(data, len, ret_hex);
	(void)snprintf(name, sizeof(name), "blobs/sha256/%s", ret_hex);
	add(a, name, S_IFREG | 0644, data, len);
}

static void make_image(const char *out, const char *layer, size_t layer_len)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	char layer_hex[HEX_SIZE], config_hex[HEX_SIZE], manifest_hex[HEX_SIZE];
	char config[1024], manifest[1024], index[1024];
	struct archive *a = new_tar();
	int n;

	if (archive_write_open_filename(a, out) != ARCHIVE_OK)
		die(out, archive_error_string(a));
	add(a, "oci-layout", S_IFREG | 0644, layout, sizeof(layout) - 1);
	add_blob(a, layer, layer_len, layer_hex);
	n = snprintf(config, sizeof(config),
		     "{\"architecture\":\"amd64\",\"os\":\"linux\","
		     "\"created\":\"1970-01-01T00:00:00Z\",\"config\":{\"Entrypoint\":[\"/hello\"],"
		     "\"WorkingDir\":\"/\",\"ExposedPorts\":{\"8080/tcp\":{}}},"
		     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
		     layer_hex);
	add_blob(a, config, (size_t)n, config_hex);
	n = snprintf(manifest, sizeof(manifest),
		     "{\"schemaVersion\":2,"
		     "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{"
		     "\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		     "\"digest\":\"sha256:%s\",\"size\":%d},\"layers\":[{"
		     "\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","
		     "\"digest\":\"sha256:%s\",\"size\":%zu}]}",
		     config_hex, n, layer_hex, layer_len);
	add_blob(a, manifest, (size_t)n, manifest_hex);
	n = snprintf(index, sizeof(index),
		     "{\"schemaVersion\":2,\"manifests\":[{"
		     "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		     "\"digest\":\"sha256:%s\",\"size\":%d,"
		     "\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}}]}",
		     manifest_hex, n);
	add(a, "index.json", S_IFREG | 0644, index, (size_t)n);
	finish(a, out);
}

int main(int argc, char **argv)
{
	size_t program_len, layer_len = 0;
	char *program, *layer;

	if (argc != 3)
		die("usage", "pack BINARY OUT");
	program = read_program(argv[1], &program_len);
	layer = make_layer(program, program_len, &layer_len);
	make_image(argv[2], layer, layer_len);
	free(layer);
	free(program);
	return 0;
}
