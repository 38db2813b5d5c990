/* helper.h - parsing a text in a test and comparing everything fcvm says about it. */
#ifndef FCVM_TESTS_SPECS_HELPER_H
#define FCVM_TESTS_SPECS_HELPER_H

#include "fleet.h"

/* What parsing says (problems, or warnings), then what planning refuses. The caller frees. */
char *spec_says(const char *name, const char *text, size_t len, const struct strv *sets);
/* The same for a text that ends with NUL, called t.yaml, with sets separated by blanks. */
char *spec_says_str(const char *text, const char *sets);
/* A spec that must parse; warnings are ignored. */
struct fleet *spec_parse(const char *text);
/* Only the first line of each problem, without the file's name. The caller frees. */
char *spec_first_lines(const char *text, const char *sets);

/* A baseline and a fleet in front of which more can stand. */
#define SPEC_HEAD "apiVersion: fcvm/v1\nname: t\n"
#define SPEC_WEB "baselines:\n  web: { image: \"oci:web\", healthcheck: { tcp: \":80\" } }\n"

#endif
