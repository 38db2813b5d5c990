/* tiny.h - what the tiny guest says and where it looks, for it and for the tests that run it. */
#ifndef FCVM_TESTS_GUEST_TINY_H
#define FCVM_TESTS_GUEST_TINY_H

#define TINY_WALK_FROM 0x400000u /* 4 MiB: behind the guest itself */
#define TINY_WALK_PAGES 2048u
#define TINY_PAGE 4096u
#define TINY_PATTERN 0x9e3779b9u /* of page n: n * this + 1, never 0 */

#define TINY_FILLED "tiny: filled"
#define TINY_TICK "tick "     /* and the counter, after every walk that found all as it must be */
#define TINY_BAD "tiny: BAD " /* and the page; then it resets the machine */

#endif
