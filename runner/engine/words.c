#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

#define KEEP_MAX ((size_t)4096)
#define READS_MAX 16 /* all that a pipe holds */

int words_pipe(const char *name, int *ret_read_fd, int *ret_write_fd, struct err *err)
{
	int fds[2] = {-1, -1};

	if (name && mkfifo(name, 0600) < 0)
		return err_sys(err, "cannot make '%s'", name);
	if (!name && pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	/* In this order: a writer waits for a reader. */
	auto_close int ours =
		name ? open(name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC) : fds[0];
	auto_close int theirs = name ? open(name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC) : fds[1];

	if (ours < 0 || theirs < 0)
		return err_sys(err, "cannot open '%s'", name);
	if (io_set_nonblock(ours, true) < 0)
		return err_sys(err, "cannot make a pipe non-blocking");
	*ret_read_fd = TAKE_FD(ours);
	*ret_write_fd = TAKE_FD(theirs);
	return 0;
}

int words_open(struct words *w, const char *name, int *ret_write_fd, struct err *err)
{
	int r = words_pipe(name, &w->fd, ret_write_fd, err);

	if (r == 0)
		w->text = (struct buf)BUF_INIT(2 * KEEP_MAX);
	return r;
}

/* Keeps the end of what it says; false when there is no more to come. Bounded: one that never
 * stops talking must not keep us from everything else. */
static bool listen_to(struct words *w)
{
	char chunk[KEEP_MAX];

	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = read(w->fd, chunk, sizeof(chunk));

		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		buf_add(&w->text, chunk, (size_t)n);
		if (w->text.len > KEEP_MAX)
			buf_consume(&w->text, w->text.len - KEEP_MAX);
	}
	return true;
}

static void on_words(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)events;
	if (!listen_to(src->data))
		loop_remove(loop, src);
}

int words_watch(struct words *w, struct loop *loop, struct err *err)
{
	int r = loop ? loop_add(loop, &w->src, w->fd, EPOLLIN, on_words, w, err) : 0;

	if (r < 0)
		return r;
	w->loop = loop;
	w->watched = loop != NULL;
	return 0;
}

void words_last(struct words *w, char *ret, size_t size)
{
	auto_buf struct buf out = BUF_INIT(KEEP_MAX * 2);
	const char *text;
	size_t skip;

	(void)listen_to(w);
	for (text = buf_str(&w->text); *text; text += strspn(text, "\n")) {
		size_t len = strcspn(text, "\n");
		size_t drop = w->prefix ? w->prefix(text, len) : 0;

		buf_addf(&out, "%s%.*s", out.len ? "; " : "", (int)(len - drop), text + drop);
		text += len;
	}
	skip = out.len >= size ? out.len - size + 1 : 0;
	(void)snprintf(ret, size, "%s", buf_str(&out) + skip);
}

void words_close(struct words *w)
{
	if (w->watched)
		loop_remove(w->loop, &w->src);
	w->watched = false;
	cleanup_close_p(&w->fd);
	buf_free(&w->text);
}
