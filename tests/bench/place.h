/* place.h - where a benchmark of networks stands: a host of its own (network and mount namespaces
 * of the process) and an internet behind it, a second namespace at the other end of a veth pair.
 * Nothing of it outlives the process and what it has started. */
#ifndef FCVM_TESTS_BENCH_PLACE_H
#define FCVM_TESTS_BENCH_PLACE_H

#define PLACE_HOST "203.0.113.2" /* on wan0 */
#define PLACE_INET "203.0.113.1"

struct place {
	int real; /* namespaces of networks: the machine's */
	int host; /* the one made, where the process is */
	int inet;
};

/* Ends the process when it cannot. */
void place_make(struct place *p);
/* Moves the process into one of its namespaces. */
void place_enter(int namespace);
/* A program where the process is, words ending in NULL; a status but 0 ends the process. */
void place_run(const char *const *argv);
#define PLACE_RUN(...) place_run((const char *const[]){__VA_ARGS__, NULL})

#endif
