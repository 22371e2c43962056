package state

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Go's os.Open asks of every file whether it can be waited for, which takes five more system calls and is never so for what
// this package opens. A start reads and writes some sixty small files, a list of a thousand containers five thousand.

// ReadFile is os.ReadFile for small files: records, and what the kernel shows in /proc. It equals: cat FILE.
func ReadFile(path string) (data []byte, err error) {
	fd, err := openFD(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var buf [4096]byte // on the stack: what is kept is no longer than the file
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return data, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return data, nil
		default:
			data = append(data, buf[:n]...)
		}
	}
}

// open is os.OpenFile.
func open(path string, flags int, mode uint32) (*os.File, error) {
	fd, err := openFD(path, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openFD(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// createNew is os.CreateTemp: it makes a file whose name begins with prefix and is nobody else's.
func createNew(prefix string) (*os.File, error) {
	for {
		f, err := open(prefix+strconv.FormatUint(rand.Uint64(), 36), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
		if pathErr, ok := err.(*fs.PathError); !ok || pathErr.Err != unix.EEXIST {
			return f, err
		}
	}
}
