package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Killed in the middle of anything, a sandbox leaves nothing that the next command does not find.
func TestKilledKeeper(t *testing.T) {
	s := newStore(t)
	sb := newSandbox(t, s, Options{Hosts: 2})
	works(t, sb, Host, "sleep 1000 >/dev/null 2>&1 & ip link add br0 type bridge")
	pid, err := sb.Pid()
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, func() string {
		if alive, err := sb.Alive(); alive || err != nil {
			return fmt.Sprint("it lives ", err)
		}
		return ""
	})
	removed, err := s.Sweep()
	must(t, err)
	equal(t, "swept", strings.Join(removed, " "), "t")
	newSandbox(t, s, Options{}) // the name is free
}

func TestKilledHalfWay(t *testing.T) {
	s := newStore(t)
	for i := range 12 {
		cmd := exec.Command("/proc/self/exe", "sandbox", s.Dir, "up", "half")
		must(t, cmd.Start())
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if err := s.Down("half"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if left := cgroupsOfSandboxes(t); left != "" {
			t.Fatalf("after %d ms: %s", i*4, left)
		}
	}
}

// A failure in the middle is told, and leaves nothing.
func TestFailureLeavesNothing(t *testing.T) {
	s := newStore(t)
	// A file of the record's own name in the way of the directory.
	must(t, os.MkdirAll(s.Dir, 0o700))
	must(t, os.WriteFile(filepath.Join(s.Dir, "t"), nil, 0o600))
	if _, err := s.Up(Options{Name: "t", Hosts: 1}); err == nil {
		t.Error("it works")
	}
	must(t, os.RemoveAll(filepath.Join(s.Dir, "t")))
}
