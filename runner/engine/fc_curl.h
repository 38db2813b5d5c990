/* fc_curl.h - libcurl, loaded when the first Firecracker is driven: it brings thirty libraries with
 * it, which would cost every other fcvm process 7 ms at its start. A supervisor loads it while its
 * VMM starts. */
#ifndef FCVM_ENGINE_FC_CURL_H
#define FCVM_ENGINE_FC_CURL_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "err.h"

struct fc_curl {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
	CURLcode (*easy_perform)(CURL *easy);
	CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
	void (*easy_cleanup)(CURL *easy);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
};

/* Stays loaded; repeating it is cheap. */
int fc_curl_load(const struct fc_curl **ret, struct err *err);

#endif
