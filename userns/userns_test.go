package userns

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if want := os.Getenv("WANT_INSIDE"); want != "" {
		if !Inside() || !HasUser(0) || HasUser(1) || !HasGroup(0) || HasGroup(5) || MaySetGroups() {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOutside(t *testing.T) {
	link, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if Inside() != (link != first) {
		t.Errorf("inside: %v, in %s", Inside(), link)
	}
	if !HasUser(0) || !HasGroup(0) {
		t.Error("there is no root")
	}
}

// In a namespace of its own, with one id, as an unprivileged user has it.
func TestInside(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "WANT_INSIDE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

func TestReadMap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(file, []byte("         0       1000          1\n         1     100000      65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list := readMap(file)
	for id, want := range map[uint32]bool{0: true, 1: true, 65536: true, 65537: false, 1<<32 - 1: false} {
		if got := has(list, id); got != want {
			t.Errorf("%d: %v", id, got)
		}
	}
	if !has(readMap("/nowhere"), 7) {
		t.Error("an unreadable map has no id")
	}
}
