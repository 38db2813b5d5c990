/* fake_volserver.c - a volume's server that dies of the first order it is given, slowly: its socket
 * has ended for a while when the process does. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fp_process.h"

#define CONTROL_FD 3
#define LATE_MS 200

int main(void)
{
	static const char ready = FP_SAYS_READY;
	char order = FP_ORDER_PING;

	if (send(CONTROL_FD, &ready, 1, MSG_NOSIGNAL) != 1)
		return 1;
	while (order == FP_ORDER_PING)
		if (recv(CONTROL_FD, &order, 1, 0) != 1)
			return 1;
	(void)close(CONTROL_FD);
	(void)poll(NULL, 0, LATE_MS);
	return 0;
}
