// Package host runs the tests of a package on a host made of namespaces (../in-namespace.sh), so that they can have links, rules, mounts
// and cgroups of a machine of their own, and the real one is not touched.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Run is the last line of a TestMain: os.Exit(host.Run(m)). On the real host it starts the test program again on a made one, and gives
// its status.
func Run(m *testing.M) int {
	if os.Getenv("FAKE_HOST") != "" {
		return m.Run()
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(filepath.Dir(file)), "in-namespace.sh"), append([]string{self}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // a test binary that is killed takes its host along
	if err = cmd.Run(); err == nil {
		return 0
	}
	var status *exec.ExitError
	if errors.As(err, &status) {
		return max(status.ExitCode(), 1) // the tests have said why
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
