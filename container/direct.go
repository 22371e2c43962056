package container

import (
	"context"
	"fmt"
	"math"
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

// The direct way to a container's first process. Most containers go it; the others go by way of init.go.
//
// A second start of a Go program costs two to three milliseconds, a good part of a container's whole start. So the first
// process is born as a tiny program (trampoline.go) that waits, and the creator furnishes the new namespaces himself: one of
// his threads enters the child's mount, uts, ipc and network namespaces, walks along the same steps as init would, moves the
// child's root with its own (pivot_root(2) moves everyone whose root was the old one), and dies.
//
//	creator                                        first process
//	   |  clone(NEWPID|NEWNS|…), exec the program     |
//	   |--------------------------------------------->| makes the file systems that belong to its own pid or cgroup
//	   |<- msgMounts (+ proc, cgroup2) ----------------| namespace: no one else can; hands them over, unmounted
//	   |  a thread enters its namespaces and           | (waits)
//	   |  does the steps, one by one                   |
//	   |  writes the last program                      |
//	   |-- start ------------------------------------>| executes the last program, and that the command
//	   |<- labels, then end of file -------------------|
//
// What this way cannot do goes the other: a thread may not enter a user namespace, and what has to be done by the process
// itself while it still has powers (a terminal, hooks inside, a time namespace) is not for a program that is a bare list.
type directStart struct {
	thread *boundThread
	in     *initializer
	late   *os.File // the last program's file: written when the container is furnished
	hooks  func() error
	own    []step // mounts that the first process makes
	proc   bool   // the last program needs the host's /proc
}

// goesDirect says whether the direct way serves. It is decided by the whole list of steps.
func (j *createJob) goesDirect(c *initConfig) bool {
	if c.Terminal || j.options.Detach || j.options.UserNS != "" || hasUserNS(j.spec) || !owns(j.spec, specs.MountNamespace) || len(c.AfterStart) > 0 {
		return false
	}
	return !slices.ContainsFunc(c.Steps, func(s step) bool {
		switch s.Kind {
		case stepContainerHook, stepChroot, stepConsole, stepConsoleDevice, stepTimeNamespace:
			return true
		}
		return s.handed() >= 0
	})
}

// boundThread is a thread that does one thing after another and then dies: it enters namespaces from which it cannot return.
type boundThread struct {
	work chan func()
	end  func()
}

func newBoundThread() *boundThread {
	t := &boundThread{work: make(chan func())}
	t.end = sync.OnceFunc(func() { close(t.work) })
	go onThrowawayThread(func() error {
		for do := range t.work {
			do()
		}
		return nil
	})
	return t
}

func (t *boundThread) do(fn func() error) error {
	result := make(chan error, 1)
	t.work <- func() { result <- fn() }
	return <-result
}

// elsewhere runs what must not see the container's namespaces, such as hooks and watchers that start programs, on another
// thread than the bound one.
func elsewhere(fn func() error) error {
	result := make(chan error, 1)
	go func() { result <- fn() }()
	return <-result
}

// belongsToChild says whether a file system shows the pid or cgroup namespace of whoever makes it.
func belongsToChild(s step) bool {
	return s.Kind == stepMount && (s.Type == "proc" || s.Type == "cgroup2" || s.Type == "cgroup")
}

// launchDirect is launch for the direct way.
func launchDirect(c *initConfig, b birth, files []*os.File, cgroup *os.File, prepare func() error) (_ *initProcess, err error) {
	d, err := newDirect(c, files)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.abandon()
		}
	}()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	given := len(files)
	program := d.firstProgram(given)
	pid, err := d.launch(program, theirs, b, files, cgroup, prepare)
	runtime.KeepAlive(files)
	if err != nil {
		unix.Close(ours)
		return nil, wrap("start the first process", err)
	}
	return &initProcess{pid: pid, conn: conn{ours}, console: -1, direct: d, joining: program.labels}, nil
}

// newDirect prepares what the first process will need later.
func newDirect(c *initConfig, files []*os.File) (d *directStart, err error) {
	d = &directStart{in: newInitializer(conn{len(files)}), thread: newBoundThread()}
	d.in.config, d.in.direct = c, true
	for _, s := range c.Steps {
		if belongsToChild(s) {
			d.own = append(d.own, s)
		}
		d.proc = d.proc || s.Kind == stepProcHandle
	}
	if d.late, err = newProgramFile(); err != nil {
		d.thread.end()
		return nil, err
	}
	for i := range d.in.stdio {
		// A copy: the caller's file may be closed before the steps come to it.
		if d.in.stdio[i], err = unix.FcntlInt(files[i].Fd(), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			d.abandon()
			return nil, fmt.Errorf("standard stream %d: %w", i, err)
		}
	}
	return d, nil
}

