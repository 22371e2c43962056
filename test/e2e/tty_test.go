package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a user at a terminal: what mydocker has as its standard streams is the other end of a pty.
type terminal struct {
	t      testing.TB
	master *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	screen strings.Builder
	ended  chan struct{}
}

// onTerminal starts mydocker with a terminal of the given size as its controlling terminal.
func onTerminal(t testing.TB, rows, columns uint16, args ...string) *terminal {
	t.Helper()
	return atTerminal(t, rows, columns, exec.Command(binary, args...))
}

// atTerminal does the same with any command.
func atTerminal(t testing.TB, rows, columns uint16, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{t: t, master: master, cmd: cmd, ended: make(chan struct{})}
	term.resize(rows, columns)
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = slave, slave, slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			term.mu.Lock()
			term.screen.Write(buffer[:n])
			term.mu.Unlock()
			if err != nil { // EIO: nobody has the other end open any more
				close(term.ended)
				return
			}
		}
	}()
	t.Cleanup(func() {
		term.cmd.Process.Kill()
		master.Close()
	})
	return term
}

func (term *terminal) resize(rows, columns uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		term.t.Fatal(err)
	}
}

func (term *terminal) types(keys string) {
	term.t.Helper()
	if _, err := term.master.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// shows waits until the text stands on the screen.
func (term *terminal) shows(text string) {
	term.t.Helper()
	eventually(term.t, func() string {
		if screen := term.text(); !strings.Contains(screen, text) {
			return fmt.Sprintf("%q is not on the screen:\n%s", text, screen)
		}
		return ""
	})
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// exits waits for the end of mydocker and returns its status.
func (term *terminal) exits() int {
	term.t.Helper()
	timer := time.AfterFunc(patience(hangs), func() { term.cmd.Process.Kill() })
	defer timer.Stop()
	term.cmd.Wait()
	return term.cmd.ProcessState.ExitCode()
}

// run -it is a real terminal: a prompt, line editing by the container's own tty, its size, job control, Ctrl-C.
func TestTerminal(t *testing.T) {
	cleanHost(t)
	term := onTerminal(t, 33, 101, "run", "-it", "--rm", "busybox", "sh")
	term.shows("# ")
	term.types("tty; stty size\n")
	term.shows("/dev/pts/0")
	term.shows("33 101")
	term.resize(44, 120)
	eventually(t, func() string {
		term.types("stty size\n")
		time.Sleep(50 * time.Millisecond)
		if !strings.Contains(term.text(), "44 120") {
			return "the new size does not arrive:\n" + term.text()
		}
		return ""
	})
	term.types("echo TERM=$TERM console=$(readlink /proc/self/fd/0)\n")
	term.shows("TERM=xterm console=/dev/pts/0")
	term.types("sleep 1000\n")
	eventually(t, func() string { // the kernel knows who has the terminal: not the shell any more
		pid := must(t, "inspect", "-f", "{{.State.Pid}}", must(t, "ps", "-q"))
		if f := strings.Fields(read(t, "/proc/"+pid+"/stat")); f[4] == f[7] { // pid (comm) state ppid pgrp session tty tpgid
			return "sleep has not begun"
		}
		return ""
	})
	term.types("\x03")                    // Ctrl-C ends sleep, not the shell and not us
	term.types("echo status $((99+1))\n") // (what is typed is echoed; the sum is not)
	term.shows("status 100")
	term.types("exit 7\n")
	equal(t, "exit status", term.exits(), 7)
	<-term.ended
	if text := term.text(); strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		t.Errorf("a line ends without a carriage return: the terminal's settings are not right:\n%q", text)
	}
}

// The caller's terminal has its settings back afterwards.
func TestTerminalIsRestored(t *testing.T) {
	cleanHost(t)
	term := onTerminal(t, 24, 80, "run", "-it", "--rm", "busybox", "sh", "-c", "echo ready; read x")
	before, err := unix.IoctlGetTermios(int(term.master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	keep, err := os.OpenFile(sh(t, fmt.Sprintf("readlink /proc/%d/fd/0", term.cmd.Process.Pid)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	term.shows("ready")
	during, _ := unix.IoctlGetTermios(int(keep.Fd()), unix.TCGETS)
	if during.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Error("the caller's terminal is not raw while the container has the keyboard")
	}
	term.types("\n")
	equal(t, "exit status", term.exits(), 0)
	after, err := unix.IoctlGetTermios(int(keep.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if after.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) == 0 || before.Lflag&unix.ECHO != 0 && *after != *before {
		t.Errorf("terminal settings before %+v and after %+v", before, after)
	}
}

// Detaching leaves the container running; attach takes it up again.
func TestDetachAndAttach(t *testing.T) {
	cleanHost(t)
	t.Cleanup(func() { my(t, "rm", "-f", "detach") })
	term := onTerminal(t, 24, 80, "run", "-it", "--name", "detach", "busybox", "sh")
	term.shows("# ")
	term.types("X=kept\n")
	term.types("\x10\x11") // ctrl-p ctrl-q
	equal(t, "status after detaching", term.exits(), 0)
	equal(t, "it runs on", must(t, "inspect", "-f", "{{.State.Running}}", "detach"), "true")

	again := onTerminal(t, 24, 80, "attach", "--detach-keys", "ctrl-x", "detach")
	again.types("echo X is $X\n")
	again.shows("X is kept")
	again.types("\x18")
	equal(t, "status after detaching with other keys", again.exits(), 0)

	last := onTerminal(t, 24, 80, "attach", "detach")
	last.types("\n")
	last.shows("# ")
	last.types("exit 3\n")
	equal(t, "status of an attach that sees the end", last.exits(), 3)
}

// exec -it beside the main process.
func TestExecTerminal(t *testing.T) {
	cleanHost(t)
	sleeper(t, "exec-it")
	term := onTerminal(t, 30, 90, "exec", "-it", "exec-it", "sh")
	term.shows("# ")
	term.types("stty size; tty; cat /etc/hosts | head -1\n")
	term.shows("30 90")
	term.shows("localhost")
	term.resize(31, 91)
	eventually(t, func() string {
		term.types("stty size\n")
		time.Sleep(50 * time.Millisecond)
		if !strings.Contains(term.text(), "31 91") {
			return "the new size does not arrive:\n" + term.text()
		}
		return ""
	})
	term.types("exit 6\n")
	equal(t, "exit status", term.exits(), 6)
}

// -t without a terminal: refused for the keyboard, as Docker does; a detached container may have one.
func TestTerminalWithoutOne(t *testing.T) {
	cleanHost(t)
	r := myWith(t, strings.NewReader(""), nil, "run", "-it", "--rm", "busybox", "true")
	if r.code == 0 || !strings.Contains(strings.ToLower(r.err), "tty") {
		t.Errorf("run -it with a pipe as input: %+v", r)
	}
	c := start(t, "tty-d", "-dt", "busybox", "sh", "-c", "tty; sleep 3600")
	eventually(t, func() string {
		if log := must(t, "logs", c.name); !strings.Contains(log, "/dev/pts/0") {
			return "log: " + log
		}
		return ""
	})
}
