/* fake_vmm.h - the unit test binary, run as FCVM_QEMU, is a QEMU that speaks just enough QMP.
 * What it does wrong is one word in the file "script" of its working directory:
 *   ok           nothing
 *   silent       says nothing at all
 *   dies         prints two lines on stderr and exits with status 1 before the greeting
 *   stuck        runs, but its query-status says it does not
 *   no-migrate   reports a failed migration
 *   dies-saving  exits in the middle of a migration
 *   no-shim      does not write the shim's byte
 *   wrong-shim   writes the byte of the other backend
 *   completed    calls the incoming migration completed, sends no RESUME and does not run
 *   stubborn     ignores system_powerdown */
#ifndef FCVM_TESTS_FAKE_VMM_H
#define FCVM_TESTS_FAKE_VMM_H

/* Absolute path of this binary. */
const char *fake_vmm_path(void);

#endif
