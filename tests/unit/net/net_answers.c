#include "net_answers.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "xalloc.h"

struct net_after_answer net_after_answer;

/* Its own answers may go where this one has just come, as nfsock_talk() has one place for all. */
static void run(void *answer, size_t size)
{
	auto_free void *copy = xmalloc(size);

	memcpy(copy, answer, size);
	net_after_answer.run(net_after_answer.data);
	memcpy(answer, copy, size);
}

ssize_t recv(int fd, void *to, size_t size, int flags)
{
	static __typeof__(&recv) real;
	static bool runs;

	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "recv");
	ssize_t n = real(fd, to, size, flags);

	if (net_after_answer.run && !runs && n > 0 && (size_t)n >= net_after_answer.size) {
		runs = true;
		run(to, (size_t)n);
		runs = false;
	}
	return n;
}
