#include "textflag.h"

// func prlimit(resource uintptr, old *[2]uint64)
TEXT ·prlimit(SB), NOSPLIT, $0-16
	MOVQ $302, AX // prlimit64
	MOVQ $0, DI   // this process
	MOVQ resource+0(FP), SI
	MOVQ $0, DX   // no new limit
	MOVQ old+8(FP), R10
	SYSCALL
	RET
