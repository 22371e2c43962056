package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/test/host"
)

// TestMain lets the test program be what mydocker's main is, and runs the tests on a host made of namespaces.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "sandbox" {
		if code, mine := Main(os.Args[2:]); mine {
			os.Exit(code)
		}
		os.Exit(client(os.Args[2:]))
	}
	os.Exit(host.Run(m))
}

// client is a command line of its own for tests that need another process or another user: DIR up NAME, DIR exec NAME CMD….
func client(args []string) int {
	s := &Store{args[0]}
	switch args[1] {
	case "up":
		sb, err := s.Up(Options{Name: args[2], Hosts: 1})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, note := range sb.Notes {
			fmt.Println(note)
		}
	case "exec":
		sb, err := s.Find(args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code, err := sb.Exec(Command{Args: args[3:], Env: os.Environ(), Dir: "/", In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	case "down":
		if err := s.Down(args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sh(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// outside is all that a sandbox could change on the host, but for its records and its cgroups.
func outside(t testing.TB) string {
	t.Helper()
	return sh(t, `ip -o addr | grep -v fe80; ip route; ip -6 route | grep -v fe80; ls /run/netns; ip netns list
		iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'; nft list ruleset
		cut -d' ' -f2- /proc/self/mountinfo | cut -d' ' -f2-; hostname
		find /run /var/lib/mydocker -not -path '/run/worlds*' -not -path '/run/user*' | sort
		grep -rsH '' /proc/sys/net /proc/sys/kernel /proc/sys/vm | grep -vE 'random/|pty/nr|stat|sched|ns_last_pid|/neigh/|dentry|fastopen_key|unsupported|/spl|nr_hugepages|/numa'`)
}

func cgroupsOfSandboxes(t testing.TB) string {
	return sh(t, `find /sys/fs/cgroup -type d -name 'mydocker-sandbox-*'`)
}

// newStore has its records on the fake host's /run. At the end of the test nothing may be left of its sandboxes.
func newStore(t testing.TB) *Store {
	t.Helper()
	s := &Store{"/run/worlds-" + strings.ReplaceAll(t.Name(), "/", "-")}
	before := outside(t)
	t.Cleanup(func() {
		all, err := s.List()
		must(t, err)
		for _, sb := range all {
			must(t, s.Down(sb.Name))
		}
		if left, err := os.ReadDir(s.Dir); err == nil && len(left) > 1 {
			t.Errorf("records are left: %v", left)
		}
		must(t, os.RemoveAll(s.Dir))
		if left := cgroupsOfSandboxes(t); left != "" {
			t.Errorf("cgroups are left: %s", left)
		}
		if after := outside(t); after != before {
			t.Errorf("the host is not as it was:\n%s", changes(before, after))
		}
	})
	return s
}

func changes(before, after string) string {
	var b strings.Builder
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			b.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			b.WriteString("+ " + line)
		}
	}
	return b.String()
}

func newSandbox(t testing.TB, s *Store, o Options) *Sandbox {
	t.Helper()
	if o.Name == "" {
		o.Name = "t"
	}
	o.Hosts = max(o.Hosts, 1)
	sb, err := s.Up(o)
	must(t, err)
	return sb
}

// in runs a shell line at a place and returns what it printed, and its status.
func in(t testing.TB, sb *Sandbox, place, script string) (string, int) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	code, err := sb.Exec(Command{Place: place, Args: []string{"bash", "-c", script}, Env: os.Environ(), Dir: "/", In: null, Out: out, Err: out})
	must(t, err)
	data, err := os.ReadFile(out.Name())
	must(t, err)
	return strings.TrimSpace(string(data)), code
}

// works is in for what has to succeed.
func works(t testing.TB, sb *Sandbox, place, script string) string {
	t.Helper()
	out, code := in(t, sb, place, script)
	if code != 0 {
		t.Fatalf("on %s: %s: status %d\n%s", place, script, code, out)
	}
	return out
}

func contains(t testing.TB, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %q does not contain %q", what, got, want)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func eventually(t testing.TB, ok func() string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		problem := ok()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
	}
}
