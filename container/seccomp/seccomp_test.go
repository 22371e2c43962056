package seccomp

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	profiles "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// judge runs a filter as the kernel would.
func judge(t *testing.T, f *Filter, c call) uint32 {
	t.Helper()
	verdict, ok := f.run(c)
	if !ok {
		t.Fatal("the filter ends without a verdict")
	}
	return verdict
}

// plainly is the meaning of a profile, computed without any cleverness.
func plainly(p *specs.LinuxSeccomp, name string, args [6]uint64) uint32 {
	conditional, matched, otherwise, decided := uint32(0), false, uint32(0), false
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			if n != name {
				continue
			}
			result, _ := action(s.Action, s.ErrnoRet)
			seen, repeated := map[uint]bool{}, false
			all, any := true, false
			for _, a := range s.Args {
				repeated = repeated || seen[a.Index]
				seen[a.Index] = true
				v, ok := args[a.Index], false
				switch a.Op {
				case specs.OpEqualTo:
					ok = v == a.Value
				case specs.OpNotEqual:
					ok = v != a.Value
				case specs.OpGreaterThan:
					ok = v > a.Value
				case specs.OpGreaterEqual:
					ok = v >= a.Value
				case specs.OpLessThan:
					ok = v < a.Value
				case specs.OpLessEqual:
					ok = v <= a.Value
				case specs.OpMaskedEqual:
					ok = v&a.Value == a.ValueTwo
				}
				all, any = all && ok, any || ok
			}
			switch {
			case len(s.Args) == 0 && !decided:
				otherwise, decided = result, true
			case len(s.Args) > 0 && (all && !repeated || any && repeated) && !matched:
				conditional, matched = result, true
			}
		}
	}
	switch {
	case matched:
		return conditional
	case decided:
		return otherwise
	}
	fallback, _ := action(p.DefaultAction, p.DefaultErrnoRet)
	return fallback
}

// TestDockersProfile compares the compiled filter with the meaning of the profile, for every system call and for
// arguments around every number that the profile names.
func TestDockersProfile(t *testing.T) {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	p, err := profiles.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, p, f)
	t.Logf("%d instructions", len(f.Code)/8)
}

func compare(t *testing.T, p *specs.LinuxSeccomp, f *Filter) {
	t.Helper()
	interesting := []uint64{0, 1, 1 << 32, ^uint64(0)}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo} {
				interesting = append(interesting, v, v-1, v+1, v|1<<32, ^v)
			}
		}
	}
	for name, number := range numbers(nativeCalls) {
		for _, v := range interesting {
			c := call{number: number, arch: nativeAudit, args: [6]uint64{v, v, v, v, v, v}}
			got, want := judge(t, f, c), plainly(p, name, c.args)
			if got != want && got != errno(unix.ENOSYS) {
				t.Fatalf("%s(%#x): %#x, want %#x", name, v, got, want)
			}
		}
	}
}

// TestRandomProfiles does the same for profiles made of dice: every operator, several arguments, all actions.
func TestRandomProfiles(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	operators := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual}
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActTrap, specs.ActLog, specs.ActTrace, specs.ActKill}
	names := strings.Fields(nativeCalls)
	for range 60 {
		p := &specs.LinuxSeccomp{DefaultAction: actions[dice.IntN(len(actions))]}
		for range dice.IntN(16) {
			s := specs.LinuxSyscall{Action: actions[dice.IntN(len(actions))]}
			for range 1 + dice.IntN(20) {
				s.Names = append(s.Names, names[dice.IntN(len(names))])
			}
			for range dice.IntN(3) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{
					Index: uint(dice.IntN(6)), Op: operators[dice.IntN(len(operators))], Value: dice.Uint64() >> dice.IntN(64), ValueTwo: dice.Uint64() >> dice.IntN(64),
				})
			}
			p.Syscalls = append(p.Syscalls, s)
		}
		f, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, f)
	}
}

