package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/state"
)

// stepping runs a command line whose standard input gives the answers.
func stepping(t *testing.T, answers string, args ...string) (out, errs string, code int) {
	t.Helper()
	dir := t.TempDir()
	var files [3]*os.File
	for i, name := range []string{"in", "out", "err"} {
		if name == "in" {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(answers), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	s := &session{lookup: noEnvironment, version: "1.2.3", root: state.DefaultRoot(), streams: engine.Streams{In: files[0], Out: files[1], Err: files[2]}}
	code = s.report(s.dispatch(args))
	read := func(f *os.File) string {
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	return read(files[1]), read(files[2]), code
}

// hostNow is what a container or a network could leave behind on the host.
func hostNow(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, script := range []string{
		"ip -o link | sed 's/: <.*//'", "ip netns list", "iptables-save | grep -v '^[#:]'", "nft list tables", "ip route", "find /run/mydocker/* /var/lib/mydocker/containers /var/lib/mydocker/names -type f 2>/dev/null | grep -vE 'locks|ipam|@seccomp|events'",
		"wc -l < /proc/self/mountinfo", "cat /proc/sys/net/ipv4/ip_forward", "ls -d /sys/fs/cgroup/*/mydocker/* 2>/dev/null | grep -E '[0-9a-f]{64}'",
	} {
		out, _ := exec.Command("sh", "-c", script).CombinedOutput() // grep finds nothing: status 1
		fmt.Fprintf(&b, "$ %s\n%s", script, out)
	}
	return b.String()
}

// usedHost is a host on which a container has been before, with no network in the kernel: what stays for good (the firewall's empty
// tables, directories) is there already.
func usedHost(t *testing.T) string {
	t.Helper()
	busyboxImage(t)
	cid := filepath.Join(t.TempDir(), "cid")
	my(t, "run", "--rm", "--cidfile", cid, "busybox", "true")
	s := &session{lookup: noEnvironment, root: state.DefaultRoot()}
	e, err := s.engine()
	if err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(cid)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // the reaper
		if _, err := os.Stat(e.Root.Container(string(id))); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the container of a run --rm is still there")
		}
	}
	networks, err := e.Networks().Realised()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		if err := e.Networks().Withdraw(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	return hostNow(t)
}

// settledHost waits until the host is as wanted: a reaper may still be at work.
func settledHost(t *testing.T, what, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = hostNow(t); got == want {
			return
		}
	}
	t.Fatalf("%s leaves something:\n%s\n--- before:\n%s", what, got, want)
}

// prompts are the numbers of the operations that were asked about.
func prompts(errs string) (numbers []string) {
	for _, m := range regexp.MustCompile(`(?m)^ *(\d+)  .*\n(?: +.*\n)*? +# .*\n +next \(Enter\)`).FindAllStringSubmatch(errs, -1) {
		numbers = append(numbers, m[1])
	}
	return numbers
}

func TestStepThroughARun(t *testing.T) {
	usedHost(t)
	my(t, "network", "create", "stepnet")
	before := hostNow(t)
	out, errs, code := stepping(t, strings.Repeat("\n", 5)+"c\n", "step", "run", "--rm", "--name", "stepped", "-net", "stepnet", "busybox", "echo", "hello")
	if code != 0 || out != "hello\n" {
		t.Fatalf("status %d, %q\n%s", code, out, errs)
	}
	if got := strings.Join(prompts(errs), " "); got != "1 2 3 4 5 6" {
		t.Errorf("asked about %s\n%s", got, errs)
	}
	for _, want := range []string{"  1  ip netns add stepped", "# a cable from the bridge into the container", "# execve of the command"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	settledHost(t, "a run that was walked through", before)

	// Quit, at many places and by the end of the input: everything is undone, also the network that the run has made ready.
	my(t, "network", "rm", "stepnet")
	my(t, "network", "create", "stepnet")
	for n := 0; n < 112; n += 16 {
		answers := strings.Repeat("n\n", n) + "q\n"
		if n%32 == 0 {
			answers = strings.Repeat("n\n", n) // nobody answers any more
		}
		for _, mode := range [][]string{{"--rm"}, {"-d"}} {
			before := hostNow(t)
			line := append(append([]string{"step", "run"}, mode...), "--name", "stepped", "-net", "stepnet", "-p", "8080:80", "busybox", "sleep", "100")
			out, errs, code := stepping(t, answers, line...)
			if code != 130 || out != "" || !strings.HasSuffix(errs, "Stopped; everything is undone.\n") || len(prompts(errs)) != n+1 {
				t.Fatalf("%v quit at %d: status %d, asked about %d\n%s%s", mode, n, code, len(prompts(errs)), out, errs)
			}
			undoneWasDone(t, errs)
			settledHost(t, fmt.Sprintf("%v quit at %d", mode, n), before)
		}
	}
	refused(t, 1, "step cannot be walked through itself", "step", "step", "ps")
	refused(t, 1, "requires at least 1 argument", "step")
	refused(t, 125, `--lang: invalid language "fr": en or zh`, "step", "--lang", "fr", "ps")
	if _, errs, code := stepping(t, "", "step", "--lang", "zh", "version"); code != 0 || !strings.Contains(errs, "没有可以单步执行的内容") {
		t.Errorf("a command without operations: %d %s", code, errs)
	}
}

// undoneWasDone holds each operation that is shown as an undoing against those that were let pass: all but the last that was asked about.
func undoneWasDone(t *testing.T, errs string) {
	t.Helper()
	heads := regexp.MustCompile(`(?m)^ *\d+  `).FindAllStringIndex(errs, -1)
	done := errs[:heads[len(heads)-1][0]]
	inverse := strings.NewReplacer("rmdir ", "mkdir -p ", "link del ", "link add ", "netns del ", "netns add ", "'delete element", "'add element", "-D MYDOCKER ", "-I MYDOCKER 1 ")
	for line := range strings.Lines(errs) {
		undo, ok := strings.CutPrefix(strings.TrimSpace(line), "undo: ")
		if made := inverse.Replace(undo); ok && made != undo && !strings.Contains(done, made) {
			t.Errorf("shown as undone, and never done: %s", line)
		}
	}
}

func TestStepBack(t *testing.T) {
	before := usedHost(t)
	// The default network is not in the kernel yet: making it ready is part of what is walked through and undone.
	answers := "b\nn\nn\nn\nb\nb\n! ip -br link show type bridge\nnonsense\nh\nn\nq\n"
	_, errs, code := stepping(t, answers, "step", "run", "--rm", "--name", "stepped", "busybox", "true")
	if code != 130 {
		t.Fatalf("status %d\n%s", code, errs)
	}
	if got := strings.Join(prompts(errs), " "); got != "1 2 3 4 3 2 3" {
		t.Errorf("asked about %s\n%s", got, errs)
	}
	for _, want := range []string{"there is nothing to undo yet", "undo: ip netns del stepped", "Undone; once more", `"nonsense" is none of the answers`, "! COMMAND   one command"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	settledHost(t, "back and forth", before)

	// Back from late, and then to the end.
	_, errs, code = stepping(t, strings.Repeat("\n", 40)+"b\nb\nb\nc\n", "step", "run", "-d", "--name", "stepped", "busybox", "sleep", "100")
	if code != 0 {
		t.Fatalf("status %d\n%s", code, errs)
	}
	asked := prompts(errs)
	if got := strings.Join(asked[len(asked)-4:], " "); got != "41 40 39 38" {
		t.Errorf("asked about %s", got)
	}
	equal(t, "it runs", my(t, "ps", "--format", "{{.Names}}"), "stepped\n")

	// A removal cannot be taken back; stopped half-way, it can be finished.
	_, errs, code = stepping(t, "n\nb\nq\n", "step", "rm", "-f", "stepped")
	if code != 130 || !strings.Contains(errs, "cannot be brought back") || !strings.HasSuffix(errs, "run the command again to finish it.\n") {
		t.Errorf("status %d\n%s", code, errs)
	}
	_, errs, code = stepping(t, "c\n", "step", "rm", "-f", "stepped")
	if code != 0 {
		t.Errorf("status %d\n%s", code, errs)
	}
}

func TestStepThroughANetwork(t *testing.T) {
	before := usedHost(t)
	_, errs, code := stepping(t, "n\nn\nn\nb\nn\nq\n", "step", "network", "create", "stepnet")
	if code != 130 || strings.Join(prompts(errs), " ") != "1 2 3 4 3 4" {
		t.Errorf("status %d, asked about %v\n%s", code, prompts(errs), errs)
	}
	settledHost(t, "network create", before)
	if out, errs, code := stepping(t, "n\nc\n", "step", "network", "create", "stepnet"); code != 0 || len(out) != 65 {
		t.Fatalf("status %d\n%s%s", code, out, errs)
	}
	if _, errs, code := stepping(t, "n\nn\nq\n", "step", "network", "rm", "stepnet"); code != 130 {
		t.Errorf("status %d\n%s", code, errs)
	}
	if _, errs, code := stepping(t, "c\n", "step", "network", "rm", "stepnet"); code != 0 {
		t.Errorf("status %d\n%s", code, errs)
	}
	settledHost(t, "network rm", before)
}

// The rest of the input is the container's.
func TestStepLeavesTheInputToTheContainer(t *testing.T) {
	busyboxImage(t)
	out, errs, code := stepping(t, "n\nc\nfor cat\n", "step", "run", "--rm", "-i", "busybox", "cat")
	if code != 0 || out != "for cat\n" {
		t.Errorf("status %d, %q\n%s", code, out, errs)
	}
}

// On a terminal: a shell between two operations, and ctrl-c means quit.
func TestStepOnATerminal(t *testing.T) {
	before := usedHost(t)
	master, slave := openTerminal(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=TestStepHelperProcess")
	cmd.Env = append(os.Environ(), "STEP_HELPER=1", "SHELL=/bin/sh", "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	screen := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				close(screen)
				return
			}
			screen <- string(buf[:n])
		}
	}()
	all := ""
	expect := func(want string) {
		t.Helper()
		timeout := time.After(3 * time.Minute)
		for !strings.Contains(all, want) {
			select {
			case text, ok := <-screen:
				if !ok {
					t.Fatalf("ended before %q:\n%s", want, all)
				}
				all += text
			case <-timeout:
				t.Fatalf("no %q within 3 minutes:\n%s", want, all)
			}
		}
		_, all, _ = strings.Cut(all, want)
	}
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(master, text); err != nil {
			t.Fatal(err)
		}
	}
	expect("  1  ip netns add onterminal")
	expect("help?")
	say("\n")
	expect("  2  ")
	expect("help?")
	say("s\n")
	expect("A shell on this host")
	say("echo in-$((40+2)); ip netns list; exit\n")
	expect("in-42")
	expect("onterminal")
	expect("help?")
	say("\x03")
	expect("everything is undone")
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v", err)
	}
	settledHost(t, "ctrl-c", before)
}

