// Package seccomp turns the system call rules of a container's config into the program with which the kernel judges each
// system call: classic BPF, seccomp(2). It is pure: profile in, bytes out.
//
// The names of system calls and their numbers are tables (table_*.go, generated). libseccomp does the same work, but in C.
//
// See it live: `grep Seccomp /proc/PID/status` (2 means a filter), or in a container: `unshare --user` is refused.
//
// What it cannot do: the x32 ABI, whose calls fail with "function not implemented".
package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run ./gen

// Filter is a compiled profile.
type Filter struct {
	Code  []byte // struct sock_filter, eight bytes each
	Flags uint64 // for seccomp(2)
}

// Compile translates a profile. What it does not know or cannot do is refused by the name of the member, but for the
// names of system calls: profiles name those of all architectures and kernels.
func Compile(p *specs.LinuxSeccomp) (*Filter, error) {
	flags, err := filterFlags(p)
	if err != nil {
		return nil, err
	}
	fallback, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp.defaultAction: %w", err)
	}
	rules, err := parseRules(p)
	if err != nil {
		return nil, err
	}
	if flags, err = listenerFlags(p, flags); err != nil {
		return nil, err
	}
	compat := false
	for _, a := range p.Architectures {
		if !knownArch(a) {
			return nil, fmt.Errorf("linux.seccomp.architectures: unknown architecture %q", a)
		}
		compat = compat || a == compatArch
	}
	code := program(rules, fallback, compat)
	const most = 4096 // BPF_MAXINSNS
	if len(code) > most {
		return nil, fmt.Errorf("linux.seccomp: the filter would have %d instructions, the kernel takes %d", len(code), most)
	}
	f := &Filter{Flags: flags, Code: make([]byte, 0, 8*len(code))}
	for _, i := range code {
		f.Code = binary.LittleEndian.AppendUint16(f.Code, i.code)
		f.Code = append(f.Code, i.jt, i.jf)
		f.Code = binary.LittleEndian.AppendUint32(f.Code, i.k)
	}
	return f, nil
}

// knownArch: profiles are written for many machines, and name them all; what is none of the runtime spec's is a slip of the pen.
func knownArch(a specs.Arch) bool {
	name, ok := strings.CutPrefix(string(a), "SCMP_ARCH_")
	return ok && slices.Contains(strings.Fields(`X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE
		S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB`), name)
}

func filterFlags(p *specs.LinuxSeccomp) (flags uint64, err error) {
	if p.Flags == nil {
		// As runc: without it the kernel would switch on slow defences against speculation for every filtered process.
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	for _, f := range p.Flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			flags |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// The process that installs the filter has one thread.
		default:
			return 0, fmt.Errorf("linux.seccomp.flags: %q is not supported", f)
		}
	}
	return flags, nil
}

// Handing over the listener takes this call, which the listener can therefore not be asked about.
const handOverCall = "sendmsg"

// listenerFlags asks for a listener where a rule asks it: seccomp_unotify(2).
func listenerFlags(p *specs.LinuxSeccomp, flags uint64) (uint64, error) {
	asks := false
	for _, s := range p.Syscalls {
		if s.Action != specs.ActNotify {
			continue
		}
		if asks = true; slices.Contains(s.Names, handOverCall) {
			return 0, fmt.Errorf("linux.seccomp.syscalls: SCMP_ACT_NOTIFY for %s would be asked before anybody listens", handOverCall)
		}
	}
	switch {
	case p.DefaultAction == specs.ActNotify:
		return 0, errors.New("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would be asked before anybody listens: name the calls")
	case asks && p.ListenerPath == "":
		return 0, errors.New("linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs a socket on which somebody listens")
	case !asks && (p.ListenerPath != "" || p.ListenerMetadata != ""):
		return 0, errors.New("linux.seccomp.listenerPath: no rule has the action SCMP_ACT_NOTIFY, so nobody would be asked")
	case !asks && flags&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0:
		return 0, fmt.Errorf("linux.seccomp.flags: %q needs a rule with SCMP_ACT_NOTIFY", specs.LinuxSeccompFlagWaitKillableRecv)
	case asks:
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	return flags, nil
}

// action is the value that the filter returns to the kernel: what to do, and a small number for it.
func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	value := uint32(unix.EPERM)
	if errno != nil {
		most := uint(0xffff)
		switch a {
		case specs.ActErrno:
			most = 4095 // MAX_ERRNO: the kernel would take a larger one for this
		case specs.ActTrace:
		default:
			return 0, fmt.Errorf("errnoRet: the action %s gives no errno", a)
		}
		if *errno > most {
			return 0, fmt.Errorf("errno %d is too large", *errno)
		}
		value = uint32(*errno)
	}
	switch a {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | value, nil
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | value, nil
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	}
	return 0, fmt.Errorf("action %q is not supported", a)
}

