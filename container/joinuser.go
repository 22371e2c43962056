package container

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A process with several threads, as every Go program is, may not enter a user namespace. So the way into one that exists
// leads through a program that has one thread (trampoline.go):
//
//	creator                     the program                    fork
//	  | joins the other namespaces |                              |
//	  |-- fork, exec ------------->| setns(user), becomes root in |
//	  |                            | it, unshare: the container's |
//	  |                            | namespaces belong to it      |
//	  |                            |-- execve of mydocker ------->| only for a new pid namespace, into which one is
//	  |<- born: its process id -----------------------------------| born: forks init, as a child of the creator, and ends

// forkArg is the first argument of the process that gives birth to init.
const forkArg = "init-fork"

// launchJoined starts init in a user namespace that exists.
func launchJoined(executable string, b birth, attr *syscall.ProcAttr, argv []string, prepare func() error, ours int) (*initProcess, error) {
	p, err := startJoined(executable, b, attr, argv, prepare, ours)
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("start init in the user namespace %s: %w", b.user, err)
	}
	return p, nil
}

func startJoined(executable string, b birth, attr *syscall.ProcAttr, argv []string, prepare func() error, ours int) (*initProcess, error) {
	user, err := os.Open(b.user)
	if err != nil {
		return nil, err
	}
	defer user.Close()
	handle, err := openProgram(executable, len(attr.Files))
	if err != nil {
		return nil, err
	}
	defer unix.Close(handle)
	report := len(attr.Files) - 1 // the conversation
	forks := b.clone&unix.CLONE_NEWPID != 0
	if forks {
		argv[1] = forkArg
	}
	p := newProgram(report, report)
	p.call("enter the user namespace", unix.SYS_SETNS, uint64(report+1), unix.CLONE_NEWUSER)
	if !b.groups {
		p.call("leave the groups", unix.SYS_SETGROUPS, 0, 0)
	}
	p.call("become the namespace's group 0", unix.SYS_SETRESGID, 0, 0, 0)
	p.call("become the namespace's user 0", unix.SYS_SETRESUID, 0, 0, 0)
	p.call("make the namespaces", unix.SYS_UNSHARE, uint64(b.clone&^unix.CLONE_NEWPID))
	p.call("close the user namespace", unix.SYS_CLOSE, uint64(report+1))
	p.call("keep the program to itself", unix.SYS_FCNTL, uint64(report+2), unix.F_SETFD, unix.FD_CLOEXEC)
	p.call("start init", unix.SYS_EXECVEAT, uint64(report+2), p.string(""), p.vector(argv), p.vector(attr.Env), unix.AT_EMPTY_PATH)
	file, err := p.file(report)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	attr.Files = append(attr.Files, user.Fd(), uintptr(handle))
	program, err := outOfTheWay(file, attr.Files)
	if err != nil {
		return nil, err
	}
	defer unix.Close(program)
	attr.Sys.Cloneflags = 0
	pid := 0
	err = onThrowawayThread(func() (err error) {
		if prepare != nil {
			if err := prepare(); err != nil {
				return err
			}
		}
		if err := joinNamespaces(b.join); err != nil {
			return err
		}
		pid, err = forkExec(fmt.Sprintf("/proc/self/fd/%d", program), []string{"mydocker"}, attr)
		return err
	})
	runtime.KeepAlive(user)
	if err != nil {
		return nil, err
	}
	return &initProcess{pid: pid, conn: conn{ours}, console: -1, joining: p.labels, forks: forks}, nil
}

// awaitBirth hears of init's birth from the process that forks it, and buries that process: its process id is not the
// container's. Our copy of its end of the conversation must be closed.
func (p *initProcess) awaitBirth() (*initProcess, error) {
	kind, payload, _, err := p.conn.receive()
	switch {
	case err != nil:
		err = p.premature(err)
	case kind == msgRow:
		err = rowFailure(payload, p.joining, "init")
	case kind == msgFailed:
		err = decodeError(payload)
	case kind != msgBorn:
		err = fmt.Errorf("unexpected message %d", kind)
	}
	if err != nil {
		unix.Kill(p.pid, unix.SIGKILL)
		p.wait()
		return nil, err
	}
	d := decoder{buf: payload}
	born := &initProcess{pid: int(d.uint()), conn: p.conn, console: -1}
	if _, err := p.wait(); err != nil {
		return nil, err
	}
	return born, d.err
}

// forkInit gives birth to init in a new pid namespace, as a child of the creator (CLONE_PARENT), who waits for it. Not by
// unshare in the program before: no Go program could start there, for lack of a second thread.
func forkInit(c conn) int {
	unix.CloseOnExec(c.fd)
	if err := setDumpable(false); err != nil {
		return tellFailure(c, err)
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT | unix.CLONE_NEWPID, Setsid: true}}
	for fd := range c.fd + 1 {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"mydocker", initArg, fmt.Sprint(c.fd)}, attr)
	if err != nil {
		return tellFailure(c, wrap("start init", err))
	}
	var e encoder
	e.uint(uint64(pid))
	if err := c.send(msgBorn, e.buf); err != nil {
		return 125
	}
	return 0
}

// UserNamespace makes a user namespace with a mapping. It lives as long as the file is open, or somebody is in it:
// `unshare --user --map-users=0,100000,65536 --map-groups=… sleep infinity`
func UserNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	holder, err := HoldNamespaces(unix.CLONE_NEWUSER, uids, gids)
	if err != nil {
		return nil, err
	}
	defer holder.Release()
	return os.Open(holder.Path("user"))
}

// A Holder is a process that does nothing but be in namespaces.
type Holder struct{ pid int }

// HoldNamespaces starts one in a new user namespace, and in others that belong to that.
func HoldNamespaces(flags uintptr, uids, gids []specs.LinuxIDMapping) (*Holder, error) {
	if len(uids) == 0 || len(gids) == 0 {
		return nil, errors.New("a user namespace needs a mapping of users and one of groups")
	}
	return hold(&syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | flags, UidMappings: convertIDs(uids), GidMappings: convertIDs(gids), GidMappingsEnableSetgroups: true,
	})
}

// holdProcess starts a process that does nothing.
func holdProcess() (*Holder, error) { return hold(&syscall.SysProcAttr{}) }

func hold(attr *syscall.SysProcAttr) (*Holder, error) {
	p := newProgram(3, 3)
	p.call("wait", unix.SYS_PPOLL, 0, 0, 0, 0, 0)
	file, err := p.file(2)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr.Pdeathsig = unix.SIGKILL
	h := &Holder{}
	h.pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), []string{"mydocker"},
		&syscall.ProcAttr{Env: []string{}, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: attr})
	if err == unix.ENOSPC || err == unix.EPERM {
		err = fmt.Errorf("%w (see /proc/sys/user/max_user_namespaces)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("start a process that holds namespaces: %w", err)
	}
	return h, nil
}

// Path names one of the namespaces: user, net…
func (h *Holder) Path(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", h.pid, kind) }

// Release ends the holder; namespaces that somebody else keeps live on.
func (h *Holder) Release() {
	if err := unix.Kill(h.pid, unix.SIGKILL); err == nil || err == unix.ESRCH {
		(&initProcess{pid: h.pid}).wait()
	}
}
