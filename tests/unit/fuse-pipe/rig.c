#include "rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define PATIENCE_MS 60000

static void start_server(struct rig *r)
{
	auto_free char *state = path_join(r->dir, "state");
	struct err err = {0};

	r->opt.volume.state_fd = -1;
	if (r->keeps_records)
		cr_assert_eq(fp_state_file(state, &r->opt.volume.state_fd, &err), 0, "%s", err.msg);
	int root = open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert(root >= 0 && proc >= 0);
	cr_assert_eq(fp_server_start(root, proc, &r->opt, &r->server, &err), 0, "%s", err.msg);
}

int rig_connect(struct rig *r)
{
	int pair[2];
	struct err err = {0};

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(fp_server_add(r->server, pair[1], &err), 0, "%s", err.msg);
	return pair[0];
}

struct fp_hello rig_hello(struct rig *r, int fd, uint16_t stream, uint16_t n_streams)
{
	struct fp_hello h = {.version = FP_VERSION,
			     .flags = r->keeps_records ? FP_H_RECORDS : 0,
			     .stream = stream,
			     .n_streams = n_streams};
	uint8_t wire[FP_HELLO_SIZE];

	memcpy(h.session, r->session, FP_SESSION_SIZE);
	fp_hello_put(&h, wire);
	cr_assert_eq(io_write_full(fd, wire, sizeof(wire), 0, NULL), 0);
	cr_assert_eq(io_read_full(fd, wire, sizeof(wire), deadline_in(PATIENCE_MS), NULL), 0);
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	return h;
}

void rig_ready(int fd, bool fresh, const struct buf *records, uint16_t n)
{
	uint8_t head[FP_HEAD_SIZE];

	if (fresh) {
		fp_head_put(head, FP_F_BARE | FP_F_END, n, 0, records ? records->len : 0);
		cr_assert_eq(io_write_full(fd, head, sizeof(head), 0, NULL), 0);
		if (records)
			cr_assert_eq(io_write_full(fd, records->data, records->len, 0, NULL), 0);
	}
	cr_assert_eq(io_read_full(fd, head, sizeof(head), deadline_in(PATIENCE_MS), NULL), 0);
	cr_assert_eq(memcmp(head, "\0\0\0\0\x06\0\0\0", 8), 0, "READY");
}

void rig_init(struct rig *r)
{
	const uint64_t flags = FUSE_INIT_EXT | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT |
			       FUSE_MAX_PAGES | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_POSIX_ACL |
			       FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_ATOMIC_O_TRUNC |
			       r->offers;
	struct fuse_init_in in = {
		.major = 7, .minor = 38, .max_readahead = 131072, .flags = (uint32_t)flags};

	cr_assert_eq(RIG_CALL(r, FUSE_INIT, 0, &in, NULL), 0);
	cr_assert_eq(r->out_len, sizeof(struct fuse_init_out));
}

void rig_start(struct rig *r, const struct fp_options *opt)
{
	static const struct fp_options full = {.trust = FP_FULL, .cache = FP_STRICT};
	bool keep = r->keeps_records;
	uint64_t offers = r->offers;

	*r = (struct rig){.keeps_records = keep, .offers = offers, .unique = 2};
	r->dir = tmpdir_new("fuse");
	r->root = path_join(r->dir, "root");
	cr_assert_eq(mkdir(r->root, 0755), 0);
	r->opt.volume = opt ? *opt : full;
	r->opt.workers = 2;
	r->in = xmalloc(FP_FRAME_MAX);
	cr_assert_eq(getrandom(r->session, FP_SESSION_SIZE, 0), FP_SESSION_SIZE);
	start_server(r);
	r->fd = rig_connect(r);
	struct fp_hello h = rig_hello(r, r->fd, 0, 1);
	cr_assert(h.status == 0 && (h.flags & FP_H_FRESH));
	rig_ready(r->fd, true, NULL, 0);
	rig_init(r);
}

void rig_end_server(struct rig *r)
{
	cleanup_close_p(&r->fd);
	if (r->server)
		fp_server_stop(TAKE_PTR(r->server));
}

void rig_restart(struct rig *r)
{
	rig_end_server(r);
	start_server(r);
}

uint16_t rig_collect(const struct rig *r, struct buf *records)
{
	struct fp_item item;
	size_t pos = 0;
	uint16_t n = 0;

	while (fp_item_next(&r->frame, &pos, &item)) {
		if (item.type != FP_T_KEEP)
			continue;
		fp_item_put(records, item.type, item.data, item.len);
		n++;
	}
	return n;
}

void rig_come_back(struct rig *r, const struct buf *records, uint16_t n)
{
	rig_restart(r);
	r->fd = rig_connect(r);
	struct fp_hello h = rig_hello(r, r->fd, 0, 1);
	cr_assert(h.status == 0 && h.flags == (FP_H_FRESH | FP_H_RECORDS));
	rig_ready(r->fd, true, records, n);
}

void rig_stop(struct rig *r)
{
	cleanup_close_p(&r->fd);
	if (r->server)
		fp_server_stop(r->server);
	tmpdir_remove(&r->dir);
	cleanup_free_p(&r->root);
	cleanup_free_p(&r->in);
	(void)rig_path(NULL, NULL);
}

