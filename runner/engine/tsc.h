/* tsc.h - the rate of this machine's time stamp counter. */
#ifndef FCVM_ENGINE_TSC_H
#define FCVM_ENGINE_TSC_H

#include <stdint.h>

/* Takes 20 ms. Under TCG a guest's RDTSC is the host's: told its rate on the kernel command line,
 * the guest need not calibrate it against a PIT that microvm does not wire up. */
uint64_t tsc_measure_khz(void);

#endif
