package engine

import (
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// relayLater is when the signals are asked for that hardly anybody sends: each costs the Go runtime a change of threads, and all
// together more than a millisecond, which a container that ends soon need not pay for.
const relayLater = 50 * time.Millisecond

// relaySignals passes on to the container what this process is told, as `docker run --sig-proxy` does. Those that people and
// their tools send are kept from the moment of the call on, and begin delivers them; the others follow a moment after begin.
func relaySignals(send func(unix.Signal) error) (begin, stop func()) {
	ch := make(chan os.Signal, 32)
	usual := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGWINCH}
	signal.Notify(ch, usual...)
	done := make(chan struct{})
	begin = func() {
		go func() {
			later := time.After(relayLater)
			for {
				select {
				case sig := <-ch:
					// A container that has just ended cannot be told; its end is noticed elsewhere.
					_ = send(sig.(unix.Signal))
				case <-later:
					signal.Notify(ch, otherSignals(usual)...)
				case <-done:
					return
				}
			}
		}()
	}
	return begin, func() {
		close(done)
		go signal.Stop(ch) // beside the caller: see relayLater
	}
}

// otherSignals are all that can be relayed besides the usual ones.
func otherSignals(usual []os.Signal) (others []os.Signal) {
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP: // nobody can catch them
		case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG: // the kernel and the Go runtime send them to this process itself; Docker keeps them, too
		case unix.SIGTTIN, unix.SIGTTOU: // they stop a job in the background that wants the terminal: caught, it would try again for ever
		case unix.SIGPROF, 32, 33, 34: // the Go runtime's and the C library's own, which no program in Go is told
		default:
			if !slices.Contains(usual, os.Signal(sig)) {
				others = append(others, sig)
			}
		}
	}
	return others
}