uint64_t rig_send(struct rig *r, uint32_t opcode, uint64_t node, const void *arg, size_t len,
		  const char *name, const char *name2)
{
	struct fuse_in_header head = {.opcode = opcode,
				      .unique = r->unique += 2,
				      .nodeid = node,
				      .uid = r->uid,
				      .gid = r->gid,
				      .pid = 1};
	auto_buf struct buf b = BUF_INIT(FP_FRAME_MAX);
	const size_t n1 = name ? strlen(name) + 1 : 0, n2 = name2 ? strlen(name2) + 1 : 0;
	const size_t msg_len = sizeof(head) + len + n1 + n2;

	head.len = (uint32_t)msg_len;
	uint8_t *p = buf_grow(&b, FP_HEAD_SIZE + fp_pad(msg_len));
	memset(p, 0, FP_HEAD_SIZE + fp_pad(msg_len));
	memcpy(p + 8, &head, sizeof(head));
	if (len)
		memcpy(p + 8 + sizeof(head), arg, len);
	if (n1)
		memcpy(p + 8 + sizeof(head) + len, name, n1);
	if (n2)
		memcpy(p + 8 + sizeof(head) + len + n1, name2, n2);
	if (r->groups)
		fp_item_put(&b, FP_T_GROUPS, r->groups, r->n_groups * sizeof(uint32_t));
	fp_head_put((uint8_t *)b.data, r->flags, r->groups ? 1 : 0, msg_len,
		    b.len - FP_HEAD_SIZE - fp_pad(msg_len));
	cr_assert_eq(io_write_full(r->fd, b.data, b.len, deadline_in(PATIENCE_MS), NULL), 0);
	return head.unique;
}

void rig_receive_frame(struct rig *r)
{
	const uint64_t deadline = deadline_in(PATIENCE_MS);
	struct err err = {0};
	size_t used = 0;

	cr_assert_eq(io_read_full(r->fd, r->in, FP_HEAD_SIZE, deadline, &err), 0, "%s", err.msg);
	size_t len = (size_t)r->in[0] | (size_t)r->in[1] << 8 | (size_t)r->in[2] << 16;
	cr_assert_eq(io_read_full(r->fd, r->in + FP_HEAD_SIZE, len, deadline, &err), 0);
	cr_assert_eq(fp_frame_get(r->in, FP_HEAD_SIZE + len, &r->frame, &used, &err), 1, "%s",
		     err.msg);
}

void rig_receive(struct rig *r)
{
	struct fuse_out_header head;

	do
		rig_receive_frame(r);
	while (!r->frame.msg); /* records to forget come by themselves */
	memcpy(&head, r->frame.msg, sizeof(head));
	cr_assert_eq(head.len, r->frame.msg_len);
	r->error = head.error;
	r->got_unique = head.unique;
	r->out = r->frame.msg + sizeof(head);
	r->out_len = r->frame.msg_len - sizeof(head);
}

int rig_call(struct rig *r, uint32_t opcode, uint64_t node, const void *arg, size_t len,
	     const char *name, const char *name2)
{
	uint64_t unique = rig_send(r, opcode, node, arg, len, name, name2);

	rig_receive(r);
	cr_assert_eq(r->got_unique, unique);
	return r->error;
}

void rig_raw(struct rig *r, const void *data, size_t len)
{
	(void)io_write_full(r->fd, data, len, deadline_in(PATIENCE_MS), NULL);
}

bool rig_is_cut(struct rig *r)
{
	char c;

	return io_wait(r->fd, POLLIN, deadline_in(PATIENCE_MS)) == 1 && read(r->fd, &c, 1) <= 0;
}

int rig_lookup_error(struct rig *r, uint64_t dir, const char *name)
{
	return rig_call(r, FUSE_LOOKUP, dir, NULL, 0, name, NULL);
}

static uint64_t entry_node(const struct rig *r)
{
	struct fuse_entry_out out;

	cr_assert_geq(r->out_len, sizeof(out));
	memcpy(&out, r->out, sizeof(out));
	return out.nodeid;
}

uint64_t rig_lookup(struct rig *r, uint64_t dir, const char *name)
{
	cr_assert_eq(rig_lookup_error(r, dir, name), 0, "%s", name);
	return entry_node(r);
}

uint64_t rig_open(struct rig *r, uint64_t node, uint32_t flags)
{
	struct fuse_open_in in = {.flags = flags};
	struct fuse_open_out out;

	cr_assert_eq(RIG_CALL(r, flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, node, &in, NULL),
		     0);
	memcpy(&out, r->out, sizeof(out));
	return out.fh;
}

uint64_t rig_mkdir(struct rig *r, uint64_t dir, const char *name)
{
	struct fuse_mkdir_in in = {.mode = 0755};

	cr_assert_eq(RIG_CALL(r, FUSE_MKDIR, dir, &in, name), 0);
	return entry_node(r);
}

uint64_t rig_create(struct rig *r, uint64_t dir, const char *name, mode_t mode, uint64_t *ret_fh)
{
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | mode};
	struct fuse_open_out out;

	cr_assert_eq(RIG_CALL(r, FUSE_CREATE, dir, &in, name), 0);
	cr_assert_eq(r->out_len, sizeof(struct fuse_entry_out) + sizeof(out));
	memcpy(&out, r->out + sizeof(struct fuse_entry_out), sizeof(out));
	if (ret_fh)
		*ret_fh = out.fh;
	return entry_node(r);
}

const char *rig_path(struct rig *r, const char *name)
{
	static char *path;

	cleanup_free_p(&path);
	if (r)
		path = path_join(r->root, name);
	return path;
}

void rig_write_file(struct rig *r, const char *name, const char *text)
{
	auto_close int fd = open(rig_path(r, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

void rig_need_root(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root: acts for other users");
}
