/* firecracker.h - engine_ops of Firecracker: KVM only, for production. */
#ifndef FCVM_ENGINE_FIRECRACKER_H
#define FCVM_ENGINE_FIRECRACKER_H

#include "engine.h"

extern const struct engine_ops firecracker_ops;

#endif
