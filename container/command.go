package container

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNotInPath is worded as Docker words it: scripts look for it.
var errNotInPath = errors.New("executable file not found in $PATH")

// lookPath finds the command as the shell would, by the container's own PATH: the files that may be it, best first. check
// says what one of them is worth. Whether the command's user may execute it, execve will tell.
func lookPath(name string, env []string, check func(string) error) ([]string, error) {
	if strings.Contains(name, "/") {
		return []string{name}, commandError(name, check(name))
	}
	var found []string
	var denied error
	path, _ := lookupEnv(env, "PATH")
	for _, dir := range strings.Split(path, ":") {
		if path == "" {
			break
		}
		if dir == "" {
			dir = "."
		}
		candidate := dir + "/" + name
		switch err := check(candidate); {
		case err == nil:
			found = append(found, candidate)
		case errors.Is(err, unix.EACCES):
			denied = err
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case denied != nil:
		return nil, commandError(name, denied)
	}
	return nil, &CommandError{Command: name, Code: 127, Err: errNotInPath}
}

// executable says whether a file could be executed: not a directory, and with an x for somebody.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return executableMode(st.Mode)
}

func executableMode(mode uint32) error {
	switch {
	case mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case mode&unix.S_IFMT != unix.S_IFREG, mode&0o111 == 0:
		return unix.EACCES
	}
	return nil
}

// commandError gives a failed execution its exit status: 127 when there is nothing to execute, 126 when it cannot be.
func commandError(name string, err error) error {
	if err == nil {
		return nil
	}
	code := 126
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		code = 127
	}
	return &CommandError{Command: name, Code: code, Err: err}
}

func lookupEnv(env []string, name string) (string, bool) {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// withHome adds HOME where it is missing: the user's directory in the container's own /etc/passwd, or /.
func withHome(env []string, uid uint64, open func(string) (int, error)) []string {
	if _, ok := lookupEnv(env, "HOME"); ok {
		return env
	}
	return append(env[:len(env):len(env)], "HOME="+homeOf(uid, open))
}

func homeOf(uid uint64, open func(string) (int, error)) string {
	fallback := "/"
	if uid == 0 {
		fallback = "/root"
	}
	fd, err := open("/etc/passwd")
	if err != nil {
		return fallback
	}
	f := os.NewFile(uintptr(fd), "/etc/passwd")
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fallback
	}
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		field := strings.Split(lines.Text(), ":")
		if len(field) >= 6 && field[2] == strconv.FormatUint(uid, 10) && field[5] != "" {
			return field[5]
		}
	}
	return fallback
}

// readHostFile opens a file of the process's own root. O_NONBLOCK: an image may have put a fifo there.
func readHostFile(path string) (int, error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// ignored lists the signals that this process ignores. Handlers go away by themselves with execve; "ignored" would stay,
// and a command started under nohup would never learn of its terminal's end.
func ignored() (list []uint64, err error) {
	type sigaction struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for sig := uint64(1); sig <= 64; sig++ {
		if sig == uint64(unix.SIGKILL) || sig == uint64(unix.SIGSTOP) {
			continue
		}
		var now sigaction
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0); errno != 0 {
			return nil, fmt.Errorf("ask about signal %d: %w", sig, errno)
		}
		const ignore = 1
		if now.handler == ignore {
			list = append(list, sig)
		}
	}
	return list, nil
}

// defaultSignals gives the command the signals as a fresh process has them: none ignored, none blocked.
func (p *program) defaultSignals() error {
	list, err := ignored()
	if err != nil {
		return err
	}
	const setMask = 2
	zero := p.words(0, 0, 0, 0) // struct sigaction: SIG_DFL, no flags, empty mask
	for _, sig := range list {
		p.call("reset a signal", unix.SYS_RT_SIGACTION, sig, zero, 0, 8)
	}
	p.call("unblock signals", unix.SYS_RT_SIGPROCMASK, setMask, zero, 0, 8)
	return nil
}
