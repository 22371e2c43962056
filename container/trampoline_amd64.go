package container

const trampolineMachine = 62 // EM_X86_64: elf(5)

// trampolineCode is the loop. Beside it the text for `as`, from which it was made.
func trampolineCode() []byte {
	return []byte{
		0xbb, 0x20, 0x00, 0x61, 0x00, //        mov $0x610020, %ebx    the first row
		0x48, 0x8b, 0x03, //              loop: mov (%rbx), %rax       the call's number
		0x48, 0x8b, 0x7b, 0x08, //              mov 8(%rbx), %rdi      its six arguments
		0x48, 0x8b, 0x73, 0x10, //              mov 16(%rbx), %rsi
		0x48, 0x8b, 0x53, 0x18, //              mov 24(%rbx), %rdx
		0x4c, 0x8b, 0x53, 0x20, //              mov 32(%rbx), %r10
		0x4c, 0x8b, 0x43, 0x28, //              mov 40(%rbx), %r8
		0x4c, 0x8b, 0x4b, 0x30, //              mov 48(%rbx), %r9
		0x0f, 0x05, //                          syscall
		0x8b, 0x4b, 0x38, //                    mov 56(%rbx), %ecx     the row's kind
		0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, //  cmp $-4095, %rax       results from -4095 on are errors
		0x73, 0x10, //                          jae fail
		0x48, 0x85, 0xc0, //                    test %rax, %rax
		0x74, 0x05, //                          je next
		0x83, 0xf9, 0x02, //                    cmp $2, %ecx           forks, and this is the parent?
		0x74, 0x0b, //                          je tell
		0x48, 0x83, 0xc3, 0x40, //        next: add $64, %rbx
		0xeb, 0xc8, //                          jmp loop
		0x83, 0xf9, 0x01, //              fail: cmp $1, %ecx           lenient?
		0x74, 0xf5, //                          je next
		0xbe, 0x10, 0x00, 0x61, 0x00, //  tell: mov $0x610010, %esi
		0x48, 0x89, 0x06, //                    mov %rax, (%rsi)       the result
		0x48, 0x89, 0x5e, 0x08, //              mov %rbx, 8(%rsi)      the row
		0x48, 0x8b, 0x7e, 0xf0, //              mov -16(%rsi), %rdi    the descriptor
		0x48, 0x83, 0xee, 0x05, //              sub $5, %rsi           the message's header stands before them
		0xba, 0x15, 0x00, 0x00, 0x00, //        mov $21, %edx
		0xb8, 0x01, 0x00, 0x00, 0x00, //        mov $1, %eax           write
		0x0f, 0x05, //                          syscall
		0xbf, 0x01, 0x00, 0x00, 0x00, //        mov $1, %edi
		0xb8, 0xe7, 0x00, 0x00, 0x00, //        mov $231, %eax         exit_group
		0x0f, 0x05, //                          syscall
	}
}