// launch gives birth to the first process. theirs is its end of the conversation.
func (d *directStart) launch(first *program, theirs int, b birth, files []*os.File, cgroup *os.File, prepare func() error) (int, error) {
	given := len(files)
	f, err := first.file(given)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	attr := &syscall.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Cloneflags: b.clone, Setsid: true}}
	if cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(cgroup.Fd())
	}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	attr.Files = append(attr.Files, uintptr(theirs), d.late.Fd())
	handle, err := outOfTheWay(f, attr.Files)
	if err != nil {
		return 0, err
	}
	defer unix.Close(handle)
	return giveBirth(fmt.Sprintf("/proc/self/fd/%d", handle), []string{"mydocker"}, attr, b, prepare)
}

// outOfTheWay is a number for a program's file that the child, which gives its own files the numbers from 0 on and needs as many more
// above them for that, does not overwrite before it executes the program by this number. It is no higher than need be: beyond 64
// the kernel makes a larger table, and where threads share it waits until no processor looks at the old one, which takes
// 4 to 20 ms (expand_fdtable, synchronize_rcu).
func outOfTheWay(f *os.File, files []uintptr) (int, error) {
	free := len(files)
	for _, fd := range files {
		free = max(free, int(fd)+1)
	}
	handle, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, free+len(files)+2)
	return handle, wrap("hold the program", err)
}

// workingDirectory is AT_FDCWD, -100, as a system call's argument.
const workingDirectory = ^uint64(99)

