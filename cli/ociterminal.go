package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// joinTerminal connects the caller's terminal with a container's: raw, of the same size, both ways. copied is closed when
// everything that the container wrote has been shown.
func joinTerminal(console *os.File) (restore func(), copied <-chan struct{}, err error) {
	restore = func() {}
	if isTerminal(os.Stdin) {
		before, err := term.MakeRaw(int(os.Stdin.Fd()))
		if err != nil {
			return restore, nil, err
		}
		restore = func() { term.Restore(int(os.Stdin.Fd()), before) }
		copySize(console)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(os.Stdout, console) // ends with EIO when the last process has closed the terminal
	}()
	go io.Copy(console, os.Stdin)
	return restore, done, nil
}

// copySize makes a container's terminal as large as the caller's.
func copySize(console *os.File) {
	if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(int(console.Fd()), unix.TIOCSWINSZ, size)
	}
}
