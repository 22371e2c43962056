package world

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Limits is what the kernel says of limits that were hit. Zero: not hit, or not known.
type Limits struct {
	Memory    uint64 // times that memory could not be had: memory.failcnt, or max and oom of memory.events
	OOMKills  uint64
	Pids      uint64 // forks that were refused
	Throttled uint64 // periods in which the processor was taken away
	Periods   uint64
	Files     map[string]string // "memory", "pids", "cpu" -> the file that says so
}

// Limits reads a running container's cgroups: those that /proc/PID/cgroup names (cgroups(7)).
func (c *Container) Limits() (l Limits) {
	l.Files = map[string]string{}
	if c.Pid == 0 {
		return l
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid))
	if err != nil {
		return l // it has just ended
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[0] == "0" && f[1] == "" {
			l.unified(filepath.Join("/sys/fs/cgroup", f[2]))
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			l.v1(controller, filepath.Join("/sys/fs/cgroup", controller, f[2]))
		}
	}
	return l
}

func (l *Limits) unified(dir string) {
	if n := field(dir+"/memory.events", "max") + field(dir+"/memory.events", "oom"); n > 0 {
		l.Memory, l.Files["memory"] = n, dir+"/memory.events"
	}
	l.OOMKills += field(dir+"/memory.events", "oom_kill")
	if n := field(dir+"/pids.events", "max"); n > 0 {
		l.Pids, l.Files["pids"] = n, dir+"/pids.events"
	}
	l.cpu(dir)
}

func (l *Limits) v1(controller, dir string) {
	switch controller {
	case "memory":
		if n := number(dir + "/memory.failcnt"); n > 0 {
			l.Memory, l.Files["memory"] = n, dir+"/memory.failcnt"
		}
		l.OOMKills += field(dir+"/memory.oom_control", "oom_kill")
	case "pids":
		if n := field(dir+"/pids.events", "max"); n > 0 {
			l.Pids, l.Files["pids"] = n, dir+"/pids.events"
		}
	case "cpu":
		l.cpu(dir)
	}
}

func (l *Limits) cpu(dir string) {
	if periods := field(dir+"/cpu.stat", "nr_periods"); periods > 0 {
		l.Periods, l.Throttled, l.Files["cpu"] = periods, field(dir+"/cpu.stat", "nr_throttled"), dir+"/cpu.stat"
	}
}

// field finds "name 12" in a file; 0 when it is not there.
func field(path, name string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

func number(path string) uint64 {
	data, _ := os.ReadFile(path)
	n, _ := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n
}

// File is one of the files that a container gets from the host: resolv.conf, hosts. fs.ErrNotExist without.
func (w *World) File(c *Container, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(w.Root.Container(c.ID), name))
}

// Flow is a connection that the kernel remembers.
type Flow struct {
	Proto    string
	Src, Dst netip.AddrPort // as its first packet had them
	From, To netip.AddrPort // as the answers have them: From is who really answers, To who is answered
}

// Flows are the connections that a namespace's kernel remembers. It equals: conntrack -L.
func (w *World) Flows(n *Namespace) (flows []Flow, err error) {
	at, err := netns.GetFromPath(n.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", n.Path, err)
	}
	defer at.Close()
	h, err := netlink.NewHandleAt(at, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	defer h.Close()
	var list []*netlink.ConntrackFlow
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		some, err := dump(func() ([]*netlink.ConntrackFlow, error) { return h.ConntrackTableList(netlink.ConntrackTable, family) })
		if errors.Is(err, unix.ENOENT) {
			continue // nobody has needed it yet
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		list = append(list, some...)
	}
	for _, f := range list {
		proto := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}[f.Forward.Protocol]
		if proto == "" {
			continue
		}
		flows = append(flows, Flow{
			Proto: proto,
			Src:   netip.AddrPortFrom(address(f.Forward.SrcIP), f.Forward.SrcPort), Dst: netip.AddrPortFrom(address(f.Forward.DstIP), f.Forward.DstPort),
			From: netip.AddrPortFrom(address(f.Reverse.SrcIP), f.Reverse.SrcPort), To: netip.AddrPortFrom(address(f.Reverse.DstIP), f.Reverse.DstPort),
		})
	}
	return flows, nil
}
