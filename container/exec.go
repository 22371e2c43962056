package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/seccomp"
	"github.com/mydocker/mydocker/plan"
)

// How a process gets into a running container. There is no second copy of this program:
//
//	caller                      a tiny program (trampoline.go)            the new process
//	 | looks for the command     |                                          |
//	 | by way of /proc/PID/root  |                                          |
//	 |-- fork, exec ------------>| in the container's cgroup;               |
//	 |                           | setns(pidfd): mounts, net, ipc, uts,     |
//	 |                           | cgroup, user, and pid for its children;  |
//	 |                           | chdir, limits, user, capabilities,       |
//	 |                           | seccomp                                  |
//	 |<- the process id ---------| clone(CLONE_PARENT) -------------------->| born into the container's pid namespace
//	 |                           | ends                                     | setsid, its terminal
//	 |<- end of file ----------------------------------------------------- -| execve of the command
//
// The container's processes see the new one only when it has no more powers than they, no descriptor of the host's, no way to the
// host's root, and a sealed file in memory as its program. So there is nothing to win by CAP_SYS_PTRACE, which looks into a
// process that is not dumpable as well (CVE-2016-9962, CVE-2019-5736). Who has not got that cannot look at all: it is not dumpable
// until the execve. The few that are born earlier are told of at withFork.

func (c *Container) exec(ctx context.Context, o ExecOptions) (*ExecProcess, error) {
	if err := errors.Join(validateExec(o.Process), checkPidFile(o.PidFile)); err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", shortID(c.state.ID), err)
	}
	switch s := c.Status(); {
	case s == Running || s == Created || s == Paused && o.IgnorePaused:
	case s == Paused:
		return nil, fmt.Errorf("exec in container %s: %w", shortID(c.state.ID), errPaused)
	default:
		return nil, fmt.Errorf("exec in container %s: %w", shortID(c.state.ID), ErrNotRunning)
	}
	e := &execJob{container: c, options: o, process: o.Process}
	defer e.close()
	if err := e.prepare(); err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", shortID(c.state.ID), err)
	}
	op := plan.Step{Cmd: fmt.Sprintf("nsenter --target %d --all -- %s", c.state.Pid, quote(o.Process.Args...)), Reason: "one more process in the container"}
	var p *ExecProcess
	err := plan.Do(c.runtime.Watch, op, func() (err error) {
		p, err = e.start(ctx)
		return err
	})
	if err != nil {
		if p != nil { // refused by the watcher, after it took effect
			p.kill()
		}
		return nil, fmt.Errorf("exec in container %s: %w", shortID(c.state.ID), err)
	}
	return p, nil
}

func validateExec(p *specs.Process) error {
	switch {
	case p == nil || len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("no command specified")
	case !filepath.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd: %q is not absolute", p.Cwd)
	}
	for _, s := range append(p.Args[:len(p.Args):len(p.Args)], p.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("%q has a zero byte in it", s)
		}
	}
	return errors.Join(unsupportedProcess(p), validateLabels(p, ""))
}

// execJob is one Exec on its way.
type execJob struct {
	container *Container
	options   ExecOptions
	process   *specs.Process
	pidfd     int
	root      int // the container's root, as a descriptor
	proc      int // the host's /proc, if the last program needs it
	master    *os.File
	slave     *os.File
	conn      conn
	theirs    int
	program   *program
	visitor   int // the thread that begins the process
}

func (e *execJob) close() {
	for _, fd := range []int{e.pidfd, e.root, e.proc, e.theirs, e.conn.fd} {
		if fd > 0 {
			unix.Close(fd)
		}
	}
	if e.slave != nil {
		e.slave.Close()
	}
	if e.master != nil {
		e.master.Close()
	}
}

