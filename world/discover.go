package world

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// A network namespace is an inode of nsfs (namespaces(7)). It is found through whatever holds it: the process in it, or the file on
// which it is mounted. It equals: lsns -t net; ip netns list.

// nsFiles are the namespaces' files, open, in the order of World.Namespaces.
type nsFiles struct{ open []*os.File }

func (f *nsFiles) close() {
	for _, file := range f.open {
		file.Close()
	}
}

type finder struct {
	w     *World
	files nsFiles
	by    map[uint64]*Namespace
}

// discover fills World.Namespaces with names and processes, and opens each.
func (w *World) discover() (*nsFiles, error) {
	f := &finder{w: w, by: map[uint64]*Namespace{}}
	// Not /proc/self: that is the first thread, which may just be visiting another namespace for another goroutine.
	host := f.add("/proc/thread-self/ns/net", "host")
	if host == nil {
		return nil, fmt.Errorf("open this process's own network namespace: is /proc mounted?")
	}
	w.Host = host
	f.pinned(w.Root.NetNS)
	if err := f.mounted(); err != nil {
		f.files.close()
		return nil, err
	}
	if err := f.processes(); err != nil {
		f.files.close()
		return nil, err
	}
	for _, n := range w.Namespaces {
		if len(n.Names) == 0 {
			n.Names = []string{anonymous(n)}
		}
	}
	f.sort()
	return &f.files, nil
}

// anonymous is how a namespace without a name is called.
func anonymous(n *Namespace) string {
	if len(n.Processes) > 0 {
		return fmt.Sprintf("pid %d (%s)", n.Processes[0].Pid, n.Processes[0].Name)
	}
	return fmt.Sprintf("net:[%d]", n.Inode)
}

// add opens the namespace at path and notes another name of it. nil: it is no namespace, or has gone.
func (f *finder) add(path, name string) *Namespace {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil
	}
	n := f.by[st.Ino]
	if n != nil {
		file.Close()
	} else {
		if !isNamespace(file) {
			file.Close()
			return nil
		}
		n = &Namespace{Inode: st.Ino, Path: path}
		f.by[st.Ino] = n
		f.w.Namespaces = append(f.w.Namespaces, n)
		f.files.open = append(f.files.open, file)
	}
	if name != "" && !slices.Contains(n.Names, name) {
		n.Names = append(n.Names, name)
	}
	return n
}

// isNamespace tells a pinned namespace from the empty file that it was pinned on: NSFS_MAGIC, linux/magic.h.
func isNamespace(file *os.File) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil || st.Type != 0x6e736673 {
		return false
	}
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	return err == nil && kind == unix.CLONE_NEWNET
}

// pinned are the namespaces that `ip netns` knows.
func (f *finder) pinned(dir string) {
	entries, _ := os.ReadDir(dir) // absent: nobody has used `ip netns` yet
	for _, e := range entries {
		f.add(filepath.Join(dir, e.Name()), e.Name())
	}
}

// mounted are those that other programs have pinned elsewhere, such as /run/docker/netns.
func (f *finder) mounted() error {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return fmt.Errorf("look for pinned network namespaces: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, " - nsfs ") || !strings.Contains(line, " net:[") {
			continue
		}
		fields := strings.Fields(line)
		path := fields[4] // proc(5): the mount point
		if strings.HasPrefix(path, f.w.Root.NetNS+"/") {
			continue
		}
		if n := f.add(path, ""); n != nil && len(n.Names) == 0 {
			name := filepath.Base(path)
			if f.w.Namespace(name) != nil { // another has that name already
				name = path
			}
			n.Names = append(n.Names, name)
		}
	}
	return nil
}

// processes are looked at for two reasons: they may hold a namespace that nothing else holds, and a namespace's processes are worth
// knowing.
func (f *finder) processes() error {
	dir, err := os.Open("/proc")
	if err != nil {
		return fmt.Errorf("look for processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("look for processes: %w", err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		path := "/proc/" + name + "/ns/net"
		target, err := os.Readlink(path)
		if err != nil {
			continue // gone, or a thread of the kernel's
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(target, "net:["), "]"), 10, 64)
		if err != nil {
			continue
		}
		n := f.by[inode]
		if n == nil {
			if n = f.add(path, ""); n == nil {
				continue
			}
		}
		comm, _ := os.ReadFile("/proc/" + name + "/comm")
		n.Processes = append(n.Processes, Process{Pid: pid, Name: strings.TrimSpace(string(comm))})
	}
	for _, n := range f.w.Namespaces {
		slices.SortFunc(n.Processes, func(a, b Process) int { return a.Pid - b.Pid })
	}
	return nil
}

// sort puts the host first and keeps the open files in step.
func (f *finder) sort() {
	files := map[*Namespace]*os.File{}
	for i, n := range f.w.Namespaces {
		files[n] = f.files.open[i]
	}
	slices.SortStableFunc(f.w.Namespaces, func(a, b *Namespace) int {
		if (a == f.w.Host) != (b == f.w.Host) {
			if a == f.w.Host {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name(), b.Name())
	})
	for i, n := range f.w.Namespaces {
		f.files.open[i] = files[n]
	}
}

// readRecords reads what should be there. A record that cannot be read is an error: a diagnosis without it would be wrong.
func (w *World) readRecords() error {
	m := network.Open(network.Options{Root: w.Root})
	all, err := m.Networks()
	if err != nil {
		return fmt.Errorf("read the networks' records: %w", err)
	}
	for _, n := range all {
		live := filepath.Join(w.Root.Run, "networks", n.ID)
		known := &Network{Network: n, Live: exists(live + ".json"), Ready: exists(live + ".ready")}
		if known.Live { // it tells the firewall that made the rules
			var was network.Network
			if err := state.ReadJSON(live+".json", &was); err == nil {
				known.Network = &was
			}
		}
		w.Networks = append(w.Networks, known)
		eps, err := m.Endpoints(n.ID)
		if err != nil {
			return fmt.Errorf("read the endpoints of network %s: %w", n.Name, err)
		}
		w.Endpoints = append(w.Endpoints, eps...)
	}
	for _, e := range w.Endpoints {
		c := w.Container(e.ContainerID)
		if c == nil {
			c = &Container{ID: e.ContainerID, Name: e.ContainerName}
			w.Containers = append(w.Containers, c)
		}
		c.Endpoints = append(c.Endpoints, e)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
