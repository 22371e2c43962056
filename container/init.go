package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/inherited"
	"github.com/mydocker/mydocker/container/seccomp"
)

// initArg is the first argument of a process that becomes a container.
const initArg = "init"

// Main is called first in main, before anything else is built. It says false when this process is not one that the
// runtime started; otherwise it does that process's work and ends it:
//
//	if container.Main(os.Args) {
//		return
//	}
func Main(args []string) bool {
	switch {
	case len(args) > 0 && args[0] == InitPath:
		os.Exit(reap(args[1:]))
	case len(args) == 3 && (args[1] == initArg || args[1] == forkArg):
		// The thread keeps its powers, its namespaces and its parent's death to itself: it must be the one that executes.
		runtime.LockOSThread()
		fd, err := strconv.Atoi(args[2])
		if err != nil || fd < 3 {
			fmt.Fprintln(os.Stderr, "init is started by the runtime only")
			os.Exit(125)
		}
		if args[1] == forkArg {
			os.Exit(forkInit(conn{fd}))
		}
		os.Exit(runInit(conn{fd}))
	}
	return false
}

// initializer is the child's half. Its descriptors are closed on exec, every one.
type initializer struct {
	conn     conn
	config   *initConfig
	root     int // the container's root file system
	proc     int // its /proc as it was mounted, before anything was put over it
	null     int // the host's /dev/null
	devpts   int
	console  int
	barrier  int   // listening socket, or -1
	dir      int   // the runtime's directory of this container, or -1
	mask     int   // an empty read-only tmpfs, made when first needed
	hostProc int   // the host's /proc, for the last program
	timeNS   int   // the time namespace that the last program enters
	trees    []int // detached mounts that came after the config

	// On the direct way (direct.go) the creator's own thread does the steps.
	direct bool
	made   []int  // mounts that the first process has made, in the order of the steps
	stdio  [3]int // the container's standard streams
}

func newInitializer(c conn) *initializer {
	return &initializer{
		conn: c, root: -1, proc: -1, null: -1, devpts: -1, console: -1, barrier: -1, dir: -1, mask: -1, hostProc: -1, timeNS: -1,
		stdio: [3]int{0, 1, 2},
	}
}

// runInit never returns when all goes well: the process becomes the command.
func runInit(c conn) int {
	unix.CloseOnExec(c.fd)
	if err := setDumpable(false); err != nil {
		return tellFailure(c, err)
	}
	kind, payload, files, err := c.receive()
	if err == io.EOF {
		return 125 // the creator gave up
	}
	if err == nil && kind != msgConfig {
		err = fmt.Errorf("expected the config, got message %d", kind)
	}
	if err != nil {
		return tellFailure(c, err)
	}
	in := newInitializer(c)
	if in.config, err = decodeConfig(payload); err != nil {
		return tellFailure(c, err)
	}
	if err := in.run(files); err != nil {
		return tellFailure(in.conn, err)
	}
	return 0
}

func tellFailure(c conn, err error) int {
	if sendErr := c.send(msgFailed, encodeError(err)); sendErr != nil {
		return 125
	}
	return 1
}

func (in *initializer) run(files []int) error {
	unix.Umask(0) // modes of what is made are what the steps say
	rootfs, err := in.takeFiles(files)
	if err == nil {
		err = in.takeTrees()
	}
	if err != nil {
		return err
	}
	for i, s := range in.config.Steps {
		if err := in.step(i, s, rootfs); err != nil {
			return err
		}
	}
	if err := in.openStdio(); err != nil {
		return err
	}
	last, err := in.prepareCommand()
	if err != nil {
		return err
	}
	if err := in.waitForStart(); err != nil {
		return err
	}
	for i, s := range in.config.AfterStart {
		if err := in.step(len(in.config.Steps)+i, s, rootfs); err != nil {
			return err
		}
	}
	if err := in.takeDoorAway(); err != nil {
		return err
	}
	return in.execute(last)
}

