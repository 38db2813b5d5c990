/* banned.h - calls that do not compile here. Included before everything by the Makefile; the
 * headers that declare them come first, so only our own uses are poisoned. */
#ifndef FCVM_BASE_BANNED_H
#define FCVM_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Fortified headers define some as macros, which clang does not let us poison as they are. */
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol atoll system popen
#pragma GCC poison gmtime localtime asctime tmpnam mktemp

/* Only the call: a field of <linux/fuse.h> has this name. */
char *ctime(const time_t *) __attribute__((unavailable)); /* NOLINT(readability-redundant-*) */

#endif