func TestOtherArchitectures(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno}}}
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := judge(t, f, call{number: 3, arch: compatAudit}); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("an architecture that is not listed: %#x", got)
	}
	p.Architectures = []specs.Arch{compatArch}
	if f, err = Compile(p); err != nil {
		t.Fatal(err)
	}
	number := numbers(compatCalls)["read"]
	if got := judge(t, f, call{number: number, arch: compatAudit}); got != errno(unix.EPERM) {
		t.Errorf("read in the listed architecture: %#x", got)
	}
	if got := judge(t, f, call{number: number + 1, arch: compatAudit}); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("the call after it: %#x", got)
	}
	if x32Bit != 0 {
		if got := judge(t, f, call{number: x32Bit, arch: nativeAudit}); got != errno(unix.ENOSYS) {
			t.Errorf("x32: %#x", got)
		}
	}
}

// TestTables compares our tables with the library's from which they were made.
func TestTables(t *testing.T) {
	native, compat := arch.X86_64, arch.I386
	if arch.AARCH64.ID == arch.AuditArch(nativeAudit) {
		native, compat = arch.AARCH64, arch.ARM
	}
	for _, one := range []struct {
		info  *arch.Info
		table string
	}{{native, nativeCalls}, {compat, compatCalls}} {
		mine := numbers(one.table)
		if len(mine) != len(one.info.SyscallNames) {
			t.Errorf("%s: %d calls, the library knows %d", one.info.Name, len(mine), len(one.info.SyscallNames))
		}
		for name, n := range one.info.SyscallNames {
			if one.info == arch.AARCH64 && name == "fstatat" {
				name = "newfstatat" // TestNamesOfArm64
			}
			if mine[name] != uint32(n) {
				t.Errorf("%s: %s is %d, the library says %d", one.info.Name, name, mine[name], n)
			}
		}
	}
}

// TestNamesOfArm64: arm64 has no system call that the x86 machines or Docker's profile do not know by the same name. One that
// is called otherwise is refused to every container, whatever its profile says: stat(2) was, as "fstatat".
func TestNamesOfArm64(t *testing.T) {
	text, err := os.ReadFile("table_arm64.go")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the sources are not here: a test binary that was carried elsewhere")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "nativeCalls = `")
	table, _, _ = strings.Cut(table, "`")
	known := map[string]bool{"arch_specific_syscall": true} // the first of sixteen numbers that are kept for such
	for name := range arch.X86_64.SyscallNames {
		known[name] = true
	}
	for _, rule := range profiles.DefaultProfile().Syscalls {
		for _, name := range rule.Names {
			known[name] = true
		}
	}
	mine := numbers(table)
	for name, n := range mine {
		if !known[name] {
			t.Errorf("%d is called %s here, and by nobody else", n, name)
		}
	}
	// What every program needs: asm-generic/unistd.h.
	for name, n := range map[string]uint32{"newfstatat": 79, "fstat": 80, "openat": 56, "read": 63, "mmap": 222, "execve": 221, "clone": 220, "clone3": 435, "statx": 291} {
		if mine[name] != n {
			t.Errorf("%s is %d, not %d", name, mine[name], n)
		}
	}
}

func TestRefusals(t *testing.T) {
	errnoRet := uint(1 << 20)
	for _, one := range []struct {
		text string
		p    specs.LinuxSeccomp
	}{
		{"defaultAction", specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_NONSENSE"}},
		{"listenerPath: no rule", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/x"}},
		{"flags", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"X"}}},
		{"architecture", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"X"}}},
		{"too large", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &errnoRet}},
		{"SCMP_ACT_NOTIFY", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActNotify}}}},
		{"operator", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{{Op: "X"}}}}}},
		{"argument", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}}},
	} {
		if _, err := Compile(&one.p); err == nil || !strings.Contains(err.Error(), one.text) {
			t.Errorf("%v, want %q", err, one.text)
		}
	}
}
