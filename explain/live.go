package explain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/world"
)

// Machine is where the live values come from: this host as this process sees it, and the records under Root.
type Machine struct {
	Root state.Root

	once  sync.Once
	world *world.World
	err   error
}

// see reads the network of this host, once.
func (m *Machine) see() (*world.World, error) {
	m.once.Do(func() { m.world, m.err = world.Read(context.Background(), world.Options{Root: m.Root}) })
	return m.world, m.err
}

// live reads a value, or several: the names of things. Nothing is changed by it.
type live func(m *Machine) ([]string, error)

// liveValues are all of them, by the names that topics use. A label stands in the catalogue: explain.live.NAME.
func liveValues() map[string]live {
	values := map[string]live{
		"netns-self":         ownNamespace("net"),
		"netns-count":        countNamespaces("net"),
		"netns-pinned":       pinned,
		"ipam-bitmaps":       bitmaps,
		"ip-forward":         file("/proc/sys/net/ipv4/ip_forward"),
		"bridge-nf":          file("/proc/sys/net/bridge/bridge-nf-call-iptables"),
		"port-claims":        portClaims,
		"conntrack-count":    file("/proc/sys/net/netfilter/nf_conntrack_count"),
		"conntrack-max":      file("/proc/sys/net/netfilter/nf_conntrack_max"),
		"nameservers":        nameservers,
		"pidns-self":         ownNamespace("pid"),
		"pidns-count":        countNamespaces("pid"),
		"mntns-self":         ownNamespace("mnt"),
		"mount-count":        mountCount,
		"root-propagation":   rootPropagation,
		"root-mount":         rootMount,
		"overlay-known":      overlayKnown,
		"layer-count":        count(func(m *Machine) string { return filepath.Join(m.Root.Lib, "layers") }),
		"cgroup-version":     cgroupVersion,
		"cgroup-controllers": cgroupControllers,
		"cgroup-self":        file("/proc/thread-self/cgroup"),
		"cgroup-containers":  containerGroups,
		"caps-self":          ownStatus("CapEff", capabilityNames),
		"caps-container":     containerStatus("CapEff", capabilityNames),
		"seccomp-self":       ownStatus("Seccomp", seccompMode),
		"seccomp-container":  containerStatus("Seccomp", seccompMode),
		"userns-self":        ownNamespace("user"),
		"uid-map":            file("/proc/self/uid_map"),
		"userns-max":         file("/proc/sys/user/max_user_namespaces"),
		"signals-container":  containerStatus("SigCgt", signalNames),
		"bundles":            count(func(m *Machine) string { return m.Root.Containers() }),
		"monitors":           monitors,
		"records-lib":        count(func(m *Machine) string { return m.Root.Containers() }, func(m *Machine) string { return filepath.Join(m.Root.Lib, "networks") }),
		"records-run":        count(func(m *Machine) string { return filepath.Join(m.Root.Run, "containers") }, func(m *Machine) string { return filepath.Join(m.Root.Run, "endpoints") }),
	}
	for name, value := range networkValues() {
		values[name] = value
	}
	return values
}

// file is the content of a small file of the kernel's, its lines as values.
func file(path string) live {
	return func(*Machine) ([]string, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var lines []string
		for line := range strings.Lines(string(data)) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				lines = append(lines, line)
			}
		}
		return lines, nil
	}
}

// count tells how many entries directories have: "3 /var/lib/mydocker/layers". A directory that was never made has none.
func count(paths ...func(*Machine) string) live {
	return func(m *Machine) (values []string, err error) {
		for _, path := range paths {
			entries, err := os.ReadDir(path(m))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			n := 0
			for _, e := range entries {
				if !strings.ContainsAny(e.Name()[:1], ".@") { // of containers and the like; not what belongs to all of them
					n++
				}
			}
			values = append(values, fmt.Sprintf("%d %s", n, path(m)))
		}
		return values, nil
	}
}

// ownNamespace equals: readlink /proc/self/ns/KIND.
func ownNamespace(kind string) live {
	return func(*Machine) ([]string, error) {
		name, err := os.Readlink("/proc/thread-self/ns/" + kind)
		return []string{name}, err
	}
}

// countNamespaces counts the different ones that processes are in. Those of others can be seen by root alone.
func countNamespaces(kind string) live {
	return func(*Machine) ([]string, error) {
		links, err := filepath.Glob("/proc/[0-9]*/ns/" + kind)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, link := range links {
			name, err := os.Readlink(link)
			if err == nil { // else the process is gone, or is not ours to look at
				seen[name] = true
			}
		}
		return []string{strconv.Itoa(len(seen))}, nil
	}
}

