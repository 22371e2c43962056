package container

import (
	"encoding/binary"
)

const trampolineMachine = 183 // EM_AARCH64: elf(5)

// trampolineCode is the loop. Beside it the text in the syntax of Go's assembler, from which it was made.
func trampolineCode() []byte {
	var code []byte
	for _, word := range []uint32{
		0xd2800413, 0xf2a00c33, //       MOVD $0x610020, R19   the first row
		0xf9400268,             //             loop: MOVD (R19), R8        the call's number
		0xf9400660,             //                   MOVD 8(R19), R0       its six arguments
		0xf9400a61,             //                   MOVD 16(R19), R1
		0xf9400e62,             //                   MOVD 24(R19), R2
		0xf9401263,             //                   MOVD 32(R19), R3
		0xf9401664,             //                   MOVD 40(R19), R4
		0xf9401a65,             //                   MOVD 48(R19), R5
		0xd4000001,             //                   SVC
		0xf9401e69,             //                   MOVD 56(R19), R9      the row's kind
		0xb13ffc1f,             //                   CMN $4095, R0         results from -4095 on are errors
		0x540000c2,             //                   BHS fail
		0xb4000060,             //                   CBZ R0, next
		0xf100093f,             //                   CMP $2, R9            forks, and this is the parent?
		0x540000a0,             //                   BEQ tell
		0x91010273,             //             next: ADD $64, R19
		0x17fffff1,             //                   B loop
		0xf100053f,             //             fail: CMP $1, R9            lenient?
		0x54ffffa0,             //                   BEQ next
		0xd2800214, 0xf2a00c34, //       tell: MOVD $0x610010, R20
		0xf9000280, //                   MOVD R0, (R20)        the result
		0xf9000693, //                   MOVD R19, 8(R20)      the row
		0xf85f0280, //                   MOVD -16(R20), R0     the descriptor
		0xd1001681, //                   SUB $5, R20, R1       the message's header stands before them
		0xd28002a2, //                   MOVD $21, R2
		0xb27a03e8, //                   MOVD $64, R8          write
		0xd4000001, //                   SVC
		0xb24003e0, //                   MOVD $1, R0
		0xd2800bc8, //                   MOVD $94, R8          exit_group
		0xd4000001, //                   SVC
	} {
		code = binary.LittleEndian.AppendUint32(code, word)
	}
	return code
}
