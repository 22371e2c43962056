package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/state"
)

// start forks, and waits until the command has been executed.
func (e *execJob) start(ctx context.Context) (*ExecProcess, error) {
	file, err := e.program.file(e.socketNumber())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	done, err := e.keepGoing()
	if err != nil {
		return nil, err
	}
	defer done()
	parent, err := e.fork(file)
	if err != nil {
		return nil, err
	}
	unix.Close(e.theirs)
	e.theirs = -1
	p := &ExecProcess{container: e.container}
	err = e.awaitExec(ctx, p)
	if waitErr := bury(parent); err == nil {
		err = waitErr
	}
	if err == nil {
		err = e.handOver(p)
	}
	if err != nil {
		if p.pid > 0 {
			p.kill()
		}
		// Who finds no such process has met one that is just ending. The error comes from another process, as text.
		if !alive(e.container.state.Pid, e.container.state.Start) || strings.Contains(err.Error(), unix.ESRCH.Error()) {
			err = ErrNotRunning // its namespaces die with its first process
		}
		return nil, err
	}
	return p, nil
}

// bury collects the program that has given birth to the process and ended, or ends it if it has not.
func bury(parent int) error {
	// It is our child: until it is waited for the number is its own.
	if err := unix.Kill(parent, unix.SIGKILL); err != nil {
		return err
	}
	_, err := (&initProcess{pid: parent}).wait()
	return err
}

// fork starts the program on a thread that is in the container's group, and dies with this function.
func (e *execJob) fork(file *os.File) (pid int, err error) {
	files, null, err := e.stdio()
	if err != nil {
		return 0, err
	}
	if null != nil {
		defer null.Close()
	}
	attr := &syscall.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{}}
	for _, f := range append(files, e.options.ExtraFiles...) {
		attr.Files = append(attr.Files, f.Fd())
	}
	attr.Files = append(attr.Files, uintptr(e.theirs), uintptr(e.pidfd), uintptr(e.root))
	if e.proc > 0 {
		attr.Files = append(attr.Files, uintptr(e.proc))
	}
	handle, err := outOfTheWay(file, attr.Files)
	if err != nil {
		return 0, err
	}
	defer unix.Close(handle)
	group, err := e.cgroup()
	if err != nil {
		return 0, err
	}
	dir, err := group.Dir()
	if err != nil {
		return 0, err
	}
	if dir != nil {
		defer dir.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	}
	err = onThrowawayThread(func() (err error) {
		e.visitor = unix.Gettid()
		if a := e.process.ExecCPUAffinity; a != nil && a.Initial != "" {
			if err := runOn(a.Initial); err != nil {
				return err
			}
		}
		if dir == nil {
			if err := group.AddSelf(); err != nil {
				return err
			}
		}
		pid, err = forkExec(fmt.Sprintf("/proc/self/fd/%d", handle), []string{"mydocker"}, attr)
		return wrap("start a process", err)
	})
	return pid, err
}

// keepGoing keeps everybody from pausing the container while a process is begun in it, which would begin only when somebody lets the
// container go on. In version 1 of cgroups a thread of ours is in the container's group meanwhile: frozen, it would hold its whole process,
// even a killed one. done waits until that thread has ended.
func (e *execJob) keepGoing() (done func(), err error) {
	c := e.container
	l, err := state.AcquireDir(c.runtime.dir(c.state.ID), true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	if c.Status() == Paused && !e.options.IgnorePaused {
		l.Release()
		return nil, errPaused
	}
	return func() {
		for end := time.Now().Add(time.Second); e.visitor > 0 && unix.Tgkill(unix.Getpid(), e.visitor, 0) == nil && time.Now().Before(end); {
			time.Sleep(20 * time.Microsecond)
		}
		l.Release()
	}, nil
}

// cgroup is the container's group, or the one below it that was asked for.
func (e *execJob) cgroup() (cgroups.Manager, error) {
	if len(e.options.Cgroup) == 0 {
		return e.container.cgroup()
	}
	return cgroups.OpenBelow(e.container.state.Cgroup, e.options.Cgroup, e.container.runtime.Watch)
}

func (e *execJob) stdio() ([]*os.File, *os.File, error) {
	if e.slave != nil {
		return []*os.File{e.slave, e.slave, e.slave}, nil, nil
	}
	return stdio(e.options.Stdin, e.options.Stdout, e.options.Stderr)
}

// awaitExec returns when the process has become the command, or has said why not. The program and its child write to the same
// conversation: either may be heard first.
func (e *execJob) awaitExec(ctx context.Context, p *ExecProcess) error {
	defer e.conn.interrupt(ctx)()
	var failure error
	var listener []int
	defer func() {
		for _, fd := range listener {
			unix.Close(fd)
		}
	}()
	for {
		kind, payload, files, err := e.conn.receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF && failure == nil && p.pid == 0:
			return errors.New("the process was killed on its way into the container: perhaps the memory limit is too small for it")
		case err == io.EOF:
			return failure
		case err != nil:
			return err
		case kind == msgListener:
			listener = files
		case kind != msgRow:
			return fmt.Errorf("unexpected message %d", kind)
		default:
			if pid, ok := forked(payload); ok {
				p.pid = pid
			} else {
				failure = rowFailure(payload, e.program.labels, e.process.Args[0])
			}
		}
		if listener != nil && p.pid > 0 {
			files, listener = listener, nil
			if err := passListener(files, p.pid, e.container.sendListener); err != nil {
				return err
			}
		}
	}
}

func (e *execJob) handOver(p *ExecProcess) error {
	if err := sendPidfd(e.options.PidfdSocket, p.pid, "setns"); err != nil {
		return err
	}
	if err := writePidFile(e.options.PidFile, p.pid); err != nil {
		return err
	}
	if e.master == nil {
		return nil
	}
	if e.options.ConsoleSocket != "" {
		return sendConsole(e.options.ConsoleSocket, e.master)
	}
	p.console, e.master = e.master, nil
	return nil
}
