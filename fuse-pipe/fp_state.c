#include "fp_state.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "frame.h"
#include "xalloc.h"

#define MAGIC 0x3165746174735066ull /* "fPstate1" */
#define SLOTS 4096u
#define KEY 32
#define MAC 16
#define RUNNING INT32_MIN

struct log_slot {
	_Atomic uint64_t unique; /* 0: empty */
	_Atomic int32_t result;  /* RUNNING until it is known */
	uint32_t pad;
};

/* The file. */
struct image {
	uint64_t magic;
	uint8_t key[KEY];
	uint8_t session[FP_SESSION_SIZE];
	struct log_slot slots[SLOTS];
	_Atomic uint32_t next; /* slot: the next process goes on there */
	_Atomic uint32_t skips_open;
};

struct fp_state {
	struct image *image;
	int fd;
	pthread_mutex_t lock; /* mac's, and which request has a slot */
	struct digest_mac *mac;
};

static int begin_image(struct image *image, struct err *err)
{
	if (image->magic == MAGIC)
		return 0;
	if (image->magic != 0)
		return err_set(err, ERR_HOST, -EINVAL, "not a state file of fuse-pipe");
	if (getrandom(image->key, KEY, 0) != KEY)
		return err_sys(err, "cannot make a key");
	image->magic = MAGIC;
	return 0;
}

