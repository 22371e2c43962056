package sandbox

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// children starts processes and buries them, and the orphans of the sandbox too: that is what the first process of a pid
// namespace is for (pid_namespaces(7)). All waiting is done in one place, because wait4(-1) takes anybody's child.
type children struct {
	mu    sync.Mutex
	ended map[int]func(unix.WaitStatus)
}

func newChildren() *children {
	c := &children{ended: map[int]func(unix.WaitStatus){}}
	// The runtime tries out pidfds with a child of its own, once; that one is not to be taken from it.
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Release()
	}
	bell := make(chan os.Signal, 1)
	signal.Notify(bell, unix.SIGCHLD)
	go func() {
		for range bell {
			c.bury()
		}
	}()
	return c
}

// start starts a process. ended is called when it has died; nil: nobody cares.
func (c *children) start(path string, args []string, attr *os.ProcAttr, ended func(unix.WaitStatus)) (pid int, err error) {
	c.mu.Lock() // it may die before we know its number
	defer c.mu.Unlock()
	p, err := os.StartProcess(path, args, attr)
	if err != nil {
		return 0, err
	}
	pid = p.Pid
	if ended != nil {
		c.ended[pid] = ended
	}
	return pid, p.Release()
}

func (c *children) bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended := c.ended[pid]; ended != nil {
			delete(c.ended, pid)
			ended(status)
		}
	}
}

// signal sends a signal to a child's process group, unless it has been buried.
func (c *children) signal(pid int, sig unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, lives := c.ended[pid]; lives {
		_ = unix.Kill(-pid, sig) // gone is as good
	}
}
