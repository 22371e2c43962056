package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// kindCost is datagrams that nobody reads: what one costs in CPU time. The kernel takes a packet along the whole way between two
// containers in the name of the thread that sends it, and a thread's CPU time does not rise when the machine has other work:
// this is the measure of a path that a busy machine disturbs least.
const kindCost = "cost"

// deafReceiver takes a socket for datagrams and reads none of them. What does not fit into its buffer is dropped at the very end
// of the way.
func deafReceiver() (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", ":80")
	if err == nil {
		err = c.(*net.UDPConn).SetReadBuffer(4096)
	}
	return c, err
}

// datagrams is how many are sent in a second of CPU time, at best, in many short tries within d.
func datagrams(address string, d time.Duration) (best float64, err error) {
	c, err := net.Dial("udp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	message := make([]byte, 64)
	const count = 2000
	for until := time.Now().Add(d); time.Now().Before(until); {
		var used time.Duration
		var err error
		control := raw.Control(func(fd uintptr) {
			var begin, end unix.Timespec
			if err = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &begin); err != nil {
				return
			}
			for range count {
				if _, err = unix.Write(int(fd), message); err != nil {
					return
				}
			}
			err = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &end)
			used = time.Duration(end.Nano() - begin.Nano())
		})
		if err = errors.Join(control, err); err != nil {
			return 0, fmt.Errorf("send datagrams to %s: %w", address, err)
		}
		best = max(best, count/used.Seconds())
	}
	return best, nil
}
