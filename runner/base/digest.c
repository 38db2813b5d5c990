#include "digest.h"

#include "cleanup.h"
#include "frame.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

struct digest {
	EVP_MD_CTX *ctx;
};

struct digest_mac {
	EVP_MAC_CTX *ctx;
};

/* libcrypto fails here only without memory or without SHA-256: there is no way on. */
static void must(int ok)
{
	if (ok != 1)
		abort();
}

void digest_free_p(struct digest **d)
{
	if (*d)
		EVP_MD_CTX_free((*d)->ctx);
	free(*d);
	*d = NULL;
}

struct digest *digest_new(void)
{
	struct digest *d = xcalloc(1, sizeof(*d));

	d->ctx = EVP_MD_CTX_new();
	must(d->ctx != NULL);
	must(EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL));
	return d;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
	must(EVP_DigestUpdate(d->ctx, data, len));
}

static void add_counted(struct digest *d, char kind, const void *data, size_t len)
{
	uint8_t head[9] = {(uint8_t)kind};

	store_le64(head + 1, len);
	digest_add(d, head, sizeof(head));
	digest_add(d, data, len);
}

void digest_add_field(struct digest *d, const char *key, const char *value)
{
	add_counted(d, 'k', key, strlen(key));
	if (value)
		add_counted(d, 's', value, strlen(value));
	else
		add_counted(d, '0', "", 0);
}

void digest_add_u64(struct digest *d, const char *key, uint64_t value)
{
	uint8_t bytes[8];

	store_le64(bytes, value);
	add_counted(d, 'k', key, strlen(key));
	add_counted(d, 'u', bytes, sizeof(bytes));
}

void digest_hex(struct digest *d, char ret[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	must(EVP_DigestFinal_ex(d->ctx, sum, &len));
	must(EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL));
	for (size_t i = 0; i < 32; i++) {
		ret[2 * i] = digits[sum[i] >> 4];
		ret[2 * i + 1] = digits[sum[i] & 15];
	}
	ret[64] = '\0';
}

void digest_of(const void *data, size_t len, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	digest_add(d, data, len);
	digest_hex(d, ret);
}

void digest_mac_free_p(struct digest_mac **m)
{
	if (*m)
		EVP_MAC_CTX_free((*m)->ctx);
	free(*m);
	*m = NULL;
}

/* Looking the algorithm up costs more than using it: once, not for each message. */
struct digest_mac *digest_mac_new(const void *key, size_t len)
{
	struct digest_mac *m = xcalloc(1, sizeof(*m));
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char name[] = "SHA256";
	const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
				     OSSL_PARAM_construct_end()};

	must(mac != NULL);
	m->ctx = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	must(m->ctx != NULL);
	must(EVP_MAC_init(m->ctx, key, len, params));
	return m;
}

void digest_mac_of(struct digest_mac *m, const void *data, size_t len, uint8_t ret[DIGEST_MAC_SIZE])
{
	size_t size = 0;

	must(EVP_MAC_init(m->ctx, NULL, 0, NULL));
	must(EVP_MAC_update(m->ctx, data, len));
	must(EVP_MAC_final(m->ctx, ret, &size, DIGEST_MAC_SIZE));
}

bool digest_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

int digest_file(const char *path, char ret[DIGEST_HEX_SIZE], struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	auto_digest struct digest *d = digest_new();
	auto_free uint8_t *piece = xmalloc(PIECE);
	struct stat st;

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s' is not a regular file", path);
	for (;;) {
		ssize_t n = read(fd, piece, PIECE);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return err_sys(err, "cannot read '%s'", path);
		if (n > 0)
			digest_add(d, piece, (size_t)n);
	}
	digest_hex(d, ret);
	return 0;
}
