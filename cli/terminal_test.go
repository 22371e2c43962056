package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// newTerminal makes a pseudo-terminal: what is written to master is typed, what is read from it is on the screen.
func newTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 120})
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}

// onScreen reads what is on the screen until it has the words.
func onScreen(t *testing.T, master *os.File, words string) string {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		var b strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(b.String(), words) {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		got <- b.String()
	}()
	select {
	case text := <-got:
		return text
	case <-time.After(time.Minute):
		t.Fatalf("%q did not appear on the screen", words)
		return ""
	}
}

func TestColorOnlyOnTerminals(t *testing.T) {
	_, terminal := newTerminal(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		f    *os.File
		env  map[string]string
		want bool
	}{
		{terminal, map[string]string{"TERM": "xterm"}, true},
		{terminal, map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{terminal, map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true}, // no-color.org: present and not empty
		{terminal, map[string]string{"TERM": "dumb"}, false},
		{file, map[string]string{"TERM": "xterm"}, false},
	} {
		s := &session{lookup: func(name string) (string, bool) { v, ok := test.env[name]; return v, ok }}
		if got := s.color(test.f); got != test.want {
			t.Errorf("terminal %v, %v: colour %v", test.f == terminal, test.env, got)
		}
	}
	if w := terminalWidth(terminal); w != 120 {
		t.Errorf("the terminal is %d wide", w)
	}
	if w := terminalWidth(file); w != 0 {
		t.Errorf("a file is %d wide", w)
	}
}

func TestExplainOnATerminal(t *testing.T) {
	master, terminal := newTerminal(t)
	s := &session{lookup: func(string) (string, bool) { return "", false }}
	w := &explainer{out: terminal, color: s.color(terminal)}
	if err := plan.Do(w, plan.Step{Cmd: "true", Reason: "because"}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if text := onScreen(t, master, "\n"); !strings.Contains(text, "\x1b[2m# because\x1b[0m") {
		t.Errorf("%q", text)
	}
}

// -t needs a terminal, an answer is read from one, and a password typed on one is not shown.
func TestAskingOnATerminal(t *testing.T) {
	master, terminal := newTerminal(t)
	if err := checkTTY(true, true, terminal); err != nil {
		t.Error(err)
	}
	s := &session{lookup: noEnvironment, root: state.DefaultRoot(), streams: engine.Streams{In: terminal, Out: terminal, Err: terminal}}
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "\x04": false} {
		if _, err := master.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		if got := s.confirm("WARNING! This will remove it."); got != want {
			t.Errorf("the answer %q means %v", answer, got)
		}
		onScreen(t, master, "[y/N] ")
	}
	type answer struct {
		user, password string
		err            error
	}
	got := make(chan answer, 1)
	go func() {
		user, password, err := s.ask("", "")
		got <- answer{user, password, err}
	}()
	screen := onScreen(t, master, "Username: ")
	if _, err := master.WriteString("me\n"); err != nil {
		t.Fatal(err)
	}
	screen += onScreen(t, master, "Password: ")
	for tries := 0; ; tries++ { // the echo goes off after the question is asked
		settings, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
		if err != nil || tries == 6000 {
			t.Fatalf("the echo does not go off: %v", err)
		}
		if settings.Lflag&unix.ECHO == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := master.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	a := <-got
	if a.user != "me" || a.password != "secret" || a.err != nil {
		t.Errorf("got %+v", a)
	}
	if strings.Contains(screen+onScreen(t, master, "\n"), "secret") {
		t.Error("the password was shown")
	}
}