// prepare does all that needs no process.
func (e *execJob) prepare() (err error) {
	c := e.container
	if e.pidfd, err = c.openPid(); err != nil {
		return err
	}
	e.root, err = unix.Open("/proc/"+strconv.Itoa(c.state.Pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	// A process that is just ending has no root any more, though it is still there.
	if !alive(c.state.Pid, c.state.Start) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) { // what has been opened may be another's, and what has not is missing for this reason
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	env := withHome(e.process.Env, uint64(e.process.User.UID), func(path string) (int, error) {
		return e.inRoot(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	})
	paths, err := lookPath(e.process.Args[0], env, e.executable)
	if err != nil {
		return err
	}
	if e.process.Terminal {
		if err := e.openTerminal(); err != nil {
			return err
		}
	}
	if err := e.writeProgram(paths, env); err != nil {
		return err
	}
	e.conn.fd, e.theirs, err = socketPair()
	return err
}

// inRoot opens a path as the container sees it. Nothing there is executed, and no link leads out of its root.
func (e *execJob) inRoot(path string, flags uint64) (int, error) {
	return unix.Openat2(e.root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

func (e *execJob) executable(path string) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.process.Cwd, path)
	}
	fd, err := e.inRoot(path, unix.O_PATH)
	if err == unix.ELOOP {
		return nil // perhaps a link like /proc/self/exe, which means something only to the process itself: execve will tell
	}
	if err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return executableMode(st.Mode)
}

// openTerminal makes a terminal in the container's devpts: only there does its name mean the same to the command.
func (e *execJob) openTerminal() error {
	fd, err := e.inRoot("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open a terminal: /dev/pts/ptmx of the container: %w", err)
	}
	e.master = os.NewFile(uintptr(fd), "console")
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if st.Type != unix.DEVPTS_SUPER_MAGIC {
		return errors.New("open a terminal: /dev/pts of the container is not a devpts")
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	slave, err := openPeer(fd)
	if err != nil {
		return err
	}
	e.slave = os.NewFile(uintptr(slave), "tty")
	if uid := e.process.User.UID; uid != 0 {
		if err := unix.Fchown(slave, int(uid), -1); err != nil && err != unix.EPERM && err != unix.EINVAL {
			return fmt.Errorf("give the terminal to the user: %w", err)
		}
	}
	if size := e.process.ConsoleSize; size != nil && size.Height|size.Width != 0 {
		return Resize(fd, uint16(size.Height), uint16(size.Width))
	}
	return nil
}

// lastSteps is what the process gives up and gets, in order, and the process as this host can have it.
func (e *execJob) lastSteps() (process specs.Process, filter *seccomp.Filter, last []step, err error) {
	fitted, err := e.container.fitExec(e.process)
	if err != nil {
		return process, nil, nil, err
	}
	process = *fitted
	if process.Capabilities == nil {
		if process.Capabilities, err = e.container.capabilities(); err != nil {
			return process, nil, nil, err
		}
	}
	if filter, err = e.container.filter(); err != nil {
		return process, nil, nil, err
	}
	linux, err := e.container.kernelFaces()
	if err != nil {
		return process, nil, nil, err
	}
	if last, err = privilegeSteps(&process, linux, filter != nil, e.container.runtime.warn); err != nil {
		return process, nil, nil, err
	}
	keepGroups(last, e.container.state.Annotations)
	var processes unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &processes); err != nil {
		return process, nil, nil, wrap("read the limit of processes", err)
	}
	return process, filter, withFork(last, filter, process.Terminal, processes.Max), nil
}

// writeProgram makes the list of system calls that the new process will make.
func (e *execJob) writeProgram(paths, env []string) error {
	process, filter, last, err := e.lastSteps()
	if err != nil {
		return err
	}
	namespaces, err := e.container.foreignNamespaces()
	if err != nil {
		return err
	}
	report, pidfd := e.socketNumber(), e.socketNumber()+1
	root, rest := pidfd+1, pidfd+2
	p := newProgram(report, report)
	if slices.ContainsFunc(last, throughProc) {
		if e.proc, err = openProc(); err != nil {
			return err
		}
		p.proc, p.open = rest, append(p.open, rest)
		rest++
	}
	p.entersUserNS = namespaces&unix.CLONE_NEWUSER != 0
	// What the caller itself inherited, without knowing, from whoever started it (CVE-2024-21626).
	p.call("close all other descriptors", unix.SYS_CLOSE_RANGE, uint64(rest), math.MaxUint32, 0)
	if err := e.oomScore(p, rest); err != nil {
		return err
	}
	p.call("enter the container's namespaces", unix.SYS_SETNS, uint64(pidfd), uint64(namespaces))
	p.call("close the container's handle", unix.SYS_CLOSE, uint64(pidfd))
	if namespaces&unix.CLONE_NEWNS == 0 {
		// The container lives in our own mount namespace, behind a chroot.
		p.call("go to the container's root", unix.SYS_FCHDIR, uint64(root))
		p.call("change the root", unix.SYS_CHROOT, p.string("."))
	}
	p.call("close the container's root", unix.SYS_CLOSE, uint64(root))
	if a := process.ExecCPUAffinity; a != nil && a.Final != "" {
		mask, err := parseRanges(a.Final)
		if err != nil {
			return err
		}
		p.call("set the processors to "+a.Final, unix.SYS_SCHED_SETAFFINITY, 0, uint64(len(mask)), p.store(mask))
	}
	p.call("go to the working directory "+process.Cwd, unix.SYS_CHDIR, p.string(process.Cwd))
	if err := p.defaultSignals(); err != nil {
		return err
	}
	if err := p.privileges(last, filter); err != nil {
		return err
	}
	p.execute(paths, process.Args, env)
	e.program = p
	return nil
}

// socketNumber is the descriptor after the standard streams and the extra files.
func (e *execJob) socketNumber() int { return 3 + len(e.options.ExtraFiles) }