// takeFiles gives names to the descriptors that came with the config, in the order in which the creator sends them.
func (in *initializer) takeFiles(files []int) (rootfs int, err error) {
	want := 0
	rootfs = -1
	take := func(present bool, to *int) {
		if present {
			if want < len(files) {
				*to = files[want]
			}
			want++
		}
	}
	take(in.config.HasRootfs, &rootfs)
	take(in.config.HasBarrier, &in.barrier)
	take(in.config.HasBarrier, &in.dir)
	if want != len(files) {
		return -1, fmt.Errorf("expected %d descriptors, got %d", want, len(files))
	}
	return rootfs, nil
}

// takeTrees receives the mounts that the creator has made for us.
func (in *initializer) takeTrees() error {
	for len(in.trees) < in.config.Trees {
		kind, _, files, err := in.conn.receive()
		if err == nil && (kind != msgTrees || len(files) == 0) {
			err = fmt.Errorf("expected mounts, got message %d", kind)
		}
		if err != nil {
			return err
		}
		in.trees = append(in.trees, files...)
	}
	return nil
}

// step does one step; if the creator watches, under its eyes.
func (in *initializer) step(n int, s step, rootfs int) error {
	if !in.config.Watched {
		return in.do(s, rootfs)
	}
	index := encoder{}
	index.uint(uint64(n))
	if err := in.ask(msgBefore, index.buf); err != nil {
		return err
	}
	if err := in.do(s, rootfs); err != nil {
		index.buf = append(index.buf, encodeError(err)...)
	}
	return in.ask(msgAfter, index.buf)
}

// ask sends a question and waits for the verdict: empty is consent.
func (in *initializer) ask(t messageType, payload []byte) error {
	if err := in.conn.send(t, payload); err != nil {
		return err
	}
	kind, answer, _, err := in.conn.receive()
	switch {
	case err != nil:
		return fmt.Errorf("the creator has gone: %w", err)
	case kind != msgVerdict:
		return fmt.Errorf("expected a verdict, got message %d", kind)
	case len(answer) > 0:
		return decodeError(answer)
	}
	return nil
}

func (in *initializer) do(s step, rootfs int) error {
	var err error
	switch s.Kind {
	case stepUnshareCgroup:
		err = wrap("unshare the cgroup namespace", unix.Unshare(unix.CLONE_NEWCGROUP))
	case stepLoopback:
		err = loopbackUp()
	case stepHooks:
		err = in.ask(msgHooks, nil)
	case stepContainerHook:
		err = runContainerHook(s)
	case stepHostname:
		err = wrap("set the host name", unix.Sethostname([]byte(s.Source)))
	case stepTimeNamespace:
		err = wrap("make the time namespace", in.timeNamespace(s))
	case stepProcHandle:
		in.hostProc, err = openProc()
	case stepDomainname:
		err = wrap("set the domain name", unix.Setdomainname([]byte(s.Source)))
	default:
		err = in.doRootfs(s, rootfs)
	}
	return err
}

// openStdio lets the container's user open /dev/stdout and its like again: pipes and sockets belong to whoever made
// them. Files and terminals of the caller are not touched, they are not ours to give away.
func (in *initializer) openStdio() error {
	for _, fd := range in.stdio {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return wrap("look at the standard streams", err)
		}
		kind := st.Mode & unix.S_IFMT
		ours := kind == unix.S_IFIFO || kind == unix.S_IFSOCK || in.config.Terminal
		if !ours || uint64(st.Uid) == in.config.UID {
			continue
		}
		err := unix.Fchown(fd, int(in.config.UID), -1)
		if err != nil && err != unix.EPERM && err != unix.EINVAL && err != unix.EROFS {
			return wrap("give the standard streams to the user", err)
		}
	}
	return nil
}

// waitForStart is the start barrier: the word comes from the creator, or from whoever connects to the barrier's socket.
func (in *initializer) waitForStart() error {
	if err := in.conn.send(msgReady, nil); err != nil {
		return err
	}
	if in.config.HasBarrier {
		for {
			fd, _, err := unix.Accept4(in.barrier, unix.SOCK_CLOEXEC)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil {
				return wrap("wait for start", err)
			}
			// The same number as before: the last program has it written in it.
			if err := unix.Dup3(fd, in.conn.fd, unix.O_CLOEXEC); err != nil {
				return wrap("talk to whoever starts", err)
			}
			unix.Close(fd)
			unix.Close(in.barrier) // nobody else waits in vain
			break
		}
	}
	kind, _, _, err := in.conn.receive()
	if err == io.EOF {
		os.Exit(125) // the creator has ended: nobody will ever start this container
	}
	if err == nil && kind != msgStart {
		err = fmt.Errorf("expected start, got message %d", kind)
	}
	return err
}

