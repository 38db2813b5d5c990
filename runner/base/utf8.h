/* utf8.h - text of others, before it goes into files and frames that have to be read again. */
#ifndef FCVM_BASE_UTF8_H
#define FCVM_BASE_UTF8_H

/* A copy in which every byte that is not part of a UTF-8 character is a '?'; the caller frees it.
 */
char *utf8_clean(const char *text);

#endif
