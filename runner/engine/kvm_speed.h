/* kvm_speed.h - does /dev/kvm run guests, and at what speed? */
#ifndef FCVM_ENGINE_KVM_SPEED_H
#define FCVM_ENGINE_KVM_SPEED_H

#include "err.h"

/* Runs a ring-0 loop for about 5 ms in a throw-away process. *ret_minsn_s: million instructions a
 * second. Fails with a sentence when /dev/kvm is absent, refused, or runs nothing. */
int kvm_speed_measure(double *ret_minsn_s, struct err *err);

#endif
