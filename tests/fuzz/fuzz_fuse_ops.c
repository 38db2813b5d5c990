/* fuzz_fuse_ops.c - a guest's requests executed in a squashed volume, with nodes and file handles
 * that were really given out. Whatever it asks for: the answer is one a kernel takes, nothing
 * beside the directory changes, and nothing in it becomes root's, a device or set-id. */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fp_ops.h"
#include "xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define OWNER 1500
#define ARG_MAX_BYTES 255
#define KNOWN_MAX 64
#define OUT_MAX (FP_MSG_MAX - sizeof(struct fuse_out_header))
#define ERRNO_MAX 512

/* Where a request names nodes and files besides its own node. */
static const struct {
	uint32_t opcode;
	int16_t node_at, fh_at, fh2_at; /* in its argument; -1: nowhere */
} names[] = {
	{FUSE_GETATTR, -1, 8, -1},    {FUSE_SETATTR, -1, 8, -1},
	{FUSE_RENAME, 0, -1, -1},     {FUSE_RENAME2, 0, -1, -1},
	{FUSE_LINK, 0, -1, -1},       {FUSE_READ, -1, 0, -1},
	{FUSE_WRITE, -1, 0, -1},      {FUSE_RELEASE, -1, 0, -1},
	{FUSE_FSYNC, -1, 0, -1},      {FUSE_FLUSH, -1, 0, -1},
	{FUSE_READDIR, -1, 0, -1},    {FUSE_READDIRPLUS, -1, 0, -1},
	{FUSE_RELEASEDIR, -1, 0, -1}, {FUSE_FSYNCDIR, -1, 0, -1},
	{FUSE_GETLK, -1, 0, -1},      {FUSE_SETLK, -1, 0, -1},
	{FUSE_SETLKW, -1, 0, -1},     {FUSE_FALLOCATE, -1, 0, -1},
	{FUSE_LSEEK, -1, 0, -1},      {FUSE_COPY_FILE_RANGE, 16, 0, 24},
};

struct guest {
	const uint8_t *data;
	size_t size;
	struct fp_volume *v;
	uint64_t nodes[KNOWN_MAX], files[KNOWN_MAX];
	size_t n_nodes, n_files;
	uint64_t unique;
	uint8_t *out;
};

static char base[64], root[80], outside[80];

/* What one request is made of; the rest of the input follows. */
struct step {
	uint8_t opcode, node, fh, who, flags, len;
};

static void put(struct buf *msg, size_t at, uint64_t value)
{
	if (at + sizeof(value) <= msg->len)
		memcpy(msg->data + at, &value, sizeof(value));
}

static void name_things(const struct guest *g, const struct step *s, struct buf *msg)
{
	const size_t arg = sizeof(struct fuse_in_header);
	uint64_t fh = g->n_files ? g->files[s->fh % g->n_files] : 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].opcode != s->opcode)
			continue;
		if (names[i].node_at >= 0)
			put(msg, arg + (size_t)names[i].node_at, g->nodes[s->fh % g->n_nodes]);
		if (names[i].fh_at >= 0)
			put(msg, arg + (size_t)names[i].fh_at, fh);
		if (names[i].fh2_at >= 0)
			put(msg, arg + (size_t)names[i].fh2_at, fh);
	}
}

/* Users: root, the owner, two others, nobody that can be. Groups likewise. */
static void make_frame(struct guest *g, const struct step *s, struct buf *frame)
{
	static const uint32_t ids[] = {0, OWNER, 1234, 4321, UINT32_MAX};
	auto_buf struct buf msg = BUF_INIT(FP_MSG_MAX);
	struct fuse_in_header head = {
		.len = (uint32_t)(sizeof(head) + s->len),
		.opcode = s->opcode,
		.unique = s->flags & 2 && g->unique ? g->unique : (g->unique += 2),
		.nodeid = g->nodes[s->node % g->n_nodes],
		.uid = ids[s->who % 5],
		.gid = ids[s->who / 5 % 5],
	};
	uint32_t groups[2] = {ids[s->who / 25 % 5], ids[s->flags / 4 % 5]};

	buf_add(&msg, &head, sizeof(head));
	buf_add(&msg, g->data, s->len);
	name_things(g, s, &msg);
	uint8_t *at = buf_grow(frame, FP_HEAD_SIZE + fp_pad(msg.len));
	memset(at, 0, FP_HEAD_SIZE + fp_pad(msg.len));
	memcpy(at + FP_HEAD_SIZE, msg.data, msg.len);
	size_t before = frame->len;
	if (s->flags & 1)
		fp_item_put(frame, FP_T_GROUPS, groups, sizeof(groups));
	fp_head_put((uint8_t *)frame->data, s->flags & 2 ? FP_F_RESENT : 0, s->flags & 1, msg.len,
		    frame->len - before);
}

