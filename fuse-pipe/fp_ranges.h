/* fp_ranges.h - which parts of a file somebody has locked and how, in order of position: the kernel
 * keeps that to itself, and a snapshot needs it. Parts of one kind that touch are one. */
#ifndef FCVM_FUSE_PIPE_FP_RANGES_H
#define FCVM_FUSE_PIPE_FP_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct fp_range {
	int64_t start, end; /* the last byte; INT64_MAX: as far as files go */
	short type;         /* F_RDLCK, F_WRLCK */
};

struct fp_ranges {
	struct fp_range *v;
	size_t n;
};

/* 0 <= start <= end. F_UNLCK takes that part out; at most two parts more than before. */
void fp_ranges_set(struct fp_ranges *r, int64_t start, int64_t end, short type);
void fp_ranges_free(struct fp_ranges *r);

#endif
