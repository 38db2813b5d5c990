/* The agent and the shim as bytes (decisions 2): one file to install. -I gives the build dir. */
	.section .rodata.embedded, "a", @progbits

	.macro embed name, file
	.balign 64
	.global \name
	.hidden \name
	.type \name, @object
\name:
	.incbin "\file"
	.size \name, . - \name
	.global \name\()_end
	.hidden \name\()_end
\name\()_end:
	.byte 0
	.endm

	embed embedded_agent_bytes, fc-agent
	embed embedded_shim_bytes, libfcvm-uffd.so

	.section .note.GNU-stack, "", @progbits
