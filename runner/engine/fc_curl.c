#include "fc_curl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cleanup.h"

#define LIBRARY "libcurl.so.4"

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
	{"curl_global_init", offsetof(struct fc_curl, global_init)},
	{"curl_easy_init", offsetof(struct fc_curl, easy_init)},
	{"curl_easy_setopt", offsetof(struct fc_curl, easy_setopt)},
	{"curl_easy_perform", offsetof(struct fc_curl, easy_perform)},
	{"curl_easy_getinfo", offsetof(struct fc_curl, easy_getinfo)},
	{"curl_easy_cleanup", offsetof(struct fc_curl, easy_cleanup)},
	{"curl_easy_strerror", offsetof(struct fc_curl, easy_strerror)},
	{"curl_slist_append", offsetof(struct fc_curl, slist_append)},
	{"curl_slist_free_all", offsetof(struct fc_curl, slist_free_all)},
};

static int missing(struct err *err)
{
	const char *why = dlerror();

	err_set(err, ERR_HOST, -ELIBACC, "firecracker is driven through libcurl: %s",
		why ? why : "it cannot be loaded");
	return err_hint(err, "apt-get install libcurl4");
}

int fc_curl_load(const struct fc_curl **ret, struct err *err)
{
	static struct fc_curl loaded;
	struct fc_curl curl;
	void *library;

	if (loaded.easy_init) {
		*ret = &loaded;
		return 0;
	}
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return missing(err);
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return missing(err);
		memcpy((char *)&curl + symbols[i].at, &symbol, sizeof(symbol));
	}
	if (curl.global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot set up libcurl");
	loaded = curl;
	*ret = &loaded;
	return 0;
}