// TestStepHelperProcess is no test: it is mydocker on a terminal, for the test above.
func TestStepHelperProcess(t *testing.T) {
	if os.Getenv("STEP_HELPER") == "" {
		return
	}
	os.Exit(Main([]string{"mydocker", "step", "run", "--rm", "--name", "onterminal", "busybox", "true"}, "1.2.3"))
}

func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// What nothing has been done for is not undone, neither shown nor done: here, to a host that is a router already.
func TestStepUndoesOnlyWhatWasDone(t *testing.T) {
	key := "/proc/sys/net/ipv6/conf/all/forwarding"
	if err := os.WriteFile(key, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(key, []byte("0"), 0); err != nil {
			t.Error(err)
		}
	})
	_, errs, code := stepping(t, "n\nq\n", "step", "network", "create", "--subnet", "10.88.0.0/24", "slow")
	if code != 130 || !strings.Contains(errs, "undo: ip link del slow") || strings.Contains(errs, "forwarding") {
		t.Error(code, errs)
	}
	if _, errs, code := stepping(t, "q\n", "step", "network", "create", "--subnet", "10.88.0.0/24", "slow"); code != 130 || strings.Contains(errs, "undo: ") {
		t.Error(code, errs)
	}
	if value, err := os.ReadFile(key); err != nil || string(value) != "1\n" {
		t.Errorf("%q %v", value, err)
	}
}
