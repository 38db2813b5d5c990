#include "log.h"

#include "buf.h"
#include "cleanup.h"
#include "io.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 16384

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static struct {
	enum log_level level;
	bool json;
	void (*sink)(enum log_level level, const char *line, void *data);
	void *data;
} state = {.level = LOG_INFO};

void log_setup(enum log_level level, bool json)
{
	state.level = level;
	state.json = json;
}

void log_set_sink(void (*sink)(enum log_level level, const char *line, void *data), void *data)
{
	state.sink = sink;
	state.data = data;
}

/* One write a line, so that lines of several processes do not mix. A terminal that is gone must
 * not stop the work. */
static void emit(enum log_level level, struct buf *line)
{
	if (state.sink) {
		state.sink(level, buf_str(line), state.data);
		return;
	}
	buf_add_char(line, '\n');
	(void)io_write_full(STDERR_FILENO, line->data, line->len, 0, NULL);
}

/* Guests and tools have a say in messages: no escape sequence reaches the terminal. */
static void add_plain(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
			buf_add_char(out, '?');
		else
			buf_add_char(out, *s);
	}
}

static void add_json(struct buf *out, const char *key, const char *s)
{
	buf_addf(out, ",\"%s\":\"", key);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			buf_addf(out, "\\u%04x", c);
		else
			buf_add_char(out, *s);
	}
	buf_add_char(out, '"');
}

static void log_line(enum log_level level, const char *msg, const char *hint)
{
	auto_buf struct buf line = BUF_INIT(LINE_MAX_BYTES);
	char now[IO_TIME_SIZE];

	if (level > state.level)
		return;
	if (!state.json) {
		buf_addf(&line, "fcvm: %s: ", level_names[level]);
		add_plain(&line, msg);
		emit(level, &line);
		buf_reset(&line);
		if (*hint) {
			buf_add_str(&line, "hint: ");
			add_plain(&line, hint);
			emit(level, &line);
		}
		return;
	}
	io_time_rfc3339(io_unix_ms(), now);
	buf_addf(&line, "{\"t\":\"%s\",\"level\":\"%s\"", now, level_names[level]);
	add_json(&line, "msg", msg);
	if (*hint)
		add_json(&line, "hint", hint);
	buf_add_char(&line, '}');
	emit(level, &line);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	/* A sixth of a line: every byte may become \u00XX. */
	auto_buf struct buf msg = BUF_INIT(LINE_MAX_BYTES / 6 - 64);
	int saved = errno;
	va_list ap;

	if (level > state.level)
		return;
	va_start(ap, fmt);
	buf_vaddf(&msg, fmt, ap);
	va_end(ap);
	log_line(level, buf_str(&msg), "");
	errno = saved;
}

void log_err(const struct err *err)
{
	log_line(LOG_ERROR, err->msg, err->hint);
}

int log_parse_level(const char *s, enum log_level *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(s, level_names[i]) != 0)
			continue;
		*ret = (enum log_level)i;
		return 0;
	}
	return err_set(err, ERR_SPEC, -EINVAL, "expected error, warn, info or debug, got '%s'", s);
}