static void learn(uint64_t *known, size_t *n, const uint8_t *at)
{
	uint64_t id;

	memcpy(&id, at, sizeof(id));
	if (id)
		known[(*n)++ % KNOWN_MAX] = id;
	if (*n > KNOWN_MAX)
		*n = KNOWN_MAX;
}

static void take_answer(struct guest *g, const struct fp_request *q, const struct fp_call *c, int r)
{
	const uint32_t op = q->head.opcode;
	bool makes = op == FUSE_CREATE || op == FUSE_TMPFILE;

	CHECK(r <= 0 ? r > -ERRNO_MAX : r == FP_LATER && op == FUSE_SETLKW);
	CHECK(c->out_len <= OUT_MAX && c->items->len <= FP_TRAILER_MAX && buf_ok(c->items));
	if (r != 0)
		return;
	if (makes || op == FUSE_LOOKUP || op == FUSE_MKDIR || op == FUSE_MKNOD ||
	    op == FUSE_SYMLINK || op == FUSE_LINK)
		learn(g->nodes, &g->n_nodes, c->out);
	if (makes || op == FUSE_OPEN || op == FUSE_OPENDIR)
		learn(g->files, &g->n_files, c->out + (makes ? sizeof(struct fuse_entry_out) : 0));
}

static void ask(struct guest *g, const struct step *s)
{
	auto_buf struct buf frame = BUF_INIT(FP_FRAME_MAX), items = BUF_INIT(FP_TRAILER_MAX);
	struct fp_call c = {.vol = g->v, .out = g->out, .out_max = OUT_MAX, .items = &items};
	struct fp_request q;
	struct fp_frame f;
	size_t used;

	make_frame(g, s, &frame);
	if (fp_frame_get((const uint8_t *)frame.data, frame.len, &f, &used, NULL) != 1)
		return;
	int r = fp_decode(&f, &q);
	c.q = &q;
	c.records = true;
	c.waiter.unique = q.head.unique;
	do {
		c.more = false;
		buf_reset(&items);
		r = r < 0 ? r : fp_ops_run(&c);
		take_answer(g, &q, &c, r);
	} while (c.more);
}

static void done(void *ticket, int result)
{
	(void)ticket;
	(void)result;
}

/* A thread's working directory is not the program's from here on. */
static void *be_served(void *data)
{
	const struct fp_options opt = {.trust = FP_SQUASH, .cache = FP_STRICT, .state_fd = -1};
	struct guest *g = data;
	auto_close int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	CHECK(fp_creds_init(proc, NULL) == 0);
	CHECK(fp_volume_open(dir, proc, &opt, done, &g->v, NULL) == 0);
	atomic_store(&g->v->ready, true);
	g->nodes[g->n_nodes++] = FUSE_ROOT_ID;
	while (g->size >= sizeof(struct step)) {
		struct step s;

		memcpy(&s, g->data, sizeof(s));
		g->data += sizeof(s);
		g->size -= sizeof(s);
		s.len = s.len < g->size ? s.len : (uint8_t)g->size;
		/* The whole machine's, and slow. */
		if (s.opcode != FUSE_SYNCFS)
			ask(g, &s);
		g->data += s.len;
		g->size -= s.len;
	}
	CHECK(fp_creds_server() == 0);
	fp_volume_close(g->v);
	return NULL;
}

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)path;
	(void)kind;
	(void)at;
	CHECK(geteuid() != 0 || (st->st_uid != 0 && st->st_gid != 0));
	CHECK(!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode));
	CHECK(S_ISDIR(st->st_mode) || !(st->st_mode & (S_ISUID | S_ISGID)));
	return 0;
}

static void remove_base(void)
{
	(void)file_remove_tree(base, NULL);
}

static void prepare(void)
{
	const struct rlimit lim = {1 << 20, 1 << 20};

	if (base[0])
		return;
	(void)snprintf(base, sizeof(base), "%s/fuzz-ops-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(base) && chmod(base, 0755) == 0);
	(void)snprintf(root, sizeof(root), "%s/root", base);
	(void)snprintf(outside, sizeof(outside), "%s/outside", base);
	CHECK(file_replace(outside, "text", 4, 0666, NULL) == 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &lim) == 0);
	(void)atexit(remove_base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest g = {.data = data, .size = size, .out = xmalloc(OUT_MAX)};
	pthread_t thread;
	struct stat st;

	prepare();
	CHECK(mkdir(root, 0755) == 0);
	CHECK(geteuid() != 0 || chown(root, OWNER, OWNER) == 0);
	CHECK(pthread_create(&thread, NULL, be_served, &g) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	free(g.out);
	CHECK(nftw(root, look, 16, FTW_PHYS) == 0);
	CHECK(stat(outside, &st) == 0 && st.st_size == 4 && st.st_nlink == 1 &&
	      st.st_uid == geteuid());
	CHECK(file_remove_tree(root, NULL) == 0);
	return 0;
}
