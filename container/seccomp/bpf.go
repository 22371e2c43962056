package seccomp

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// instruction is struct sock_filter: Documentation/networking/filter.rst.
type instruction struct {
	code   uint16
	jt, jf uint8 // how many instructions to skip when the test holds, or does not
	k      uint32
}

const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opReturn = unix.BPF_RET | unix.BPF_K
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opJump   = unix.BPF_JMP | unix.BPF_JA
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAbove  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opFrom   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K

	// struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits.
	offsetNumber, offsetArch, offsetArgs = 0, 4, 16
)

func load(offset uint32) instruction { return instruction{code: opLoad, k: offset} }
func giveBack(k uint32) instruction  { return instruction{code: opReturn, k: k} }
func errno(e unix.Errno) uint32      { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// choose runs yes if the test holds, else no. A conditional jump reaches 255 instructions; farther goes by a plain jump.
func choose(op uint16, k uint32, yes, no []instruction) []instruction {
	var out []instruction
	if len(yes) <= 255 {
		out = append(out, instruction{code: op, k: k, jf: uint8(len(yes))})
	} else {
		out = append(out, instruction{code: op, k: k, jf: 0, jt: 1}, instruction{code: opJump, k: uint32(len(yes))})
	}
	return append(append(out, yes...), no...)
}

// program is the whole filter. It looks at the architecture first: numbers mean different calls in different ones.
func program(rules []rule, fallback uint32, compat bool) []instruction {
	native := append([]instruction{load(offsetNumber)}, body(rules, fallback, nativeCalls)...)
	if x32Bit != 0 {
		native = append([]instruction{load(offsetNumber)}, choose(opFrom, x32Bit, []instruction{giveBack(errno(unix.ENOSYS))}, native[1:])...)
	}
	foreign := []instruction{giveBack(unix.SECCOMP_RET_KILL_PROCESS)}
	if compat {
		other := append([]instruction{load(offsetNumber)}, body(rules, fallback, compatCalls)...)
		foreign = choose(opEqual, compatAudit, other, foreign)
	}
	return append([]instruction{load(offsetArch)}, choose(opEqual, nativeAudit, native, foreign)...)
}

// segment is a run of system call numbers that are treated alike, up to the next segment.
type segment struct {
	from uint32
	code []instruction
}

// body is a binary search over the number, which is in the accumulator.
func body(rules []rule, fallback uint32, table string) []instruction {
	calls, by := verdicts(rules, fallback, table)
	var list []segment
	plain := func(from, result uint32) {
		if n := len(list); n > 0 && len(list[n-1].code) == 1 && list[n-1].code[0] == giveBack(result) {
			return // the same as before it
		}
		list = append(list, segment{from, []instruction{giveBack(result)}})
	}
	next := uint32(0)
	for _, n := range calls {
		if n > next || len(list) == 0 && n > 0 {
			plain(next, fallback)
		}
		if v := by[n]; len(v.conditional) == 0 {
			plain(n, v.otherwise)
		} else {
			list = append(list, segment{n, conditional(v)})
		}
		next = n + 1
	}
	// A call that is newer than the profile does not exist, as on an older kernel: programs then take the older way. "Not
	// permitted" would make them give up.
	if fallback&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO && len(calls) > 0 {
		fallback = errno(unix.ENOSYS)
	}
	plain(next, fallback)
	return search(list)
}

func search(list []segment) []instruction {
	if len(list) == 1 {
		return list[0].code
	}
	middle := len(list) / 2
	return choose(opFrom, list[middle].from, search(list[middle:]), search(list[:middle]))
}

// conditional is the code for a call whose verdict depends on its arguments: one rule after the other, then the rest.
func conditional(v *verdict) []instruction {
	var code []instruction
	for _, r := range v.conditional {
		code = append(code, ruleCode(r)...)
	}
	return append(code, giveBack(v.otherwise))
}

// A target is where a test inside a rule leads.
type target int

const (
	onward target = iota // the next instruction
	pass                 // the next condition
	fail                 // the next rule
)

// line is an instruction whose jumps are not yet counted.
type line struct {
	instruction
	yes, no target
}

// ruleCode tests the conditions one by one and returns the rule's action when all hold. A rule has at most six conditions,
// so that every jump in it is short.
func ruleCode(r rule) []instruction {
	var lines []line
	ends := make([]int, 0, len(r.when)) // where each condition's code ends
	for _, c := range r.when {
		lines = append(lines, conditionCode(c)...)
		ends = append(ends, len(lines))
	}
	code := make([]instruction, 0, len(lines)+1)
	for n, l := range lines {
		for ends[0] <= n {
			ends = ends[1:]
		}
		distance := func(t target) uint8 {
			switch t {
			case pass:
				return uint8(ends[0] - n - 1)
			case fail:
				return uint8(len(lines) - n) // over the return
			}
			return 0
		}
		l.jt, l.jf = distance(l.yes), distance(l.no)
		code = append(code, l.instruction)
	}
	return append(code, giveBack(r.result))
}

// conditionCode is one comparison. An argument has 64 bits and the machine 32, so it is looked at in halves, the upper one
// first.
func conditionCode(c condition) []line {
	low := uint32(offsetArgs + 8*c.arg)
	high := low + 4
	upper, lower := uint32(c.value>>32), uint32(c.value)
	fetch := func(offset uint32) line { return line{instruction: load(offset)} }
	compare := func(op uint16, k uint32, yes, no target) line {
		return line{instruction{code: op, k: k}, yes, no}
	}
	ordered := func(op uint16, yes, no target) []line {
		return []line{
			fetch(high), compare(opAbove, upper, yes, onward), compare(opEqual, upper, onward, no),
			fetch(low), compare(op, lower, yes, no),
		}
	}
	switch c.operator {
	case specs.OpNotEqual:
		return []line{fetch(high), compare(opEqual, upper, onward, pass), fetch(low), compare(opEqual, lower, fail, pass)}
	case specs.OpGreaterThan:
		return ordered(opAbove, pass, fail)
	case specs.OpGreaterEqual:
		return ordered(opFrom, pass, fail)
	case specs.OpLessThan:
		return ordered(opFrom, fail, pass)
	case specs.OpLessEqual:
		return ordered(opAbove, fail, pass)
	}
	// Plain or masked equality.
	and := func(mask uint64) line { return line{instruction: instruction{code: opAnd, k: uint32(mask)}} }
	return []line{
		fetch(high), and(c.mask >> 32), compare(opEqual, upper, onward, fail),
		fetch(low), and(c.mask), compare(opEqual, lower, pass, fail),
	}
}
