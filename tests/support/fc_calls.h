/* fc_calls.h - the requests of tests/data/fc-calls.txt, put to a firecracker, real or fake. */
#ifndef FCVM_TESTS_FC_CALLS_H
#define FCVM_TESTS_FC_CALLS_H

#include "buf.h"

/* Every request with its answer, as tests/golden/fc-answers.txt has them. */
void fc_calls_run(const char *program, struct buf *ret);

#endif
