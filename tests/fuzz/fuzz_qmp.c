/* fuzz_qmp.c - QEMU's monitor when QEMU is somebody else: greeting, answers and events all come
 * from the input, then the end of file. Byte 0 bit 0: drained in between. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define SENT_MAX 65536 /* fits the socket: nobody writes while the client reads */
#define CALLS_MAX 64

static void next_events(struct qmp *q)
{
	for (int i = 0; i < 2 * QMP_EVENTS_MAX; i++) {
		auto_json struct json_object *about = NULL;
		enum qmp_event kind = QMP_EVENT_KINDS;

		if (qmp_next_event(q, deadline_in(1000), &kind, &about, NULL) < 0)
			return;
		CHECK(kind < QMP_EVENT_KINDS);
	}
}

static void talk(struct qmp *q, bool drain)
{
	const struct qmp_command ask = {.name = "query-migrate"};

	if (qmp_greet(q, deadline_in(1000), NULL) < 0)
		return;
	for (int i = 0; i < CALLS_MAX; i++) {
		auto_json struct json_object *answer = NULL;
		struct err err = {0};
		int r = qmp_call(q, &ask, deadline_in(1000), &answer, &err);

		CHECK(r == 0 || (r < 0 && err.msg[0]));
		CHECK(r != -ETIMEDOUT);
		if (r < 0 && r != -EIO)
			break;
		if (drain && qmp_drain(q, NULL) < 0)
			break;
	}
	next_events(q);
	qmp_clear_events(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_qmp struct qmp *q = NULL;
	char sink[4096];
	int pair[2];

	if (size < 1)
		return 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	q = qmp_new(pair[0]);
	if (size - 1 <= SENT_MAX)
		CHECK(io_write_full(pair[1], data + 1, size - 1, 0, NULL) == 0);
	CHECK(shutdown(pair[1], SHUT_WR) == 0);
	talk(q, data[0] & 1);
	while (recv(pair[1], sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	(void)close(pair[1]);
	return 0;
}