// pinned equals: ip netns list.
func pinned(m *Machine) ([]string, error) { return names(m.Root.NetNS) }

// names lists a directory; one that was never made is empty.
func names(dir string) (list []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, err
}

// bitmaps are the files of the networks' address books: RUN/ipam/NETWORK.bitmap.
func bitmaps(m *Machine) (list []string, err error) {
	files, err := names(filepath.Join(m.Root.Run, "ipam"))
	for _, name := range files {
		id, ending, _ := strings.Cut(name, ".")
		list = append(list, id[:min(12, len(id))]+"…."+ending)
	}
	return list, err
}

// portClaims are RUN/ports/PROTO/PORT.
func portClaims(m *Machine) (list []string, err error) {
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		ports, err := names(filepath.Join(m.Root.Run, "ports", proto))
		if err != nil {
			return nil, err
		}
		for _, port := range ports {
			list = append(list, port+"/"+proto)
		}
	}
	return list, nil
}

// nameservers equals: grep nameserver /etc/resolv.conf.
func nameservers(*Machine) (list []string, err error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
			list = append(list, words[1])
		}
	}
	return list, err
}

// status is a line of /proc/PID/status.
func status(pid, key string) (string, error) {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), key+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("/proc/%s/status has no line %s: %w", pid, key, fs.ErrNotExist)
}

func ownStatus(key string, read func(string) (string, error)) live {
	return func(*Machine) ([]string, error) {
		value, err := status("self", key)
		if err != nil {
			return nil, err
		}
		text, err := read(value)
		return []string{text}, err
	}
}

// containerStatus is the same of the first processes of the running containers.
func containerStatus(key string, read func(string) (string, error)) live {
	return func(m *Machine) (list []string, err error) {
		states, err := m.running()
		if err != nil {
			return nil, err
		}
		for _, c := range states {
			value, err := status(strconv.Itoa(c.Pid), key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has ended meanwhile
			}
			if err != nil {
				return nil, err
			}
			text, err := read(value)
			if err != nil {
				return nil, err
			}
			list = append(list, c.ID[:min(12, len(c.ID))]+" "+text)
		}
		return list, nil
	}
}

// running are the containers that have a process.
func (m *Machine) running() (list []container.State, err error) {
	r := &container.Runtime{Root: filepath.Join(m.Root.Run, "containers")}
	all, err := r.List()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if status := c.Status(); status == container.Running || status == container.Paused {
			list = append(list, c.State())
		}
	}
	return list, nil
}

func seccompMode(value string) (string, error) {
	switch value {
	case "0":
		return "0 (disabled)", nil
	case "1":
		return "1 (strict)", nil
	case "2":
		return "2 (filter)", nil
	}
	return value, nil
}

// capabilityNames reads a mask of capabilities: proc_pid_status(5), CapEff.
func capabilityNames(mask string) (string, error) {
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return "", fmt.Errorf("capabilities %q: %w", mask, err)
	}
	known := container.CapabilityNames()
	var list []string
	for i := range 64 {
		if bits&(1<<i) == 0 {
			continue
		}
		if i < len(known) {
			list = append(list, strings.ToLower(strings.TrimPrefix(known[i], "CAP_")))
		} else {
			list = append(list, strconv.Itoa(i))
		}
	}
	return fmt.Sprintf("%s = %d: %s", mask, len(list), strings.Join(list, " ")), nil
}

// signalNames reads a mask of signals: bit 0 is signal 1.
func signalNames(mask string) (string, error) {
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return "", fmt.Errorf("signals %q: %w", mask, err)
	}
	var list []string
	for i, name := range []string{"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM"} {
		if bits&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		list = []string{"-"}
	}
	return strings.Join(list, " "), nil
}

// monitors are the first processes of the running containers and their parents, which stand over them.
func monitors(m *Machine) (list []string, err error) {
	states, err := m.running()
	if err != nil {
		return nil, err
	}
	for _, c := range states {
		parent, err := status(strconv.Itoa(c.Pid), "PPid")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprintf("%s: pid %d, parent %s", c.ID[:min(12, len(c.ID))], c.Pid, parent))
	}
	slices.Sort(list)
	return list, nil
}
