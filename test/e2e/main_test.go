package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// binary is the mydocker under test.
var binary string

// TestMain runs the tests on a host made of namespaces: it starts itself again through in-namespace.sh.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_HOST") == "" {
		os.Exit(onFakeHost(os.Args[1:]))
	}
	binary = os.Getenv("MYDOCKER")
	if os.Getenv("FRESH_HOST") == "" {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// onFakeHost starts this test binary on a fresh fake host and returns its exit status.
func onFakeHost(args []string, env ...string) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: a host made of namespaces needs root")
		return 1
	}
	if os.Getenv("MYDOCKER") == "" {
		built, err := build()
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		defer os.RemoveAll(filepath.Dir(built))
		os.Setenv("MYDOCKER", built)
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	cmd := exec.Command("../in-namespace.sh", append([]string{self}, args...)...)
	cmd.Env = append(append(os.Environ(), env...), makeDebianImages())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// If we are killed, so is the fake host.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil {
			return cmd.ProcessState.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return 0
}

// build makes the binary as `make` does, but for the stripping.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "mydocker-e2e")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "mydocker")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", file, "../..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mydocker: %w\n%s", err, out)
	}
	return file, nil
}

// prepare makes what all tests use, the image and the default network, so that they are no test's leak.
func prepare() error {
	for _, args := range [][]string{{"image", "bootstrap"}, {"run", "--rm", "busybox", "true"}} {
		if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("mydocker %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// onFreshHost is for tests of what happens on a host that has never seen mydocker, or whose firewall and settings the
// test wants to change. It is true inside such a host; outside it runs the calling test there and reports on it.
//
//	if !onFreshHost(t) { return }
func onFreshHost(t *testing.T) bool {
	t.Helper()
	if os.Getenv("FRESH_HOST") == t.Name() {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../in-namespace.sh", self, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "FRESH_HOST="+t.Name(), "TMPDIR=/var/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("on a fresh host: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("on a fresh host:\n%s", out)
	}
	return false
}

// patience is a time limit, longer where everything is slow (an interpreted virtual machine).
func patience(d time.Duration) time.Duration {
	if factor, err := strconv.Atoi(os.Getenv("MYDOCKER_TEST_SLOW")); err == nil && factor > 0 {
		return min(d*time.Duration(factor), 10*time.Minute)
	}
	return d
}

// hangs is how long something may take that has no reason to take long, on a machine that has a lot else to do: only what hangs takes
// longer. A test that fails needs it once.
const hangs = 3 * time.Minute

// eventually polls until ok says "" or the patience is at its end; the test then fails with what ok said last.
func eventually(t testing.TB, ok func() string) {
	t.Helper()
	deadline := time.Now().Add(patience(time.Minute))
	for {
		problem := ok()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
