package seccomp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// call is struct seccomp_data: what the kernel shows a filter.
type call struct {
	number, arch uint32
	args         [6]uint64
}

// Allows says whether a call of this machine's own kind passes, without anybody being asked.
func (f *Filter) Allows(number uintptr, args ...uint64) bool {
	c := call{number: uint32(number), arch: nativeAudit}
	copy(c.args[:], args)
	verdict, ok := f.run(c)
	return ok && verdict == unix.SECCOMP_RET_ALLOW
}

// run is the filter's verdict, as the kernel would find it: there are no loops, and jumps go forward. It is not ok when the code
// is none of ours.
func (f *Filter) run(c call) (verdict uint32, ok bool) {
	var data [64]byte
	le := binary.LittleEndian
	le.PutUint32(data[offsetNumber:], c.number)
	le.PutUint32(data[offsetArch:], c.arch)
	for i, a := range c.args {
		le.PutUint64(data[offsetArgs+8*i:], a)
	}
	acc := uint32(0)
	for pc := 0; pc*8+8 <= len(f.Code); pc++ {
		op, yes, no, k := le.Uint16(f.Code[pc*8:]), int(f.Code[pc*8+2]), int(f.Code[pc*8+3]), le.Uint32(f.Code[pc*8+4:])
		jump := func(holds bool) {
			if holds {
				pc += yes
			} else {
				pc += no
			}
		}
		switch op {
		case opLoad:
			if k > uint32(len(data)-4) {
				return 0, false
			}
			acc = le.Uint32(data[k:])
		case opAnd:
			acc &= k
		case opReturn:
			return k, true
		case opJump:
			pc += int(k)
		case opEqual:
			jump(acc == k)
		case opAbove:
			jump(acc > k)
		case opFrom:
			jump(acc >= k)
		default:
			return 0, false
		}
	}
	return 0, false
}
