/* net_answers.h - what others do to the host between two answers of the kernel: recv() of this
 * program calls it. */
#ifndef FCVM_TESTS_UNIT_NET_ANSWERS_H
#define FCVM_TESTS_UNIT_NET_ANSWERS_H

#include <stddef.h>
#include <sys/types.h>

/* Runs after every answer of at least so many bytes, but for those to what it asks itself. */
extern struct net_after_answer {
	size_t size;
	void (*run)(void *data); /* NULL: nothing does */
	void *data;
} net_after_answer;

#endif
