package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// keeper is the first process of a sandbox, and of its pid namespace.
type keeper struct {
	children *children
	name     string
	second   bool // the sandbox has a host2, and this is not it
}

// keep builds the world, says "ok", and then carries out commands (control.go) until it is killed.
func keep(dir string) error {
	lock, ready := inherited()
	var r Record
	if err := state.ReadJSON(filepath.Join(dir, "record.json"), &r); err != nil {
		return err
	}
	listener, err := listen(filepath.Join(dir, "control")) // while the directory can still be seen
	if err != nil {
		return err
	}
	k := &keeper{children: newChildren(), name: r.Name, second: r.Hosts == 2}
	if err := k.build(&r); err != nil {
		return err
	}
	inner, err := listen(home + "/control") // so that `mydocker sandbox exec` works in here too
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(ready, "ok"); err != nil {
		return fmt.Errorf("say that the sandbox is ready: %w", err) // nobody waits any more: nobody wants it
	}
	if err := ready.Close(); err != nil {
		return err
	}
	// It ends by SIGKILL alone. Not signal.Ignore: a command would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	go k.serve(inner)
	k.serve(listener)
	return lock.Release()
}

// inherited takes over what the starter has passed on. No child is to have them: the lock says that the keeper lives.
func inherited() (*state.Lock, *os.File) {
	unix.CloseOnExec(aliveFD)
	unix.CloseOnExec(readyFD)
	// Started as /proc/self/exe, it would be called "exe" in ps. A name is not worth failing for.
	_ = os.WriteFile("/proc/self/comm", []byte("mydocker"), 0)
	return state.InheritedLock(os.NewFile(aliveFD, "alive")), os.NewFile(readyFD, "ready")
}

func (k *keeper) build(r *Record) error {
	if err := buildMounts(r, "host"); err != nil {
		return err
	}
	if err := splitGroups(r, "init"); err != nil {
		return err
	}
	if err := wire(r.Hosts); err != nil {
		return err
	}
	if err := inNetns("internet", serveInternet); err != nil {
		return fmt.Errorf("start the servers of the internet: %w", err)
	}
	if k.second {
		return k.startSecond(r)
	}
	return nil
}

// splitGroups moves this process into a leaf below the root of the sandbox's cgroup tree: in version 2 a group that has
// processes of its own cannot hand controllers to the groups below it.
func splitGroups(r *Record, leaf string) error {
	if len(r.Cgroups) == 0 || !isV2("/sys/fs/cgroup") {
		return nil
	}
	group := "/sys/fs/cgroup/" + leaf
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(group+"/cgroup.procs", []byte("0"), 0); err != nil {
		return fmt.Errorf("move into %s: %w", group, err)
	}
	enableControllers("/sys/fs/cgroup")
	return nil
}

// listen makes a socket for commands.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, os.Chmod(path, 0o600)
}

// A second host is a second set of namespaces with a first process of its own, a child of the keeper. It gets its commands
// through the keeper.
const secondSocket = home + "/host2.sock"

// startSecond starts host2 and plugs it in.
func (k *keeper) startSecond(r *Record) error {
	if err := os.MkdirAll(home+"/host2", 0o700); err != nil {
		return err
	}
	if err := state.ReplaceJSON(home+"/host2/record.json", r, state.Volatile); err != nil {
		return err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	var groups []string
	if len(r.Cgroups) > 0 {
		trees, err := hierarchies()
		if err != nil {
			return err
		}
		for _, h := range trees {
			groups = append(groups, filepath.Join(h.target, "host2"))
		}
		if err := makeGroups(groups); err != nil {
			return err
		}
	}
	none, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer none.Close()
	attr := &os.ProcAttr{Dir: "/", Env: os.Environ(), Files: []*os.File{none, none, os.Stderr, none, tell}, Sys: memberNamespaces()}
	pid, err := k.children.start("/proc/self/exe", []string{"mydocker", "sandbox", "host2", home + "/host2"}, attr, nil)
	if err := errors.Join(err, tell.Close()); err != nil {
		return fmt.Errorf("start host2: %w", err)
	}
	if err := plugSecond(pid); err != nil {
		return fmt.Errorf("plug host2 in: %w", err)
	}
	for _, group := range groups {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
			return fmt.Errorf("move host2 into its cgroup: %w", err)
		}
	}
	if err := state.Replace(home+"/host2/go", nil, state.Volatile); err != nil {
		return err
	}
	said := make([]byte, 4096)
	n, _ := ready.Read(said)
	if string(said[:n]) != "ok" {
		return fmt.Errorf("host2: %s", said[:n])
	}
	return nil
}

func memberNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Setsid: true}
}

// inGroup is in the environment of host2's first process when it has its cgroup namespace.
const inGroup = "MYDOCKER_SANDBOX_GROUP"

// joinGroup waits until the keeper has moved this process into its cgroups, makes a cgroup namespace that has them as its
// root, and executes the program anew: a namespace made by unshare(2) is that of one thread, and execve leaves only that one.
func joinGroup(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "go")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("the keeper does not go on")
		}
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), inGroup+"=1"))
}

// keepSecond is the first process of host2.
func keepSecond(dir string) error {
	var r Record
	if err := state.ReadJSON(filepath.Join(dir, "record.json"), &r); err != nil {
		return err
	}
	if len(r.Cgroups) > 0 && os.Getenv(inGroup) == "" {
		return joinGroup(dir)
	}
	_, ready := inherited()
	listener, err := listen(secondSocket)
	if err != nil {
		return err
	}
	r.Shared = nil
	if err := buildMounts(&r, "host2"); err != nil {
		return err
	}
	if err := wireHost(secondAddress, secondAddress6); err != nil {
		return err
	}
	inner, err := listen(home + "/control")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(ready, "ok"); err != nil {
		return err
	}
	k := &keeper{children: newChildren(), name: r.Name}
	go k.serve(inner)
	k.serve(listener)
	return nil
}
