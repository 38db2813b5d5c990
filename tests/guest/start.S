/* start.S - where a PVH boot enters: 32-bit protected mode, flat segments, no paging, no stack. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18 /* name, value, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long _start

	.section .text.start, "ax"
	.code32
	.globl _start
_start:
	cli
	cld
	movl $stack_end, %esp
	call tiny_main
1:	hlt
	jmp 1b

	.section .bss
	.align 16
	.skip 4096
stack_end:
	.section .note.GNU-stack, "", @progbits
