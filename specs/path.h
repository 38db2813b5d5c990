/* path.h - where in the spec we are, as people write it: "fleets.web.on_clone[0]". */
#ifndef FCVM_SPECS_PATH_H
#define FCVM_SPECS_PATH_H

#include <stddef.h>

struct spec_path {
	char text[512]; /* a longer path is cut: it is only for people */
	size_t len;
};

/* Each returns the length to go back to with path_pop(). */
size_t path_push(struct spec_path *p, const char *key);
size_t path_push_index(struct spec_path *p, size_t index);
void path_pop(struct spec_path *p, size_t len);

#endif
