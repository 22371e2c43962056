package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is an advisory lock on a file: flock(2). The kernel lets go of it when the holder dies, however it dies.
type Lock struct{ f *os.File }

// AcquireLock waits for the lock. The file is made when it is missing and never removed, or two processes could hold
// "the" lock on two files of the same name.
func AcquireLock(path string) (*Lock, error) { return lock(path, unix.LOCK_EX, true) }

// AcquireLockThere is AcquireLock in a directory that has to be there: one that somebody is just removing must not come back. Where it
// is missing, the error is fs.ErrNotExist.
func AcquireLockThere(path string) (*Lock, error) { return lock(path, unix.LOCK_EX, false) }

// AcquireDir waits for the lock of a directory itself, which has to be there: there is no file that would be left in it.
func AcquireDir(path string, shared bool) (*Lock, error) {
	f, err := open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if shared {
		return wait(f, unix.LOCK_SH)
	}
	return wait(f, unix.LOCK_EX)
}

// AcquireShared waits until nobody holds the lock for itself alone.
func AcquireShared(path string) (*Lock, error) { return lock(path, unix.LOCK_SH, true) }

// TryLock takes the lock if nobody has it; otherwise the error is ErrLocked.
func TryLock(path string) (*Lock, error) { return lock(path, unix.LOCK_EX|unix.LOCK_NB, true) }

// TryLockThere is TryLock in a directory that has to be there, as with AcquireLockThere.
func TryLockThere(path string) (*Lock, error) { return lock(path, unix.LOCK_EX|unix.LOCK_NB, false) }

// InheritedLock is a lock that was passed on with its open file, by a fork or through execve.
func InheritedLock(f *os.File) *Lock { return &Lock{f} }

// Held says whether a process holds the lock for itself alone. A file that is missing is not held; none is made.
func Held(path string) (bool, error) {
	fd, err := openFD(path, unix.O_RDONLY, 0) // no os.File: a list asks a thousand times
	if err != nil {
		return false, ignoreAbsent(err)
	}
	defer unix.Close(fd)
	// A shared try, so that two who ask at once do not see each other.
	switch err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); err {
	case nil:
		return false, nil
	case unix.EWOULDBLOCK:
		return true, nil
	default:
		return false, fmt.Errorf("ask for lock %s: %w", path, err)
	}
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// File is the lock's open file: handed to a child, it hands the lock on.
func (l *Lock) File() *os.File { return l.f }

// Release lets go.
func (l *Lock) Release() error { return l.f.Close() }

func lock(path string, how int, makeDir bool) (*Lock, error) {
	f, err := open(path, unix.O_RDWR|unix.O_CREAT, 0o600)
	if makeDir && errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return nil, err
		}
		f, err = open(path, unix.O_RDWR|unix.O_CREAT, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return wait(f, how)
}

// wait locks an open file, or closes it.
func wait(f *os.File, how int) (*Lock, error) {
	for try := 0; ; try++ {
		switch err := unix.Flock(int(f.Fd()), how); err {
		case nil:
			return &Lock{f}, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			if try < 50 && onlyAsked(f) {
				time.Sleep(100 * time.Microsecond)
				continue
			}
			f.Close()
			return nil, ErrLocked
		default:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// onlyAsked says that nobody holds the lock for itself alone: who was in the way has asked (Held), and is gone in a moment.
func onlyAsked(f *os.File) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return false
	}
	return unix.Flock(int(f.Fd()), unix.LOCK_UN) == nil
}

// tryFile locks an open file for as long as it is open, and says no when somebody else has it locked.
func tryFile(f *os.File) (ok bool, err error) {
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return true, nil
	case unix.EWOULDBLOCK:
		return false, nil
	default:
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
}
