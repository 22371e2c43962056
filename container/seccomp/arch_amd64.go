package seccomp

import "golang.org/x/sys/unix"

const (
	nativeAudit = unix.AUDIT_ARCH_X86_64
	compatAudit = unix.AUDIT_ARCH_I386
	compatArch  = "SCMP_ARCH_X86"
	x32Bit      = 0x40000000 // asm/unistd.h, __X32_SYSCALL_BIT
)
