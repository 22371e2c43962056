package container

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container/seccomp"
)

func BenchmarkSeccompProfile(b *testing.B) {
	for b.Loop() {
		_, err := DefaultSeccomp(DefaultCapabilities())
		must(b, err)
	}
}

func BenchmarkSeccompCompile(b *testing.B) {
	p, err := DefaultSeccomp(DefaultCapabilities())
	must(b, err)
	for b.Loop() {
		_, err := seccomp.Compile(p)
		must(b, err)
	}
}

func BenchmarkSeccompJSON(b *testing.B) {
	p, err := DefaultSeccomp(DefaultCapabilities())
	must(b, err)
	for b.Loop() {
		_, err := json.Marshal(p)
		must(b, err)
	}
}

// TestSeccomp proves the filter in a real container, for the first process and for exec, with and without
// no_new_privs, as root and as an ordinary user.
func TestSeccomp(t *testing.T) {
	for _, noNewPrivs := range []bool{false, true} {
		for _, uid := range []uint32{0, 1000} {
			o := shell("sleep 1000")
			var err error
			o.Seccomp, err = DefaultSeccomp(DefaultCapabilities())
			must(t, err)
			o.NoNewPrivileges = noNewPrivs
			o.User.UID, o.User.GID = uid, uid
			t.Run(fmt.Sprintf("nnp=%v,uid=%d", noNewPrivs, uid), func(t *testing.T) {
				c := start(t, o)
				first, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid()))
				must(t, err)
				if !strings.Contains(string(first), "\nSeccomp:\t2\n") {
					t.Error("the first process has no filter")
				}
				res, err := execIn(t, c, specs.Process{
					Args: []string{"sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true; echo $?"}, NoNewPrivileges: noNewPrivs, User: o.User,
				})
				must(t, err)
				if !strings.Contains(res.out, "Seccomp:\t2\n") || !strings.Contains(res.out, "Operation not permitted\n1\n") {
					t.Errorf("exec: %s", res.out)
				}
			})
		}
	}
}

// TestSeccompKill lets a filter kill what the runtime itself needs before the command: nothing of Go may run under it.
func TestSeccompStrict(t *testing.T) {
	o := defaults("echo", "hello")
	o.NoNewPrivileges = true
	denied := []string{"clone", "clone3", "futex", "epoll_create1", "pipe2", "sigaltstack", "socket", "setresuid", "capset", "memfd_create", "execveat"}
	o.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: denied, Action: specs.ActKillProcess}}}
	res, err := run(t, newRuntime(t), newBundle(t), o)
	must(t, err)
	if res.out != "hello\n" {
		t.Fatalf("%v %q", res.exit, res.out)
	}
}
