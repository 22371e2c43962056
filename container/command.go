package container

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNotInPath is worded as Docker words it: scripts look for it.
var errNotInPath = errors.New("executable file not found in $PATH")

// lookPath finds the command as the shell would, by the container's own PATH, and says early what execve would say late.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, commandError(name, executable(name))
	}
	path, _ := lookupEnv(env, "PATH")
	var denied error
	for _, dir := range strings.Split(path, ":") {
		if path == "" {
			break
		}
		if dir == "" {
			dir = "."
		}
		candidate := dir + "/" + name
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EISDIR) {
			denied = err
		}
	}
	if denied != nil {
		return "", commandError(name, denied)
	}
	return "", &CommandError{Command: name, Code: 127, Err: errNotInPath}
}

// executable asks the kernel for what the command's user may do; root may not execute a file without any x bit either.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	err := unix.Faccessat2(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if err == unix.ENOSYS || err == unix.EPERM {
		return nil // execve will tell
	}
	return err
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
func withHome(env []string, uid uint64) []string {
	if _, ok := lookupEnv(env, "HOME"); ok {
		return env
	}
	return append(env, "HOME="+homeOf("/etc/passwd", uid))
}

func homeOf(passwd string, uid uint64) string {
	fallback := "/"
	if uid == 0 {
		fallback = "/root"
	}
	// O_NONBLOCK: an image may have put a fifo here.
	fd, err := unix.Open(passwd, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fallback
	}
	f := os.NewFile(uintptr(fd), passwd)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fallback
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field := strings.Split(lines.Text(), ":")
		if len(field) >= 6 && field[2] == strconv.FormatUint(uid, 10) && field[5] != "" {
			return field[5]
		}
	}
	return fallback
}

// execve is the system call itself, on this thread. It returns only when it fails.
func execve(path string, argv, envv []*byte) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])))
	return errno
}

// resetSignals gives the command the signals as a fresh process has them: none ignored, none blocked. Handlers go away
// by themselves with execve; what is ignored or blocked would stay.
func resetSignals() error {
	type sigaction struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		var now, dfl sigaction
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0); errno != 0 {
			return fmt.Errorf("ask about signal %d: %w", sig, errno)
		}
		const ignored = 1
		if now.handler != ignored {
			continue
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0); errno != 0 {
			return fmt.Errorf("reset signal %d: %w", sig, errno)
		}
	}
	var none uint64
	const setMask = 2
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0); errno != 0 {
		return fmt.Errorf("unblock signals: %w", errno)
	}
	return nil
}
