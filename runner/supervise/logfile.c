#include "logfile.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX (4u << 20)
#define NS_PER_MS UINT64_C(1000000)

void logfile_init(struct logfile *f, const char *path, uint64_t max)
{
	*f = (struct logfile){
		.path = xstrdup(path), .fd = -1, .max = max, .pending = BUF_INIT(PENDING_MAX)};
}

void logfile_free(struct logfile *f)
{
	logfile_flush(f);
	cleanup_close_p(&f->fd);
	buf_free(&f->pending);
	free(f->path);
	f->path = NULL;
}

static int open_file(struct logfile *f)
{
	struct stat st = {0};

	f->fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -1;
	f->size = (uint64_t)st.st_size;
	return 0;
}

static void turn_over(struct logfile *f)
{
	auto_free char *old = xasprintf("%s.1", f->path);

	(void)rename(f->path, old);
	cleanup_close_p(&f->fd);
	f->fd = -1;
}

void logfile_flush(struct logfile *f)
{
	if (f->pending.len == 0)
		return;
	if (f->fd < 0 && open_file(f) < 0) {
		buf_reset(&f->pending);
		return;
	}
	if (f->size > 0 && f->size + f->pending.len > f->max) {
		turn_over(f);
		(void)open_file(f);
	}
	if (f->fd >= 0 && file_write_fd(f->fd, f->pending.data, f->pending.len, NULL) >= 0)
		f->size += f->pending.len;
	buf_reset(&f->pending);
}

void logfile_time(uint64_t unix_ns, char ret[LOG_TIME_SIZE])
{
	char ms[IO_TIME_SIZE];

	io_time_rfc3339((int64_t)(unix_ns / NS_PER_MS), ms);
	(void)snprintf(ret, LOG_TIME_SIZE, "%.23s%06uZ", ms, (unsigned)(unix_ns % NS_PER_MS));
}

void logfile_add(struct logfile *f, const struct logfile_line *line)
{
	char at[LOG_TIME_SIZE], *text = NULL;

	if (f->pending.len > PENDING_MAX / 2)
		logfile_flush(f);
	logfile_time(line->unix_ns, at);
	buf_addf(&f->pending, "%s %s %c ", at, line->is_stderr ? "stderr" : "stdout",
		 line->partial ? 'P' : 'F');
	text = buf_grow(&f->pending, line->len);
	for (size_t i = 0; text && i < line->len; i++)
		text[i] = (char)(line->text[i] == '\n' ? ' ' : line->text[i]);
	buf_add_char(&f->pending, '\n');
}