// firstProgram is what the first process does before it waits. given is the number of its files; the conversation and the
// last program's file follow them.
func (d *directStart) firstProgram(given int) *program {
	report, late := given, given+1
	p := newProgram(given, report, late)
	// What the caller itself inherited, without knowing, from whoever started it (CVE-2024-21626).
	p.call("close all other descriptors", unix.SYS_CLOSE_RANGE, uint64(late+1), math.MaxUint32, 0)
	p.call("close the last program's file in time", unix.SYS_FCNTL, uint64(late), unix.F_SETFD, unix.FD_CLOEXEC)
	if slices.ContainsFunc(d.in.config.Steps, func(s step) bool { return s.Kind == stepUnshareCgroup }) {
		p.call("unshare the cgroup namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
	if d.proc {
		// It is still the host's: the first process was born with a copy of the creator's mounts, and keeps this one open.
		d.in.hostProc = p.opened("open the host's /proc", unix.SYS_OPENAT, workingDirectory, p.string("/proc"), unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	var mounts []int
	for _, s := range d.own {
		mounts = append(mounts, p.newFilesystem(s))
	}
	p.sendDescriptors("hand over the mounts", msgMounts, mounts)
	for _, fd := range mounts {
		p.call("close a mount that was handed over", unix.SYS_CLOSE, uint64(fd))
	}
	p.open = slices.DeleteFunc(p.open, func(fd int) bool { return slices.Contains(mounts, fd) })
	// The message says no more than that it has come. When the creator is gone there is none, and the last program's first
	// call fails.
	p.call("wait for start", unix.SYS_RECVFROM, uint64(report), p.words(0), 5, unix.MSG_WAITALL, 0, 0)
	p.call("execute the last program (vm.memfd_noexec must not be 2)", unix.SYS_EXECVEAT, uint64(late), p.string(""),
		p.vector([]string{"mydocker"}), p.vector(nil), unix.AT_EMPTY_PATH)
	return p
}

// newFilesystem is the function of this name (rootfs.go), as a list of calls. The result is the mount's descriptor.
func (p *program) newFilesystem(s step) int {
	what := "mount " + s.Type + " on " + s.Target
	fs := p.opened(what, unix.SYS_FSOPEN, p.string(s.Type), unix.FSOPEN_CLOEXEC)
	config := func(label string, command int, key, value uint64) {
		p.call(what+label, unix.SYS_FSCONFIG, uint64(fs), uint64(command), key, value, 0)
	}
	config(": source "+s.Source, unix.FSCONFIG_SET_STRING, p.string("source"), p.string(s.Source))
	for _, option := range s.Data {
		key, value, hasValue := strings.Cut(option, "=")
		switch {
		case option == "":
		case hasValue:
			config(": mount option "+option, unix.FSCONFIG_SET_STRING, p.string(key), p.string(value))
		default:
			config(": mount option "+option, unix.FSCONFIG_SET_FLAG, p.string(key), 0)
		}
	}
	config("", unix.FSCONFIG_CMD_CREATE, 0, 0)
	mount := p.opened(what, unix.SYS_FSMOUNT, uint64(fs), unix.FSMOUNT_CLOEXEC, s.Num[numAttrSet])
	p.call(what, unix.SYS_CLOSE, uint64(fs))
	p.open = slices.DeleteFunc(p.open, func(fd int) bool { return fd == fs })
	return mount
}

// opened adds a call whose result is a descriptor, and says which number that will be.
func (p *program) opened(label string, number uintptr, args ...uint64) int {
	fd := p.free()
	p.open = append(p.open, fd)
	p.call(label, number, args...)
	return fd
}

// sendDescriptors adds a call that sends a message without payload, and descriptors with it.
func (p *program) sendDescriptors(label string, t messageType, files []int) {
	message := frame(t, nil)
	header := []uint64{0, 0, p.words(p.store(message), uint64(len(message))), 1, 0, 0, 0} // struct msghdr
	if len(files) > 0 {
		rights := unix.UnixRights(files...)
		header[4], header[5] = p.store(rights), uint64(len(rights))
	}
	p.call(label, unix.SYS_SENDMSG, uint64(p.report), p.words(header...), unix.MSG_NOSIGNAL)
}

// furnish makes the container ready for its start: the counterpart of init's run.
func (p *initProcess) furnish(ctx context.Context, rootfs *os.File) error {
	d := p.direct
	defer d.abandon()
	defer p.conn.interrupt(ctx)()
	kind, payload, files, err := p.conn.receive()
	switch {
	case err != nil:
		return p.premature(err)
	case kind == msgRow:
		return rowFailure(payload, p.joining, "init")
	case kind != msgMounts || len(files) != len(d.own):
		return fmt.Errorf("unexpected message %d from the first process", kind)
	}
	d.in.made = files
	detached := -1
	if rootfs != nil {
		// A copy: the initializer closes what it has as its root.
		if detached, err = unix.FcntlInt(rootfs.Fd(), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			return wrap("hold the root file system", err)
		}
	}
	return d.thread.do(func() error {
		if err := enterLike(p.pid); err != nil {
			return err
		}
		unix.Umask(0) // modes of what is made are what the steps say
		for _, s := range d.in.config.Steps {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := d.step(s, detached, p.watch); err != nil {
				return err
			}
		}
		return d.writeLast()
	})
}

func (d *directStart) step(s step, rootfs int, w plan.Watcher) error {
	do := func() error { return d.in.do(s, rootfs) }
	switch s.Kind {
	case stepHooks:
		do = func() error { return elsewhere(d.hooks) }
	case stepUnshareCgroup, stepProcHandle:
		do = func() error { return nil } // the first process did it: it is in its group, and it is its handle
	}
	if w == nil {
		return do()
	}
	if err := elsewhere(func() error { return w.Before(s) }); err != nil {
		return err
	}
	err := do()
	return elsewhere(func() error { return w.After(s, err) })
}

// enterLike puts the calling thread into the namespaces of a process in which the steps are done. Not into the pid
// namespace, which a process cannot change, nor into that of cgroups, which no step needs.
func enterLike(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return wrap("open the first process", err)
	}
	defer unix.Close(pidfd)
	// A thread that shares its root and working directory with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return wrap("unshare the working directory", err)
	}
	return wrap("enter the first process's namespaces",
		unix.Setns(pidfd, unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_NEWNET))
}

// writeLast fills the file that the first process executes at the start.
func (d *directStart) writeLast() error {
	if err := d.in.openStdio(); err != nil {
		return err
	}
	p, err := d.in.prepareCommand()
	if err != nil {
		return err
	}
	return p.fill(d.late, d.in.conn.fd)
}

// sendLabels makes the program begin by telling what its rows are for: rowFailure needs it. Where nobody listens any more it
// fails, and the program ends.
func (p *program) sendLabels() {
	p.rows = slices.Insert(p.rows, 0, programRow{})
	p.labels = slices.Insert(p.labels, 0, "say what follows")
	e := encoder{}
	e.strings(p.labels)
	message := frame(msgLabels, e.buf)
	p.rows[0] = programRow{number: unix.SYS_SENDTO, args: [6]uint64{uint64(p.report), p.store(message), uint64(len(message)), unix.MSG_NOSIGNAL}}
}

// abandon lets go of what is not needed once the container is there, or will never be. It may be called again.
func (d *directStart) abandon() {
	d.thread.end()
	d.late.Close()
	d.in.close()
}

// close closes what the steps left open.
func (in *initializer) close() {
	list := []*int{&in.root, &in.proc, &in.null, &in.devpts, &in.mask, &in.stdio[0], &in.stdio[1], &in.stdio[2]}
	for i := range in.made {
		list = append(list, &in.made[i])
	}
	for _, fd := range list {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}
