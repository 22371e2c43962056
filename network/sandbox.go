package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Sandbox is a pinned network namespace: a file on which the namespace is mounted, so that it lives without a process in
// it, and `ip netns` knows it by name.
type Sandbox struct {
	Name, Path string
}

// sandboxRecord says which container a name under /run/netns belongs to. It is RUN/sandboxes/<container id>, its content
// is the name; while it gets another, both, a line each, first the one that it has.
func (m *Manager) sandboxRecord(containerID string) string {
	return filepath.Join(m.root.Run, "sandboxes", containerID)
}

// sandboxNames are the names in a container's record. Absent is fs.ErrNotExist.
func (m *Manager) sandboxNames(containerID string) ([]string, error) {
	content, err := state.ReadFile(m.sandboxRecord(containerID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent("container %s has no network namespace of its own", short(containerID))
	}
	if err != nil {
		return nil, fmt.Errorf("look up the network namespace of container %s: %w", short(containerID), err)
	}
	return strings.Split(string(content), "\n"), nil
}

func (m *Manager) recordSandbox(containerID string, names ...string) error {
	return state.Replace(m.sandboxRecord(containerID), []byte(strings.Join(names, "\n")), state.Volatile)
}

// Sandbox finds a container's sandbox. Absent is fs.ErrNotExist.
func (m *Manager) Sandbox(containerID string) (*Sandbox, error) {
	names, err := m.sandboxNames(containerID)
	if err != nil {
		return nil, err
	}
	return m.sandbox(names[0]), nil
}

func (m *Manager) sandbox(name string) *Sandbox {
	return &Sandbox{Name: name, Path: filepath.Join(m.root.NetNS, name)}
}

// CreateSandbox makes a network namespace with lo up and nothing else, and pins it as /run/netns/NAME. A namespace of that
// name that is not ours is refused. One that an earlier run of the same container left is replaced.
func (m *Manager) CreateSandbox(ctx context.Context, name, containerID string) (sb *Sandbox, err error) {
	return m.CreateSandboxOf(ctx, name, containerID, "")
}

// CreateSandboxOf is CreateSandbox for a namespace that exists: it is pinned, and set up like a new one. A namespace that
// belongs to a user namespace is made by whoever makes that. "" makes a new one.
func (m *Manager) CreateSandboxOf(ctx context.Context, name, containerID, existing string) (sb *Sandbox, err error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q cannot be the name of a network namespace", name)
	}
	if err := m.prepareNetNS(); err != nil {
		return nil, err
	}
	if old, err := m.Sandbox(containerID); err == nil {
		if err := m.DeleteSandbox(old.Name); err != nil {
			return nil, fmt.Errorf("remove network namespace %s of the run before: %w", old.Name, err)
		}
	}
	sb = m.sandbox(name)
	if err := m.evictSandbox(name); err != nil {
		return nil, err
	}
	if err := m.recordSandbox(containerID, name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.unpin(containerID))
		}
	}()
	op := pinNamespace{Sandbox: sb, From: existing}
	if err = plan.Do(m.watch, op, func() error { return op.apply(ctx, nil) }); err != nil {
		return nil, err
	}
	return sb, nil
}

// evictSandbox sees to it that nothing is pinned under the name. Only what has a record of ours is removed.
func (m *Manager) evictSandbox(name string) error {
	path := filepath.Join(m.root.NetNS, name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	owner, err := m.sandboxOwner(name)
	if err != nil {
		return err
	}
	if owner != "" {
		return exists("network namespace %s belongs to container %s", name, short(owner))
	}
	return exists("network namespace %s exists and is not mydocker's: choose another name, or remove it with `ip netns del %s`", name, name)
}

// sandboxOwner is the container whose sandbox is called name, "" if there is none. It reads all records, so it is not for
// the ordinary way.
func (m *Manager) sandboxOwner(name string) (string, error) {
	ids, err := readDirNames(filepath.Join(m.root.Run, "sandboxes"))
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if names, err := m.sandboxNames(id); err == nil && slices.Contains(names, name) {
			return id, nil
		}
	}
	return "", nil
}

// DeleteSandbox unpins a namespace of ours. The namespace itself dies with the last process in it, and takes its links
// along. Absent is success; one that is not ours is left alone.
func (m *Manager) DeleteSandbox(name string) error {
	owner, err := m.sandboxOwner(name)
	if err != nil || owner == "" {
		return err
	}
	return m.unpin(owner)
}

// AdoptSandbox records that a pinned namespace is a container's after all: for one who knows better than the records, which
// may be lost.
func (m *Manager) AdoptSandbox(name, containerID string) error {
	return m.recordSandbox(containerID, name)
}

// RenameSandbox lets a container's pinned namespace be found under another name. A mount point cannot be moved by rename(2), so it is
// pinned a second time before the first pin goes. The record has both names meanwhile: it can be called again after a kill at any moment,
// and whoever takes the namespace away takes both pins.
func (m *Manager) RenameSandbox(containerID, name string) error {
	names, err := m.sandboxNames(containerID)
	if err != nil {
		return err
	}
	old := m.sandbox(names[0])
	if pinned := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isMountPoint(m.sandbox(n).Path) }); len(pinned) > 0 {
		old = m.sandbox(pinned[0])
	}
	to := m.sandbox(name)
	if old.Name != name {
		if !slices.Contains(names, name) {
			if err := m.evictSandbox(name); err != nil {
				return err
			}
		}
		if err := m.recordSandbox(containerID, old.Name, name); err != nil {
			return err
		}
		if err := errors.Join(unmountNamespace(to.Path), bindNamespace(old.Path, to.Path)); err != nil {
			return errors.Join(err, m.recordSandbox(containerID, old.Name))
		}
	}
	if err := m.recordSandbox(containerID, append([]string{name}, names...)...); err != nil {
		return err
	}
	if err := m.renameEndpoints(containerID, name); err != nil {
		return err
	}
	for _, n := range names {
		if n != name {
			if err := unmountNamespace(m.sandbox(n).Path); err != nil {
				return err
			}
		}
	}
	return m.recordSandbox(containerID, name)
}

