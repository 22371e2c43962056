// Package state is how a record survives: two trees with two lifetimes, files replaced as a whole, claims that are
// atomic, and locks that die with their holder.
//
// It is a leaf: it imports nothing of ours and knows no record's meaning.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Root names the two trees and the directory of pinned network namespaces.
type Root struct {
	// Lib holds what was asked for; it survives a reboot.
	Lib string
	// Run holds what was put into the kernel; it vanishes with the kernel at a reboot.
	Run string
	// NetNS is where iproute2 looks for network namespaces. It is the same for all roots, or `ip netns` would not see them.
	NetNS string
}

// DefaultRoot is where mydocker keeps its records unless --root and --run-root say otherwise.
func DefaultRoot() Root {
	return Root{Lib: "/var/lib/mydocker", Run: "/run/mydocker", NetNS: "/run/netns"}
}

// Containers is the directory with one directory for each container: its definition, bundle, writable layer and log.
func (r Root) Containers() string { return filepath.Join(r.Lib, "containers") }

// Container is the lasting directory of one container.
func (r Root) Container(id string) string { return filepath.Join(r.Lib, "containers", id) }

// Running is the directory of what one container holds in the kernel right now.
func (r Root) Running(id string) string { return filepath.Join(r.Run, "containers", id) }

// Lock is the path of a named lock.
func (r Root) Lock(name string) string { return filepath.Join(r.Run, "locks", name) }

// Durability says what a replaced file must survive.
type Durability bool

const (
	// Volatile is enough for records that describe the running kernel: they need not outlive it.
	Volatile Durability = false
	// Durable files are on the disk when Replace returns.
	Durable Durability = true
)

// Replace writes a file as a whole: a reader sees the old content or the new, never a part. The directory is made when
// it is missing. It equals: write FILE.tmp; fsync; mv FILE.tmp FILE; fsync the directory.
func Replace(path string, data []byte, d Durability) error {
	return aside(path, data, func(f *os.File) error {
		if d == Durable {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
		if d == Durable {
			return syncDir(filepath.Dir(path))
		}
		return nil
	})
}

// Sync puts a file that was replaced without waiting on the disk, and its name with it: fsync(2) of the file and of the
// directory.
func Sync(path string) error {
	f, err := open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// aside writes data into a temporary file beside path and lets move put it in its place. The file is locked while it lives,
// by which Sweep tells it from one whose writer is dead. It is removed if it is still there afterwards.
func aside(path string, data []byte, move func(*os.File) error) error {
	for try := 0; ; try++ {
		f, err := createTemp(path)
		if err != nil {
			return err
		}
		var failed *fs.PathError
		if _, err = f.Write(data); err == nil {
			err = move(f)
		} else if errors.As(err, &failed) {
			failed.Path = path // it is not the temporary file that the user is told of
		}
		swept := errors.Is(err, fs.ErrNotExist) && try == 0 // between its creation and its lock
		err = errors.Join(err, removeTemp(f), f.Close())
		if err == nil || !swept {
			return err
		}
	}
}

// removeTemp removes a temporary file that has not been moved. Not by os.Remove, which tries rmdir(2), too.
func removeTemp(f *os.File) error {
	if err := unix.Unlink(f.Name()); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "unlink", Path: f.Name(), Err: err}
	}
	return nil
}

// ReplaceJSON is Replace of v's JSON, indented, because learners read these files with cat.
func ReplaceJSON(path string, v any, d Durability) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return Replace(path, append(data, '\n'), d)
}

// RewriteJSON is ReplaceJSON of a record that is there, for one that has a life of its own: where somebody has removed it
// meanwhile it stays away, and the error is fs.ErrNotExist. The file need not be on the disk when it returns.
func RewriteJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return aside(path, append(data, '\n'), func(f *os.File) error { return exchange(f.Name(), path) })
}

// exchange puts a file in the place of another, never in an empty one: renameat2(2). What was there has its name then.
func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL { // a file system that cannot
		if _, err := os.Lstat(to); err != nil {
			return err
		}
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// ReadJSON reads a record. A missing file is fs.ErrNotExist; one that cannot be parsed is an error that names it.
func ReadJSON(path string, v any) error {
	data, err := ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("record %s is damaged: %w", path, err)
	}
	return nil
}

// Claim takes a name for an owner. Exactly one of any number of processes that claim the same path succeeds; the others
// get a *Taken that tells the owner. The finished file is moved into place by link(2), so a claim is never half-written.
func Claim(path, owner string) error {
	err := aside(path, []byte(owner), func(f *os.File) error { return os.Link(f.Name(), path) })
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	holder, readErr := ReadFile(path)
	if errors.Is(readErr, fs.ErrNotExist) {
		return Claim(path, owner) // given up between our link and our look
	}
	return errors.Join(&Taken{Path: path, Owner: string(holder)}, readErr)
}

// Unclaim gives a name back, if owner still holds it. Absent is success.
func Unclaim(path, owner string) error {
	holder, err := ReadFile(path)
	if err != nil || string(holder) != owner {
		return ignoreAbsent(err)
	}
	return ignoreAbsent(os.Remove(path))
}

// Taken says that a claim failed because somebody else holds the name. It is an fs.ErrExist.
type Taken struct{ Path, Owner string }

func (t *Taken) Error() string        { return fmt.Sprintf("%s is held by %s", t.Path, t.Owner) }
func (t *Taken) Is(target error) bool { return target == fs.ErrExist }

// createTemp makes the aside file for path, in the same directory so that it can be moved, and makes that directory
// when it is missing.
func createTemp(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	prefix := filepath.Join(dir, "."+filepath.Base(path)+tempMark)
	f, err := createNew(prefix)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			if errors.Is(err, fs.ErrExist) { // a symlink that leads nowhere, say; to callers that word is about the file
				err = &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
			}
			return nil, err
		}
		f, err = createNew(prefix)
	}
	if err != nil {
		return nil, err
	}
	if _, err := tryFile(f); err != nil { // a sweeper may hold it for a moment
		return nil, errors.Join(err, removeTemp(f), f.Close())
	}
	return f, nil
}

// tempMark is in the names of files that are being written.
const tempMark = ".tmp-"

// Sweep removes the temporary files below dir, down to the given depth, whose writers have died. It tells their names.
func Sweep(dir string, depth int) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir() && depth > 0:
			more, sweepErr := Sweep(path, depth-1)
			removed, err = append(removed, more...), errors.Join(err, sweepErr)
		case entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), ".") && strings.Contains(entry.Name(), tempMark):
			dead, sweepErr := sweepOne(path)
			if dead {
				removed = append(removed, path)
			}
			err = errors.Join(err, sweepErr)
		}
	}
	return removed, err
}

func sweepOne(path string) (dead bool, err error) {
	f, err := open(path, unix.O_RDONLY, 0)
	if err != nil {
		return false, ignoreAbsent(err)
	}
	defer f.Close()
	if dead, err = tryFile(f); err != nil || !dead {
		return false, err // its writer lives
	}
	return true, ignoreAbsent(os.Remove(path))
}

func syncDir(dir string) error {
	d, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
