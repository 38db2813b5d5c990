/* cleanup.h - one owner for each thing: auto_* releases at scope end, TAKE_* hands ownership on. */
#ifndef FCVM_BASE_CLEANUP_H
#define FCVM_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>

void cleanup_free_p(void *p);       /* void **: free and forget */
void cleanup_close_p(int *fd);      /* closes fd >= 0, keeps errno, never retries on EINTR */
void cleanup_fclose_p(FILE **file); /* keeps errno */
void cleanup_closedir_p(DIR **dir); /* keeps errno */

#define auto_free __attribute__((cleanup(cleanup_free_p)))
#define auto_close __attribute__((cleanup(cleanup_close_p)))
#define auto_fclose __attribute__((cleanup(cleanup_fclose_p)))
#define auto_closedir __attribute__((cleanup(cleanup_closedir_p)))

#define TAKE_PTR(p)                         \
	__extension__({                     \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})
#define TAKE_FD(fd)                \
	__extension__({            \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
