package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// initProcess is the creator's side of a container's first process.
type initProcess struct {
	pid     int
	conn    conn
	steps   []step
	last    []step // what the last program does, between start and the command
	watch   plan.Watcher
	command string // for messages
	started bool
	hooks   func() error
	listen  func(listener, pid int) error // hands on the listener of a seccomp filter
	console int
	joining []string // labels of the program that it was at first (direct.go, joinuser.go)
	direct  *directStart
	forks   bool     // init is not born yet: awaitBirth
	pidfd   *os.File // of one that is not our child: Watch

	waitOnce sync.Once
	status   unix.WaitStatus
	waitErr  error
}

// namespaceFlags are the kinds of namespaces by the names of the spec.
func namespaceFlags() map[specs.LinuxNamespaceType]uintptr {
	return map[specs.LinuxNamespaceType]uintptr{
		specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.MountNamespace: unix.CLONE_NEWNS,
		specs.IPCNamespace: unix.CLONE_NEWIPC, specs.UTSNamespace: unix.CLONE_NEWUTS, specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
		specs.UserNamespace: unix.CLONE_NEWUSER, specs.TimeNamespace: unix.CLONE_NEWTIME,
	}
}

// birth says into which namespaces init is born: new ones by clone's flags, others by path.
type birth struct {
	clone uintptr
	join  []specs.LinuxNamespace
	user  string // path of a user namespace: joined by a process with one thread (joinuser.go)
	// groups says that the caller's groups stay (keepGroups).
	groups bool
}

func birthOf(s *specs.Spec) birth {
	b := birth{groups: s.Annotations[annotationGroups] == "1"}
	flags := namespaceFlags()
	for _, n := range s.Linux.Namespaces {
		switch {
		case n.Type == specs.TimeNamespace:
			// Entered by the last program: a process with threads may not (stepTimeNamespace).
		case n.Type == specs.UserNamespace && n.Path != "":
			b.user = n.Path
		case n.Path != "":
			b.join = append(b.join, n)
		case n.Type == specs.CgroupNamespace:
			// Made by init itself, once it is in its group (stepUnshareCgroup).
		default:
			b.clone |= flags[n.Type]
		}
	}
	return b
}

func (b birth) Command() string {
	var words []string
	for _, n := range b.join {
		words = append(words, fmt.Sprintf("nsenter --%s=%s", longName(n.Type), n.Path))
	}
	if b.user != "" {
		words = append(words, "nsenter --user="+b.user)
	}
	unshare := "unshare --fork"
	flags := namespaceFlags()
	for _, kind := range slices.Sorted(maps.Keys(flags)) {
		if b.clone&flags[kind] != 0 {
			unshare += " --" + longName(kind)
		}
	}
	return strings.Join(append(words, unshare+" $0 init"), " ")
}

func (b birth) Why() string { return "the first process, born into its namespaces" }

func longName(kind specs.LinuxNamespaceType) string {
	if kind == specs.NetworkNamespace {
		return "net"
	}
	return string(kind)
}

// launch starts init. It runs on a thread of its own that enters the joined namespaces and dies with this function:
// no other code of ours ever runs there.
//
// prepare, if not nil, is run on that thread first.
func launch(executable string, b birth, files []*os.File, cgroup *os.File, prepare func() error, s *specs.Spec) (*initProcess, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	attr := &syscall.ProcAttr{
		// Nothing of the host's environment. One processor is enough for init, and saying so spares Go's start-up a look at
		// all of /proc/self/mountinfo for a CPU limit.
		Env: []string{"GOMAXPROCS=1"},
		Sys: &syscall.SysProcAttr{Cloneflags: b.clone, Setsid: true},
	}
	if cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(cgroup.Fd())
	}
	mapUsers(attr.Sys, s)
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	attr.Files = append(attr.Files, uintptr(theirs))
	argv := []string{"mydocker", initArg, fmt.Sprint(len(files))}
	if b.user != "" {
		return launchJoined(executable, b, attr, argv, prepare, ours)
	}
	if attr.Sys.Credential != nil {
		handle, err := openProgram(executable, len(attr.Files))
		if err != nil {
			unix.Close(ours)
			return nil, err
		}
		defer unix.Close(handle)
		executable = fmt.Sprintf("/proc/self/fd/%d", handle)
	}
	pid, err := giveBirth(executable, argv, attr, b, prepare)
	runtime.KeepAlive(files)
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("start init: %w", err)
	}
	return &initProcess{pid: pid, conn: conn{ours}, console: -1}, nil
}

// openProgram opens our program for a child that will be nobody when it executes it: the directories on the way may be
// closed to it. The descriptor is out of the way of those that the child is given.
func openProgram(path string, given int) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, given+64)
}

func mapUsers(attr *syscall.SysProcAttr, s *specs.Spec) {
	if attr.Cloneflags&unix.CLONE_NEWUSER == 0 {
		return
	}
	attr.UidMappings, attr.GidMappings = convertIDs(s.Linux.UIDMappings), convertIDs(s.Linux.GIDMappings)
	// A user who is not root may map nobody but himself, and has to forgo setgroups(2) before: user_namespaces(7).
	attr.GidMappingsEnableSetgroups = os.Geteuid() == 0
	// Root of the new namespace: else the execve of init would find a user without a name there, and take all powers away.
	attr.Credential = &syscall.Credential{NoSetGroups: s.Annotations[annotationGroups] == "1" || os.Geteuid() != 0}
}

