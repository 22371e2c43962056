package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// timeNamespace makes a time namespace, or opens one that exists; the last program enters it. The offsets of a new one
// can be written until the first process enters: `echo "monotonic 86400 0" > /proc/self/timens_offsets`.
func (in *initializer) timeNamespace(s step) (err error) {
	if s.Source != "" {
		in.timeNS, err = unix.Open(s.Source, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return wrap(s.Source, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return err
	}
	// Namespaces belong to threads; the link tells how this /proc, which may be another pid namespace's, counts ours.
	thread, err := os.Readlink("/proc/thread-self")
	if err != nil {
		return err
	}
	if len(s.Data) > 0 {
		offsets := filepath.Join("/proc", filepath.Base(thread), "timens_offsets")
		if err := os.WriteFile(offsets, []byte(strings.Join(s.Data, "\n")+"\n"), 0); err != nil {
			return fmt.Errorf("linux.timeOffsets: %w", err)
		}
	}
	in.timeNS, err = unix.Open("/proc/thread-self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return err
}

// openProc opens the host's /proc, and makes sure that it is one.
func openProc() (int, error) {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /proc: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.PROC_SUPER_MAGIC {
		unix.Close(fd)
		return -1, fmt.Errorf("the host's /proc is not a proc file system")
	}
	return fd, nil
}
