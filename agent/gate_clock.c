/* gate_clock.c - time and randomness of a clone. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cleanup.h"
#include "gates.h"
#include "proto_workload.h"

int gate_clock(uint64_t unix_now_ns, struct err *err)
{
	struct timespec ts = {.tv_sec = (time_t)(unix_now_ns / 1000000000u),
			      .tv_nsec = (long)(unix_now_ns % 1000000000u)};

	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_sys(err, "cannot set the clock");
	return 0;
}

int gate_entropy(const uint8_t *bytes, size_t len, struct err *err)
{
	union {
		struct rand_pool_info info;
		uint8_t room[sizeof(struct rand_pool_info) + PROTO_ENTROPY_MAX];
	} pool = {0};
	auto_close int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (len > PROTO_ENTROPY_MAX)
		return err_set(err, ERR_GUEST, -EINVAL, "%zu bytes of entropy, limit %u", len,
			       PROTO_ENTROPY_MAX);
	if (fd < 0)
		return err_sys(err, "cannot open /dev/urandom");
	pool.info.entropy_count = (int)len * 8;
	pool.info.buf_size = (int)len;
	memcpy(pool.room + offsetof(struct rand_pool_info, buf), bytes, len);
	if (ioctl(fd, RNDADDENTROPY, &pool) < 0)
		return err_sys(err, "cannot add entropy");
	if (ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_sys(err, "cannot reseed the random number generator");
	explicit_bzero(&pool, sizeof(pool));
	return 0;
}
