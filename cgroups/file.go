package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// writeOp is `echo VALUE > FILE`.
type writeOp struct{ path, value, reason string }

func (o writeOp) Command() string { return fmt.Sprintf("echo '%s' > %s", o.value, o.path) }
func (o writeOp) Why() string     { return o.reason }

// write puts a value into a cgroup file in one write(2): the kernel takes or refuses it as a whole.
func write(w plan.Watcher, path, value, reason string) error {
	if w == nil {
		return writeFile(path, value) // spares the closure: this is done some thirty times for a container
	}
	return plan.Do(w, writeOp{path, value, reason}, func() error { return writeFile(path, value) })
}

func writeFile(path, value string) error {
	fd, err := retryOpen(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		_, err = unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", value, path, err)
	}
	return nil
}

// readFile reads a short file. Not by os.ReadFile: it asks of each file whether it can be waited for, which is most of its time.
func readFile(path string) (string, error) {
	fd, err := retryOpen(path, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var data []byte
	var buf [1024]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return string(bytes.TrimSpace(data)), nil
		}
		data = append(data, buf[:n]...)
	}
}

func retryOpen(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readUint reads a file with one number; "max" and v1's huge default mean no limit and are given as 0.
func readUint(path string) (uint64, error) {
	text, err := readFile(path)
	if err != nil {
		return 0, err
	}
	return parseUint(path, text)
}

func parseUint(path, text string) (uint64, error) {
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", path, text)
	}
	if n >= 1<<63-1<<20 { // v1 writes "no limit" as the largest number of whole pages
		n = 0
	}
	return n, nil
}

// checkUsage refuses a memory limit below what is in use, if the config wants that checked: the kernel would make room, by
// killing if need be.
func checkUsage(m *specs.LinuxMemory, path string) error {
	if m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || m.Limit == nil || *m.Limit <= 0 {
		return nil
	}
	usage, err := readUint(path)
	if err != nil {
		return ignoreAbsent(err)
	}
	if usage > uint64(*m.Limit) {
		return fmt.Errorf("resources.memory.checkBeforeUpdate: the limit %d is below the %d bytes in use: %w", *m.Limit, usage, unix.EBUSY)
	}
	return nil
}

// readMap reads a file of lines "name number": memory.stat, cpu.stat, cgroup.events.
func readMap(path string) (map[string]uint64, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	m := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %q is not a number", path, name, value)
		}
		m[name] = n
	}
	return m, nil
}

// makeDir makes one group's directory. One that exists is kept. An absent parent is fs.ErrNotExist.
func makeDir(w plan.Watcher, path string) error {
	return plan.Do(w, plan.Step{Cmd: "mkdir -p " + path, Reason: "the container's group"}, func() error {
		if err := unix.Mkdir(path, 0o755); err != nil && err != unix.EEXIST {
			return &fs.PathError{Op: "mkdir", Path: path, Err: err}
		}
		return nil
	})
}

// removeDir removes a group and the groups below it. Absent is success. A group whose last process has only just died
// is busy for a moment, so a busy one is tried again.
func removeDir(w plan.Watcher, path string) error {
	return plan.Do(w, plan.Step{Cmd: "rmdir " + path, Reason: "the group is empty"}, func() error {
		for wait := 200 * time.Microsecond; ; wait *= 2 {
			err := unix.Rmdir(path)
			switch err {
			case nil:
				return nil
			case unix.ENOENT:
				return plan.ErrNothing
			case unix.EBUSY, unix.ENOTEMPTY:
			default:
				return &fs.PathError{Op: "rmdir", Path: path, Err: err}
			}
			if wait > 500*time.Millisecond {
				return &fs.PathError{Op: "rmdir", Path: path, Err: err}
			}
			if err := removeBelow(path); err != nil {
				return err
			}
			time.Sleep(wait)
		}
	})
}

// removeBelow removes groups that a container made inside its own.
func removeBelow(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		child := filepath.Join(path, e.Name())
		if err := removeBelow(child); err != nil {
			return err
		}
		if err := unix.Rmdir(child); err != nil && err != unix.ENOENT && err != unix.EBUSY {
			return &fs.PathError{Op: "rmdir", Path: child, Err: err}
		}
	}
	return nil
}

// procsBelow lists the processes of a group and of all groups below it.
func procsBelow(path string) ([]int, error) { return listBelow(path, "cgroup.procs") }

// listBelow reads a file of ids in a group and in all groups below it.
func listBelow(path, file string) ([]int, error) {
	var list []int
	err := filepath.WalkDir(path, func(dir string, e fs.DirEntry, err error) error {
		if err != nil {
			return ignoreAbsent(err)
		}
		if !e.IsDir() {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			if errors.Is(err, unix.ENODEV) {
				return nil // removed while it was open
			}
			return ignoreAbsent(err)
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("%s/%s: %q is not a process id", dir, file, field)
			}
			list = append(list, pid)
		}
		return nil
	})
	return list, err
}

// signalAll sends a signal to processes. One that has ended meanwhile is success; 0 is a process outside our pid namespace.
func signalAll(pids []int, sig unix.Signal) error {
	var errs []error
	for _, pid := range pids {
		if pid <= 0 {
			continue
		}
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal %d to process %d: %w", sig, pid, err))
		}
	}
	return errors.Join(errs...)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