// rule is one line of a profile: for these calls, if all the conditions hold, this action.
type rule struct {
	names  []string
	when   []condition
	result uint32
}

type condition struct {
	arg      uint
	operator specs.LinuxSeccompOperator
	value    uint64
	mask     uint64 // for masked equality
}

func parseRules(p *specs.LinuxSeccomp) ([]rule, error) {
	var list []rule
	for _, s := range p.Syscalls {
		if len(s.Names) == 0 {
			return nil, errors.New("linux.seccomp.syscalls: an entry without names")
		}
		result, err := action(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("linux.seccomp.syscalls: %s: %w", s.Names[0], err)
		}
		conditions, repeated, err := parseConditions(s)
		if err != nil {
			return nil, fmt.Errorf("linux.seccomp.syscalls: %s: %w", s.Names[0], err)
		}
		if !repeated {
			list = append(list, rule{s.Names, conditions, result})
			continue
		}
		// As runc and libseccomp: several conditions on the same argument are alternatives, each a rule of its own.
		for _, c := range conditions {
			list = append(list, rule{s.Names, []condition{c}, result})
		}
	}
	return list, nil
}

func parseConditions(s specs.LinuxSyscall) (list []condition, repeated bool, err error) {
	var seen [6]bool
	for _, a := range s.Args {
		if a.Index > 5 {
			return nil, false, fmt.Errorf("a system call has no argument %d", a.Index)
		}
		repeated = repeated || seen[a.Index]
		seen[a.Index] = true
		c := condition{arg: a.Index, operator: a.Op, value: a.Value, mask: ^uint64(0)}
		switch a.Op {
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual:
		case specs.OpMaskedEqual:
			c.mask, c.value = a.Value, a.ValueTwo
		default:
			return nil, false, fmt.Errorf("unknown operator %q", a.Op)
		}
		list = append(list, c)
	}
	return list, repeated, nil
}

// numbers reads a table: the number of each name.
func numbers(table string) map[string]uint32 {
	m := make(map[string]uint32, 480)
	next := uint32(0)
	for word := range strings.FieldsSeq(table) {
		if at, ok := strings.CutPrefix(word, "@"); ok {
			n, _ := strconv.ParseUint(at, 10, 32) // generated
			next = uint32(n)
			continue
		}
		m[word] = next
		next++
	}
	return m
}

// verdict is what happens to one system call: the rules with conditions in their order, then one without.
type verdict struct {
	conditional []rule
	otherwise   uint32
	decided     bool // a rule without conditions has been seen
}

// verdicts sorts the rules by system call.
func verdicts(rules []rule, fallback uint32, table string) (calls []uint32, by map[uint32]*verdict) {
	number := numbers(table)
	by = make(map[uint32]*verdict, len(number))
	for _, r := range rules {
		for _, name := range r.names {
			n, known := number[name]
			if !known {
				continue
			}
			v := by[n]
			if v == nil {
				v = &verdict{otherwise: fallback}
				by[n] = v
				calls = append(calls, n)
			}
			switch {
			case len(r.when) > 0:
				v.conditional = append(v.conditional, r)
			case !v.decided:
				v.otherwise, v.decided = r.result, true
			}
		}
	}
	slices.Sort(calls)
	return calls, by
}
