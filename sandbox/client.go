package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/lang"
)

// Command is something to be run in a sandbox.
type Command struct {
	Place    string // "" is the host
	Args     []string
	Env      []string
	Dir      string // where there is no such directory, it starts in /
	In       *os.File
	Out, Err *os.File
	// Terminal gives the command a terminal of its own, which In and Out are connected with.
	Terminal bool
}

// Inside is the sandbox in which this process is, and its name.
func Inside() (sb *Sandbox, name string) {
	name = os.Getenv("MYDOCKER_SANDBOX")
	if _, err := os.Stat(home + "/control"); err != nil || name == "" {
		return nil, ""
	}
	return &Sandbox{dir: home, Record: Record{Name: name, Hosts: 1}}, name
}

// Exec runs a command and returns its exit status, 128 and more for a signal. A command that cannot be started is an error,
// with the status that a shell would give: 127 or 126.
func (sb *Sandbox) Exec(cmd Command) (int, error) {
	c, err := sb.dial()
	if err != nil {
		return 125, err
	}
	defer c.Close()
	r := request{Place: cmd.Place, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Terminal: cmd.Terminal}
	files := []*os.File{cmd.In, cmd.Out, cmd.Err}
	if cmd.Terminal {
		pid, err := sb.Pid()
		if err != nil {
			return 125, err
		}
		t, err := openTerminal(fmt.Sprintf("/proc/%d/root/dev/pts", pid), cmd.In, cmd.Out)
		if err != nil {
			return 125, err
		}
		defer t.close()
		files = []*os.File{t.inner, t.inner, t.inner}
		if err := sendRequest(c, files, r); err != nil {
			return 125, err
		}
		t.start()
	} else if err := sendRequest(c, files, r); err != nil {
		return 125, err
	}
	stop := forwardSignals(json.NewEncoder(c))
	defer stop()
	var a answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return 125, lang.Errorf(nil, "sandbox.error-ended", "name", sb.Name)
	}
	if a.Error != "" {
		return a.Exit, errors.New(a.Error)
	}
	return a.Exit, nil
}

// forwardSignals hands on what a user sends to stop a command.
func forwardSignals(to *json.Encoder) (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	go func() {
		for s := range signals {
			if to.Encode(hint{int(s.(unix.Signal))}) != nil {
				return
			}
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}

func (sb *Sandbox) dial() (*net.UnixConn, error) {
	path := filepath.Join(sb.dir, "control")
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, lang.Errorf(err, "sandbox.error-not-up", "name", sb.Name)
	}
	return c, err
}

// Pid is the keeper's process, as this process sees it: the one that listens on the socket.
func (sb *Sandbox) Pid() (int, error) {
	c, err := sb.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || peerErr != nil {
		return 0, errors.Join(err, peerErr)
	}
	if peer.Pid <= 0 {
		return 0, fmt.Errorf("the first process of sandbox %s cannot be seen from here", sb.Name)
	}
	return int(peer.Pid), nil
}
