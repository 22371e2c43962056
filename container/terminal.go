package container

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openConsole makes a terminal in the container's own devpts, so that its name there means the same thing: the program
// gets one end, the creator the other.
func (in *initializer) openConsole() error {
	if in.devpts < 0 {
		return fmt.Errorf("the config mounts no devpts on /dev/pts")
	}
	master, err := unix.Openat(in.devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(master)
	slave, err := openPeer(master)
	if err != nil {
		return err
	}
	if in.config.Rows|in.config.Cols != 0 {
		if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(in.config.Rows), Col: uint16(in.config.Cols)}); err != nil {
			return fmt.Errorf("set the terminal's size: %w", err)
		}
	}
	if err := in.conn.send(msgConsole, nil, master); err != nil {
		return err
	}
	in.console = slave
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// openPeer unlocks a terminal and opens its other end by the descriptor, not by a name in /dev/pts.
func openPeer(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, fmt.Errorf("unlock the terminal: %w", err)
	}
	// The argument of this ioctl is the flags themselves, and its result the descriptor.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, fmt.Errorf("open the terminal's other end: %w", errno)
	}
	return int(slave), nil
}

// bindConsole puts the terminal on /dev/console. The mount point is a new plain file: a symlink there would carry the
// terminal, or whatever the image points at, elsewhere (CVE-2025-52565).
func (in *initializer) bindConsole(s step) error {
	if in.console < 0 {
		return fmt.Errorf("no terminal is open")
	}
	dir, err := in.mountPoint(filepath.Dir(s.Target), false, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := filepath.Base(s.Target)
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
	if err == unix.EEXIST {
		if err = unix.Unlinkat(dir, name, 0); err == nil {
			fd, err = unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	tree, err := unix.OpenTree(in.console, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return in.attach(tree, fd, step{})
}

// controllingTerminal makes the terminal the one whose ctrl-c means this session.
func (in *initializer) controllingTerminal() error {
	if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make the terminal the controlling one: %w", err)
	}
	return nil
}

// Resize tells a terminal, by its master side, how large the window is.
func Resize(master int, rows, cols uint16) error {
	return unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}