func convertIDs(list []specs.LinuxIDMapping) (out []syscall.SysProcIDMap) {
	for _, m := range list {
		out = append(out, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return out
}

// onThrowawayThread runs fn on a thread that nobody uses afterwards: a goroutine that ends while it is locked takes its
// thread with it.
func onThrowawayThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot be thrown away: Go parks it for ever, and it would stay in the namespaces and
			// in the cgroup. While it is held here, another goroutine gets another thread.
			result <- onThrowawayThread(fn)
			runtime.UnlockOSThread()
			return
		}
		result <- fn()
	}()
	return <-result
}

// joinNamespaces puts the calling thread into namespaces that exist; what it forks is born there.
func joinNamespaces(list []specs.LinuxNamespace) error {
	flags := namespaceFlags()
	for _, n := range list {
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s namespace %s: %w", n.Type, n.Path, err)
		}
		if n.Type == specs.MountNamespace {
			// A thread that shares its root and working directory with others may not change its mount namespace.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				unix.Close(fd)
				return fmt.Errorf("unshare the working directory: %w", err)
			}
		}
		err = unix.Setns(fd, int(flags[n.Type]))
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("join %s namespace %s: %w", n.Type, n.Path, err)
		}
	}
	return nil
}

// converse is the creator's side of the conversation, up to "ready".
func (p *initProcess) converse(ctx context.Context) error {
	// A creator that is told to stop must not wait for ever: ending the conversation ends init, and with it this loop.
	defer p.conn.interrupt(ctx)()
	for {
		kind, payload, files, err := p.conn.receive()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return p.premature(err)
		}
		switch kind {
		case msgReady:
			return nil
		case msgFailed:
			return decodeError(payload)
		case msgRow:
			return rowFailure(payload, p.joining, "init")
		case msgConsole:
			if len(files) != 1 || p.console >= 0 {
				return errors.New("init sent no terminal")
			}
			p.console = files[0]
		case msgHooks:
			err = p.verdict(p.hooks())
		case msgBefore, msgAfter:
			err = p.watched(kind, payload)
		default:
			err = fmt.Errorf("unexpected message %d from init", kind)
		}
		if err != nil {
			return err
		}
	}
}

// premature explains a conversation that broke off: init has died, and its exit status is all that is left of it.
func (p *initProcess) premature(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("talk to init: %w", err)
	}
	exit, waitErr := p.wait()
	if waitErr != nil {
		return waitErr
	}
	if exit.Signal == unix.SIGKILL {
		return errors.New("init was killed while it made the container: perhaps the memory limit is too small for it")
	}
	return fmt.Errorf("init ended with status %d before the container was ready", exit.Code)
}

// watched passes what init is about to do, or has done, to the watcher.
func (p *initProcess) watched(kind messageType, payload []byte) error {
	d := decoder{buf: payload}
	n := d.uint()
	if d.err != nil || n >= uint64(len(p.steps)) {
		return errors.New("init reports a step that it was not given")
	}
	op := p.steps[n]
	if kind == msgBefore {
		return p.verdict(p.watch.Before(op))
	}
	var result error
	if len(d.buf) > 0 {
		result = decodeError(d.buf)
	}
	return p.verdict(p.watch.After(op, result))
}

func (p *initProcess) verdict(err error) error {
	if err == nil {
		return p.conn.send(msgVerdict, nil)
	}
	return p.conn.send(msgVerdict, encodeError(err))
}

// awaitExec reads on until the command has been executed, which closes init's end.
func (p *initProcess) awaitExec() error {
	var labels []string
	for {
		kind, payload, files, err := p.conn.receive()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("talk to init: %w", err)
		case kind == msgListener:
			if err := passListener(files, p.pid, p.listen); err != nil {
				return err
			}
		case kind == msgFailed:
			return decodeError(payload)
		case kind == msgLabels:
			d := decoder{buf: payload}
			if labels = d.strings(); d.err != nil {
				return d.err
			}
		case kind == msgRow:
			return rowFailure(payload, labels, p.command)
		case kind == msgBefore || kind == msgAfter:
			if err := p.watched(kind, payload); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unexpected message %d from init", kind)
		}
	}
}

// wait collects the process. It may be called again, and by several goroutines.
func (p *initProcess) wait() (Exit, error) {
	p.waitOnce.Do(func() {
		if p.pidfd != nil {
			p.status, p.waitErr = p.awaitPidfd()
			return
		}
		for {
			_, p.waitErr = unix.Wait4(p.pid, &p.status, 0, nil)
			if p.waitErr != unix.EINTR {
				return
			}
		}
	})
	if p.waitErr != nil {
		return Exit{}, fmt.Errorf("wait for process %d: %w", p.pid, p.waitErr)
	}
	return exitOf(p.status), nil
}

func exitOf(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Code: 128 + int(ws.Signal()), Signal: ws.Signal()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// abandon ends a first process that must not live: one whose container could not be made.
func (p *initProcess) abandon() {
	unix.Close(p.conn.fd)
	if p.console >= 0 {
		unix.Close(p.console)
	}
	if p.direct != nil {
		p.direct.abandon()
	}
	// The number is ours until we have waited for it.
	if err := unix.Kill(p.pid, unix.SIGKILL); err == nil || err == unix.ESRCH {
		p.wait()
	}
}

// NamespaceTypes are the kinds of namespaces that a config may name.
func NamespaceTypes() []string {
	var list []string
	for kind := range namespaceFlags() {
		list = append(list, string(kind))
	}
	slices.Sort(list)
	return list
}
