package seccomp

import "golang.org/x/sys/unix"

const (
	nativeAudit = unix.AUDIT_ARCH_AARCH64
	compatAudit = unix.AUDIT_ARCH_ARM
	compatArch  = "SCMP_ARCH_ARM"
	x32Bit      = 0
)
