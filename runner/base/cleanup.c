#include "cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cleanup_free_p(void *p)
{
	/* p is the address of a pointer of any type: copied, never cast, so no aliasing rule
	 * is broken. */
	void *block;

	memcpy(&block, p, sizeof(block));
	free(block);
	memset(p, 0, sizeof(block));
}

void cleanup_close_p(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

void cleanup_fclose_p(FILE **file)
{
	int saved = errno;

	if (*file)
		(void)fclose(*file);
	*file = NULL;
	errno = saved;
}

void cleanup_closedir_p(DIR **dir)
{
	int saved = errno;

	if (*dir)
		(void)closedir(*dir);
	*dir = NULL;
	errno = saved;
}
