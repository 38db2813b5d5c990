/* schema.h - the field tables as a JSON Schema (draft 2020-12), for editors and CI. */
#ifndef FCVM_SPECS_SCHEMA_H
#define FCVM_SPECS_SCHEMA_H

/* Pretty-printed text with a newline at its end; the caller frees. Always the same. */
char *schema_fleet(void);

#endif
