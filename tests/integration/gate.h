/* gate.h - where a fake VMM waits (its script's gate and save_gate), and the test for it. */
#ifndef FCVM_TESTS_GATE_H
#define FCVM_TESTS_GATE_H

/* A FIFO in dir that every VMM may read; caller frees the path. */
char *gate_new(const char *dir);
/* Waits until a VMM waits there; it goes on with a byte written to what is returned. Caller closes.
 */
int gate_reach(const char *path);

#endif
