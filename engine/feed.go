package engine

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// feed copies the command's own input to the container until its end.
func (h *hub) feed(in *os.File) {
	<-h.ready
	h.mu.Lock()
	out, _ := h.stdin.(*os.File)
	h.mu.Unlock()
	if out != nil && spliceAll(out, in) == nil {
		h.closeStdin()
		return
	}
	h.copyIn(in)
}

// copyIn is feed for what splice(2) cannot do: an input that is a terminal, say.
func (h *hub) copyIn(in io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			h.write(buf[:n])
		}
		if err != nil {
			h.closeStdin()
			return
		}
	}
}

// stdinPipe is how much may wait in the container's standard input, in bytes: fewer changes between writer and reader than
// with the usual 64 KiB.
const stdinPipe = 1 << 20

// spliceAll moves all of in to the pipe out without copying it through this process (splice(2)). nil means that in has ended or
// that nobody reads out any more; an error that nothing was moved, and that in cannot be spliced.
func spliceAll(out, in *os.File) error {
	to, err := out.SyscallConn()
	if err != nil {
		return err
	}
	moved := false
	// The write end cannot be closed under us while Control runs, and nothing else writes to it.
	ctlErr := to.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, stdinPipe) // refused: then it is slower
		for {
			var n int64
			n, err = unix.Splice(int(in.Fd()), nil, int(fd), nil, stdinPipe, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				if !waitToSplice(int(in.Fd()), int(fd)) {
					err = nil
					return
				}
			case err == unix.EPIPE, err == nil && n == 0:
				err = nil
				return
			case err != nil:
				return
			default:
				moved = true
			}
		}
	})
	if err = errors.Join(err, ctlErr); err != nil && moved {
		return nil // it worked until now: what is wrong with in is its end
	}
	return err
}

// waitToSplice waits until there is something to read and room to write it; false means that nobody reads any more.
func waitToSplice(in, out int) bool {
	for _, wait := range [][]unix.PollFd{
		{{Fd: int32(in), Events: unix.POLLIN}, {Fd: int32(out)}}, // an error of out ends the wait too
		{{Fd: int32(out), Events: unix.POLLOUT}},
	} {
		for {
			if _, err := unix.Poll(wait, -1); err != unix.EINTR {
				break
			}
		}
		if wait[len(wait)-1].Revents&unix.POLLERR != 0 {
			return false
		}
	}
	return true
}
