#include "say.h"

#include "buf.h"

#include <stdarg.h>

void asset_say(const struct asset_progress *progress, const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT(1024);
	va_list ap;

	if (!progress || !progress->say)
		return;
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	progress->say(progress->data, buf_str(&text));
}