// takeDoorAway removes the barrier's socket before the command runs: its absence means "running".
func (in *initializer) takeDoorAway() error {
	if in.dir < 0 {
		return nil
	}
	if err := unix.Unlinkat(in.dir, startSocket, 0); err != nil && err != unix.ENOENT && err != unix.EPERM && err != unix.EACCES {
		return wrap("remove the start barrier", err)
	}
	return nil
}

// execute becomes the last program, and that the command. The socket closes with it, which tells the creator that it
// worked.
func (in *initializer) execute(p *program) error {
	e := encoder{}
	e.strings(p.labels)
	if err := in.conn.send(msgLabels, e.buf); err != nil {
		return err
	}
	file, err := p.file(in.conn.fd)
	if err != nil {
		return err
	}
	// Whatever was opened by mistake, or inherited: nothing above the standard streams and the files that were asked for
	// lives on in the command (CVE-2024-21626). The socket lives on in the last program, which closes it the same way.
	if err := unix.CloseRange(uint(3+in.config.ExtraFiles), ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return wrap("close all other descriptors", err)
	}
	for _, fd := range []int{in.conn.fd, in.hostProc, in.timeNS} {
		if fd < 0 {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return wrap("keep what the last program needs", err)
		}
	}
	return becomeProgram(file)
}

// prepareCommand goes to the working directory and finds the command there, with the powers that it will have.
func (in *initializer) prepareCommand() (*program, error) {
	if err := unix.Chdir(in.config.Cwd); err != nil {
		return nil, fmt.Errorf("go to the working directory %q: %w", in.config.Cwd, err)
	}
	// A working directory outside the root would be a way to the host: the kernel says so by a name without a leading slash.
	if wd, err := unix.Getwd(); err != nil || !strings.HasPrefix(wd, "/") {
		return nil, errors.Join(fmt.Errorf("the working directory %q is outside the container's root", in.config.Cwd), err)
	}
	if in.config.Terminal {
		if err := in.controllingTerminal(); err != nil {
			return nil, err
		}
	}
	env := withHome(in.config.Env, in.config.UID, readHostFile)
	paths, err := lookPath(in.config.Args[0], env, executable)
	if err != nil {
		return nil, err
	}
	p := in.newProgram()
	if in.direct {
		p.call("go to the working directory "+in.config.Cwd, unix.SYS_CHDIR, p.string(in.config.Cwd))
	}
	if err := p.defaultSignals(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(in.config.Last, func(s step) bool { return s.Type == "RLIMIT_NOFILE" }) {
		soft, hard := inherited.OpenFiles()
		p.call("give back the limit of open files", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, p.words(soft, hard), 0)
	}
	if err := p.privileges(in.config.Last, &seccomp.Filter{Code: in.config.Filter, Flags: in.config.FilterFlag}); err != nil {
		return nil, err
	}
	p.execute(paths, in.config.Args, env)
	if in.direct {
		p.sendLabels()
	}
	return p, nil
}

// newProgram begins the last program, with what it alone can do: a process with threads may not enter a time namespace.
func (in *initializer) newProgram() *program {
	var others []int
	for _, fd := range []int{in.hostProc, in.timeNS} {
		if fd >= 0 {
			others = append(others, fd)
		}
	}
	p := newProgram(3+in.config.ExtraFiles, in.conn.fd, others...)
	p.proc = in.hostProc
	if in.timeNS >= 0 {
		p.call("enter the time namespace", unix.SYS_SETNS, uint64(in.timeNS), unix.CLONE_NEWTIME)
		p.call("close the time namespace", unix.SYS_CLOSE, uint64(in.timeNS))
		p.open = slices.DeleteFunc(p.open, func(fd int) bool { return fd == in.timeNS })
	}
	return p
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
