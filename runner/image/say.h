/* say.h - progress sentences of the asset builders. */
#ifndef FCVM_IMAGE_SAY_H
#define FCVM_IMAGE_SAY_H

#include "assets.h"

/* Formats one sentence and hands it on; progress and its say may be NULL. */
__attribute__((format(printf, 2, 3))) void asset_say(const struct asset_progress *progress,
						     const char *fmt, ...);

#endif
