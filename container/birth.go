package container

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// giveBirth forks on a thread that has prepared itself and joined what there is to join.
func giveBirth(executable string, argv []string, attr *syscall.ProcAttr, b birth, prepare func() error) (pid int, err error) {
	if len(b.join) == 0 && prepare == nil {
		return forkExec(executable, argv, attr)
	}
	err = onThrowawayThread(func() (err error) {
		if prepare != nil {
			if err := prepare(); err != nil {
				return err
			}
		}
		if err := joinNamespaces(b.join); err != nil {
			return err
		}
		pid, err = forkExec(executable, argv, attr)
		return err
	})
	return pid, err
}

// forkExec starts what becomes a process of a container. Timers that may be late are for processes of ours alone: what the
// thread may is what its child gets (prctl(2), PR_SET_TIMERSLACK).
func forkExec(executable string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const kernelDefault = 50_000 // nanoseconds
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, kernelDefault, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("set the timers' slack: %w", err)
	}
	return syscall.ForkExec(executable, argv, attr)
}