// unpin is the one teardown of a sandbox, by whatever names it is called.
func (m *Manager) unpin(containerID string) error {
	names, err := m.sandboxNames(containerID)
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, name := range names {
		op := unpinNamespace{m.sandbox(name)}
		if err := plan.Do(m.watch, op, func() error { return op.apply(context.Background(), nil) }); err != nil {
			return err
		}
	}
	return ignoreAbsent(os.Remove(m.sandboxRecord(containerID)))
}

// pinNamespace makes the namespace and pins it.
type pinNamespace struct {
	Sandbox *Sandbox
	From    string // one that exists, by its path; "" makes a new one
}

func (o pinNamespace) Command() string {
	n := o.Sandbox.Name
	if o.From != "" {
		return fmt.Sprintf("touch %s && mount --bind %s %s && ip netns exec %s sysctl -w net/ipv6/conf/default/disable_ipv6=1 && ip -n %s link set lo up", o.Sandbox.Path, o.From, o.Sandbox.Path, n, n)
	}
	return fmt.Sprintf("ip netns add %s && ip netns exec %s sysctl -w net/ipv6/conf/default/disable_ipv6=1 && ip -n %s link set lo up", n, n, n)
}
func (o pinNamespace) Why() string {
	return "a network namespace: own links, addresses, routes, rules, ports; IPv6 stays off until a network has it"
}

// apply changes the namespace of one thread for a moment. Should it not find its way back, the thread stays locked and dies
// with its goroutine: the scheduler never uses it for anything else.
func (o pinNamespace) apply(context.Context, *kernel) error {
	return onLockedThread(func() error {
		if err := o.enter(); err != nil {
			return err
		}
		// Interfaces to come are born without IPv6: no link-local address, no router advertisement is heard.
		if err := writeSysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open a netlink socket: %w", err)
		}
		defer h.Close()
		lo := netlink.NewLinkAttrs()
		lo.Index = 1 // in every namespace, lo is the first
		if err := h.LinkSetUp(&netlink.Device{LinkAttrs: lo}); err != nil {
			return fmt.Errorf("bring up lo: %w", err)
		}
		return bindNamespace("/proc/thread-self/ns/net", o.Sandbox.Path)
	})
}

func (o pinNamespace) enter() error {
	if o.From == "" {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return nil
	}
	ns, err := os.Open(o.From)
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", o.From, err)
	}
	return nil
}

// unpinNamespace is its counterpart.
type unpinNamespace struct{ Sandbox *Sandbox }

func (o unpinNamespace) Command() string { return "ip netns del " + o.Sandbox.Name }
func (o unpinNamespace) Why() string {
	return "the namespace dies with the last process in it, and its links with it"
}
func (o unpinNamespace) apply(context.Context, *kernel) error {
	if _, err := os.Lstat(o.Sandbox.Path); errors.Is(err, fs.ErrNotExist) {
		return plan.ErrNothing
	}
	return unmountNamespace(o.Sandbox.Path)
}

// bindNamespace equals: touch PATH; mount --bind NS PATH.
func bindNamespace(ns, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("pin the network namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(ns, path, "", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("pin the network namespace at %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// unmountNamespace equals: umount -l PATH; rm PATH. A file on which nothing is mounted is removed as well: that is what a
// kill between the two steps of bindNamespace leaves.
func unmountNamespace(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return ignoreAbsent(os.Remove(path))
}

// prepareNetNS makes /run/netns what iproute2 makes it (ip/ipnetns.c, create_netns_dir): a shared mount, so that a
// namespace that is unpinned in one mount namespace is unpinned in all of them, and does not linger in some private one.
func (m *Manager) prepareNetNS() error {
	dir := m.root.NetNS
	if isMountPoint(dir) {
		return nil
	}
	lock, err := state.AcquireLock(m.root.Lock("netns"))
	if err != nil {
		return err
	}
	defer lock.Release()
	if isMountPoint(dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount --bind %s %s: %w", dir, dir, err)
	}
	if err := unix.Mount("", dir, "none", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount --make-rshared %s: %w", dir, err)
	}
	return nil
}

func isMountPoint(dir string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BASIC_STATS, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Do runs fn on a thread that is in the sandbox's namespace. It is the only door into one. fn must not start goroutines
// that it expects to be there too.
func (s *Sandbox) Do(fn func() error) error {
	ns, err := os.Open(s.Path)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", s.Name, err)
	}
	defer ns.Close()
	return onLockedThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", s.Name, err)
		}
		return fn()
	})
}

// onLockedThread runs fn on a thread of its own and brings that thread back to its network namespace. If it cannot be
// brought back it is not unlocked, and the runtime throws it away when the goroutine ends.
func onLockedThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
