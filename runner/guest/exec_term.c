#include "exec_term.h"

#include "proto.h"
#include "tlv.h"

#include <sys/ioctl.h>
#include <unistd.h>

void exec_term_raw(struct exec_term *t, int fd)
{
	struct termios raw;

	if (tcgetattr(fd, &t->was) < 0)
		return;
	raw = t->was;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) == 0)
		t->fd = fd;
}

void exec_term_restore(struct exec_term *t)
{
	if (t->fd >= 0)
		(void)tcsetattr(t->fd, TCSADRAIN, &t->was);
	t->fd = -1;
}

void exec_term_put_size(int fd, struct buf *out)
{
	struct winsize size = {0};

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return;
	tlv_put_u64(out, TAG_ROWS, size.ws_row);
	tlv_put_u64(out, TAG_COLS, size.ws_col);
}
