/* qemu_find.h - which qemu-system-x86_64 is it? */
#ifndef FCVM_ENGINE_QEMU_FIND_H
#define FCVM_ENGINE_QEMU_FIND_H

#include "err.h"
#include "host.h"
#include "probe.h"

/* FCVM_QEMU, else PATH; absolute, the caller's. Cheap. */
int qemu_find(const struct host *host, char **ret, struct err *err);
/* Asks the binary, for probe_binary(); ERR_HOST when it is too old. */
int qemu_ask(const char *binary, struct probe_binary *ret, struct err *err);
/* "QEMU emulator version 7.2.22 (Debian...)" to "7.2.22"; pure. */
int qemu_parse_version(const char *text, char *ret, size_t size, struct err *err);

#endif
