/* logfile.h - one log on disk: FILE and FILE.1, each of at most max bytes (or one line more). */
#ifndef FCVM_SUPERVISE_LOGFILE_H
#define FCVM_SUPERVISE_LOGFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct logfile {
	char *path;
	int fd; /* -1 until the first write */
	uint64_t size, max;
	struct buf pending; /* formatted, not yet written */
};

void logfile_init(struct logfile *f, const char *path, uint64_t max);
void logfile_free(struct logfile *f); /* flushes */
/* Writes what is pending, turning the files over first when it would not fit. A full disk loses
 * lines, never the VM. */
void logfile_flush(struct logfile *f);
/* Appends "TIME stdout|stderr F|P TEXT\n"; partial: the line goes on in the next one (P). */
struct logfile_line {
	uint64_t unix_ns;
	bool is_stderr, partial;
	const char *text; /* len bytes; a newline inside becomes a blank */
	size_t len;
};
void logfile_add(struct logfile *f, const struct logfile_line *line);

#define LOG_TIME_SIZE 31
/* "2026-01-02T03:04:05.123456789Z" */
void logfile_time(uint64_t unix_ns, char ret[LOG_TIME_SIZE]);

#endif
