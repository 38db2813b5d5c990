/* qemu.h - engine qemu: the microvm machine, with KVM where it is fast, else TCG. */
#ifndef FCVM_ENGINE_QEMU_H
#define FCVM_ENGINE_QEMU_H

#include "engine.h"

extern const struct engine_ops qemu_ops;

#endif