int fp_state_file(const char *path, int *ret_fd, struct err *err)
{
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode) || (st.st_size != 0 && st.st_size != sizeof(struct image)))
		return err_set(err, ERR_HOST, -EINVAL, "'%s' is not a state file of fuse-pipe",
			       path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_BUSY, -EBUSY, "'%s' belongs to a running server", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int fp_state_open(int fd, struct fp_state **ret, struct err *err)
{
	auto_close int own = fd >= 0 ? fd : memfd_create("fuse-pipe", MFD_CLOEXEC);

	if (own < 0 || ftruncate(own, sizeof(struct image)) < 0)
		return err_sys(err, "cannot size the state of a volume");
	struct image *image =
		mmap(NULL, sizeof(*image), PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
	if (image == MAP_FAILED)
		return err_sys(err, "cannot map the state of a volume");
	int r = begin_image(image, err);
	if (r < 0) {
		(void)munmap(image, sizeof(*image));
		return r;
	}
	struct fp_state *s = xcalloc(1, sizeof(*s));
	s->image = image;
	s->fd = TAKE_FD(own);
	(void)pthread_mutex_init(&s->lock, NULL);
	s->mac = digest_mac_new(image->key, KEY);
	*ret = s;
	return 0;
}

int fp_state_rekey(int fd, struct err *err)
{
	auto_free struct image *image = xcalloc(1, sizeof(*image));
	ssize_t n = pread(fd, image, sizeof(*image), 0);

	if (n != (ssize_t)sizeof(*image) || image->magic != MAGIC)
		return err_set(err, ERR_HOST, -EINVAL, "not a state file of fuse-pipe");
	if (getrandom(image->key, KEY, 0) != KEY)
		return err_sys(err, "cannot make a key");
	memset(image->slots, 0, sizeof(image->slots));
	if (pwrite(fd, image, sizeof(*image), 0) != (ssize_t)sizeof(*image))
		return err_sys(err, "cannot write the state of a volume");
	return 0;
}

void fp_state_free(struct fp_state *s)
{
	if (!s)
		return;
	digest_mac_free_p(&s->mac);
	(void)pthread_mutex_destroy(&s->lock);
	(void)munmap(s->image, sizeof(*s->image));
	cleanup_close_p(&s->fd);
	free(s);
}

bool fp_state_session(struct fp_state *s, const uint8_t session[FP_SESSION_SIZE])
{
	if (memcmp(s->image->session, session, FP_SESSION_SIZE) == 0)
		return true;
	for (size_t i = 0; i < SLOTS; i++)
		atomic_store(&s->image->slots[i].unique, 0);
	memcpy(s->image->session, session, FP_SESSION_SIZE);
	fp_state_set_skips_open(s, false);
	return false;
}

void fp_state_set_skips_open(struct fp_state *s, bool skips)
{
	atomic_store(&s->image->skips_open, skips);
}

bool fp_state_skips_open(const struct fp_state *s)
{
	return atomic_load(&s->image->skips_open);
}

/* A kill may come between any two of these: atomic, though under the lock. */
struct fp_log_ticket fp_log_begin(struct fp_state *s, uint64_t unique)
{
	(void)pthread_mutex_lock(&s->lock);
	uint32_t at = atomic_fetch_add(&s->image->next, 1) % SLOTS;

	atomic_store(&s->image->slots[at].unique, 0);
	atomic_store(&s->image->slots[at].result, RUNNING);
	atomic_store(&s->image->slots[at].unique, unique);
	(void)pthread_mutex_unlock(&s->lock);
	return (struct fp_log_ticket){.unique = unique, .slot = at};
}

void fp_log_end(struct fp_state *s, struct fp_log_ticket ticket, int result)
{
	struct log_slot *slot = &s->image->slots[ticket.slot];

	(void)pthread_mutex_lock(&s->lock);
	if (atomic_load(&slot->unique) == ticket.unique)
		atomic_store(&slot->result, result);
	(void)pthread_mutex_unlock(&s->lock);
}

enum fp_log_found fp_log_find(struct fp_state *s, uint64_t unique, int *ret_result)
{
	enum fp_log_found found = FP_LOG_NEW;

	(void)pthread_mutex_lock(&s->lock);
	/* It is there twice when the first try ended with its process. */
	for (size_t i = 0; i < SLOTS && found != FP_LOG_DONE; i++) {
		struct log_slot *slot = &s->image->slots[i];

		if (atomic_load(&slot->unique) != unique)
			continue;
		*ret_result = atomic_load(&slot->result);
		found = *ret_result == RUNNING ? FP_LOG_STARTED : FP_LOG_DONE;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return found;
}

/* --- sealed records: {u32 kind, u32 0, u64 id} -> fields, then a MAC over key and fields --- */

enum { KIND_NODE = 1, KIND_FILE = 2 };
/* Of a node: device, inode, parent (0: found by handle), type, handle's type, length of the handle;
 * then handle and name. */
#define NODE_FIXED 36
#define FILE_FIXED 12

static void put_key(uint32_t kind, uint64_t id, uint8_t key[FP_KEY_SIZE])
{
	memset(key, 0, FP_KEY_SIZE);
	store_le32(key, kind);
	store_le64(key + 8, id);
}

void fp_seal_node_key(uint64_t id, uint8_t key[FP_KEY_SIZE])
{
	put_key(KIND_NODE, id, key);
}

void fp_seal_file_key(uint64_t id, uint8_t key[FP_KEY_SIZE])
{
	put_key(KIND_FILE, id, key);
}

static void mac_of(struct fp_state *s, const uint8_t key[FP_KEY_SIZE], const uint8_t *value,
		   size_t len, uint8_t ret[DIGEST_MAC_SIZE])
{
	uint8_t text[FP_KEY_SIZE + FP_RECORD_MAX];

	memcpy(text, key, FP_KEY_SIZE);
	memcpy(text + FP_KEY_SIZE, value, len);
	(void)pthread_mutex_lock(&s->lock);
	digest_mac_of(s->mac, text, FP_KEY_SIZE + len, ret);
	(void)pthread_mutex_unlock(&s->lock);
}

static size_t seal(struct fp_state *s, const uint8_t key[FP_KEY_SIZE], uint8_t value[FP_RECORD_MAX],
		   size_t len)
{
	uint8_t mac[DIGEST_MAC_SIZE];

	mac_of(s, key, value, len, mac);
	memcpy(value + len, mac, MAC);
	return len + MAC;
}

size_t fp_seal_node(struct fp_state *s, const struct fp_inode *in, const struct fp_place *place,
		    uint8_t key[FP_KEY_SIZE], uint8_t value[FP_RECORD_MAX])
{
	const struct fp_handle *h = &place->handle;
	size_t len = NODE_FIXED + h->bytes, name = place->by_name ? strlen(place->name) : 0;

	put_key(KIND_NODE, in->id, key);
	store_le64(value, in->dev);
	store_le64(value + 8, in->ino);
	store_le64(value + 16, place->by_name ? place->parent : 0);
	store_le32(value + 24, in->type);
	store_le32(value + 28, (uint32_t)h->type);
	store_le32(value + 32, h->bytes);
	memcpy(value + NODE_FIXED, h->data, h->bytes);
	memcpy(value + len, place->name, name);
	return seal(s, key, value, len + name);
}

size_t fp_seal_file(struct fp_state *s, uint64_t id, uint64_t node, int flags,
		    uint8_t key[FP_KEY_SIZE], uint8_t value[FP_RECORD_MAX])
{
	put_key(KIND_FILE, id, key);
	store_le64(value, node);
	store_le32(value + 8, (uint32_t)flags);
	return seal(s, key, value, FILE_FIXED);
}

static int read_node(const uint8_t *value, size_t len, struct fp_record *r)
{
	struct fp_handle *h = &r->place.handle;

	if (len < NODE_FIXED)
		return -EBADMSG;
	r->st.st_dev = load_le64(value);
	r->st.st_ino = load_le64(value + 8);
	r->place.parent = load_le64(value + 16);
	r->place.by_name = r->place.parent != 0;
	r->st.st_mode = load_le32(value + 24) & S_IFMT;
	h->type = (int32_t)load_le32(value + 28);
	h->bytes = load_le32(value + 32);
	len -= NODE_FIXED;
	if (h->bytes > FP_HANDLE_MAX || h->bytes > len || len - h->bytes > NAME_MAX)
		return -EBADMSG;
	memcpy(h->data, value + NODE_FIXED, h->bytes);
	memcpy(r->place.name, value + NODE_FIXED + h->bytes, len - h->bytes);
	return 0;
}

int fp_unseal(struct fp_state *s, const uint8_t key[FP_KEY_SIZE], const uint8_t *value, size_t len,
	      struct fp_record *ret)
{
	uint8_t mac[DIGEST_MAC_SIZE];
	struct fp_record r = {.id = load_le64(key + 8)};

	if (len < MAC || len > FP_RECORD_MAX)
		return -EBADMSG;
	len -= MAC;
	mac_of(s, key, value, len, mac);
	if (!digest_equal(mac, value + len, MAC))
		return -EBADMSG;
	if (load_le32(key) == KIND_NODE) {
		if (read_node(value, len, &r) < 0)
			return -EBADMSG;
	} else if (load_le32(key) == KIND_FILE && len == FILE_FIXED) {
		r.is_file = true;
		r.node = load_le64(value);
		r.flags = (int)load_le32(value + 8);
	} else {
		return -EBADMSG;
	}
	*ret = r;
	return 0;
}
