/* rig.h - a page server process over a memory file of known content, and this test process as the
 * supervisor and the VMM it serves. */
#ifndef FCVM_TESTS_MEMORY_RIG_H
#define FCVM_TESTS_MEMORY_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "host.h"
#include "json.h"
#include "memserver.h"

#define PAGE ((size_t)4096)
#define HUGE (512 * PAGE)
#define RIG_UID 1879049000u /* what the server becomes */

/* Of every four pages: data, data, zero bytes written, a hole. */
enum rig_page { RIG_DATA, RIG_DATA_TOO, RIG_ZEROED, RIG_HOLE };

struct rig {
	char *dir, *memory, *sock;
	struct host host;
	struct proc_id server;
	size_t pages;
};

/* Fails the test when something does not work. */
void rig_start(struct rig *rig, size_t pages); /* rig_prepare, rig_spawn */
void rig_stop(struct rig *rig);                /* by force */
#define auto_rig __attribute__((cleanup(rig_stop)))
/* Only the directory, the memory file and the host; no process. */
void rig_prepare(struct rig *rig, size_t pages);
void rig_spawn(struct rig *rig);
/* Signals the server and waits for its end when it is deadly. */
void rig_kill(struct rig *rig, int sig);
/* The byte at this offset of the memory file. */
unsigned char rig_byte(size_t offset);
/* Whether all of a page is what the file has there. */
bool rig_page_is_right(const unsigned char *page, size_t number);
bool rig_page_is_zero(const unsigned char *page);
/* SHA-256 of a file as hex; static. */
const char *rig_digest(const char *path);
/* A number below n from a seed; every test has its own sequence. */
uint64_t rig_random(uint64_t *seed, uint64_t n);

/* Memory as a VMM has it: anonymous, registered, not handed over yet. */
struct guest {
	unsigned char *mem;
	size_t len, page_size;
	int uffd;
	int sock;   /* to the server's listener of this VM */
	int listen; /* the supervisor's */
	int conn;   /* the supervisor's to the server */
	char *path;
};

void guest_init(struct guest *g);
void guest_init_huge(struct guest *g); /* memory from hugetlbfs, whole 2 MiB pages of it */
void guest_free(struct guest *g);
#define auto_guest __attribute__((cleanup(guest_free)))
/* Binds a socket and announces process pid of user uid; negative with err when refused. */
int guest_announce(struct rig *rig, struct guest *g, const char *id, pid_t pid, uid_t uid,
		   struct err *err);
/* userfaultfd with these features over pages pages. */
void guest_map(struct guest *g, size_t pages, uint64_t features);
/* Connects and sends text with descriptors; the defaults are what the shim sends. */
void guest_connect(struct guest *g);
void guest_send(const struct guest *g, const char *text, const int *fds, size_t n_fds);
void guest_hand_off(struct guest *g);
/* All of it for this process: announced, mapped, handed over, and the note has come. */
void guest_start(struct rig *rig, struct guest *g, const char *id);
/* Next thing the server says: 1, or negative with err; -ETIMEDOUT after 10 s. */
int guest_listen(const struct guest *g, struct err *err);
/* A member of "totals". */
uint64_t rig_metric(struct rig *rig, const char *name);
/* That it comes to be this: a page is there a moment before it is counted. */
void rig_expect(struct rig *rig, const char *name, uint64_t value);

/* A process of that user as the VMM: it maps before it loses its rights, then runs fn with its half
 * of *g, whose value is its exit status. Announced as who it is when the call returns. */
typedef int (*guest_fn)(struct guest *g, void *data);
pid_t guest_fork(struct rig *rig, struct guest *g, const char *id, uid_t uid, guest_fn fn,
		 void *data);
/* Every page is what the file has. */
void guest_check_all(const struct guest *g);
/* A guest_fn: hands over, reads everything, overwrites everything; 0 when all was right. */
int guest_scribble(struct guest *g, void *data);
/* Its exit status, or 128 + signal. */
int guest_wait(pid_t pid);

#endif
