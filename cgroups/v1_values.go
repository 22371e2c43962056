package cgroups

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	v1MemoryLimit = "memory.limit_in_bytes"
	v1KernelLimit = "memory.kmem.limit_in_bytes"
	v1RealTime    = "cpu.rt_runtime_us"
	v1SwapLimit   = "memory.memsw.limit_in_bytes"
)

// V1Values is the list of writes that resources mean in version 1, in the order in which they must be done. It is pure.
func V1Values(r *specs.LinuxResources) ([]Setting, error) {
	if len(r.Unified) > 0 {
		return nil, fmt.Errorf("resources.unified: needs a host with cgroup v2: %w", ErrUnavailable)
	}
	if c := r.CPU; c != nil && c.Shares != nil && *c.Shares != 0 && (*c.Shares < 2 || *c.Shares > 262144) {
		return nil, fmt.Errorf("resources.cpu.shares: %d is not from 2 to 262144: the kernel would take the nearest without a word", *c.Shares)
	}
	var list settings
	list.v1Devices(r.Devices)
	list.v1Memory(r.Memory)
	list.v1CPU(r.CPU)
	if r.Pids != nil && r.Pids.Limit != nil {
		list.add("pids", "pids.max", pidsLimit(*r.Pids.Limit), "at most so many processes and threads")
	}
	list.v1Blkio(r.BlockIO)
	for _, h := range r.HugepageLimits {
		list.add("hugetlb", "hugetlb."+h.Pagesize+".limit_in_bytes", utoa(h.Limit), "limit of huge pages in use")
		list.add("hugetlb", "hugetlb."+h.Pagesize+reservation+".limit_in_bytes", utoa(h.Limit), "limit of huge pages laid by")
	}
	list.rdma(r.Rdma)
	if r.Network != nil {
		if r.Network.ClassID != nil {
			list.add("net_cls", "net_cls.classid", utoa(uint64(*r.Network.ClassID)), "mark the container's packets")
		}
		for _, p := range r.Network.Priorities {
			list.add("net_prio", "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority), "priority on an interface")
		}
	}
	return list, nil
}

// reservation is in the names of limits that hold when huge pages are reserved, by mmap(2), and not only when they are used, where
// the kernel can but end the process: Linux 5.7. Before, the limit of use has to do: runtime-spec, config-linux.md, "Huge page limits".
const reservation = ".rsvd"

func (s Setting) isReservation() bool { return strings.Contains(s.File, reservation+".") }

// unavailable names the member of the config that this host cannot do.
func (s Setting) unavailable(why string) error {
	members := map[string]string{"hugetlb": "hugepageLimits", "io": "blockIO", "blkio": "blockIO", "net_cls": "network", "net_prio": "network", "cpuset": "cpu"}
	name := s.Controller
	if m, ok := members[name]; ok {
		name = m
	}
	return fmt.Errorf("linux.resources.%s: set %s: %w: %s", name, s.File, ErrUnavailable, why)
}

type settings []Setting

func (l *settings) add(controller, file, value, reason string) {
	*l = append(*l, Setting{controller, file, value, reason})
}

// number adds a limit that is set. Engines write 0 for one that is not.
func (l *settings) number(controller, file string, value *int64, reason string) {
	if value != nil && *value != 0 {
		l.add(controller, file, strconv.FormatInt(*value, 10), reason)
	}
}

func (l *settings) v1Devices(rules []specs.LinuxDeviceCgroup) {
	for _, d := range rules {
		file, reason := "devices.deny", "devices the container may not use"
		if d.Allow {
			file, reason = "devices.allow", "a device the container may use"
		}
		l.add("devices", file, deviceRule(d), reason)
	}
}

// deviceRule is "c 1:3 rwm", or "a" for all: Documentation/admin-guide/cgroup-v1/devices.rst.
func deviceRule(d specs.LinuxDeviceCgroup) string {
	kind := d.Type
	if kind == "" || kind == "a" {
		return "a"
	}
	number := func(n *int64) string {
		if n == nil || *n < 0 {
			return "*"
		}
		return strconv.FormatInt(*n, 10)
	}
	access := d.Access
	if access == "" {
		access = "rwm"
	}
	return kind + " " + number(d.Major) + ":" + number(d.Minor) + " " + access
}

func (l *settings) v1Memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	l.number("memory", v1MemoryLimit, m.Limit, "limit of memory in bytes")
	l.number("memory", v1SwapLimit, m.Swap, "limit of memory and swap together")
	l.number("memory", "memory.soft_limit_in_bytes", m.Reservation, "what it is pushed back to when memory is short")
	if m.UseHierarchy != nil && *m.UseHierarchy {
		l.add("memory", "memory.use_hierarchy", "1", "groups below count in it, as they always do since Linux 5.11")
	}
	//lint:ignore SA1019 deprecated for those who write configs; a runtime may not ignore it
	l.number("memory", v1KernelLimit, m.Kernel, "limit of the kernel's own memory, which Linux has no more since 5.16")
	l.number("memory", "memory.kmem.tcp.limit_in_bytes", m.KernelTCP, "limit of TCP buffers")
	if m.Swappiness != nil {
		l.add("memory", "memory.swappiness", utoa(*m.Swappiness), "how readily it is swapped out")
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		l.add("memory", "memory.oom_control", "1", "wait instead of kill when memory is out")
	}
}

func (l *settings) v1CPU(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Shares != nil && *c.Shares != 0 {
		l.add("cpu", "cpu.shares", utoa(*c.Shares), "share of the CPU when it is short; 1024 is one part")
	}
	// The period goes first: a quota is checked against the period that stands.
	if c.Period != nil && *c.Period != 0 {
		l.add("cpu", "cpu.cfs_period_us", utoa(*c.Period), "the period of the quota, in microseconds")
	}
	l.number("cpu", "cpu.cfs_quota_us", c.Quota, "CPU time in a period, in microseconds")
	if c.Burst != nil {
		l.add("cpu", "cpu.cfs_burst_us", utoa(*c.Burst), "unused CPU time that may be saved up")
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		l.add("cpu", "cpu.rt_period_us", utoa(*c.RealtimePeriod), "the period of real-time scheduling")
	}
	l.number("cpu", v1RealTime, c.RealtimeRuntime, "real-time CPU time in a period")
	if c.Idle != nil {
		l.add("cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10), "run only when nobody else wants to")
	}
	if c.Cpus != "" {
		l.add("cpuset", "cpuset.cpus", c.Cpus, "the CPUs it may run on")
	}
	if c.Mems != "" {
		l.add("cpuset", "cpuset.mems", c.Mems, "the memory nodes it may use")
	}
}

func (l *settings) v1Blkio(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	if b.Weight != nil && *b.Weight != 0 {
		l.add("blkio", "blkio.bfq.weight", utoa(uint64(*b.Weight)), "share of the disks")
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		l.add("blkio", "blkio.leaf_weight", utoa(uint64(*b.LeafWeight)), "share of the disks against groups below")
	}
	for _, d := range b.WeightDevice {
		if d.Weight != nil && *d.Weight != 0 {
			l.add("blkio", "blkio.bfq.weight_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), "share of one disk")
		}
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			l.add("blkio", "blkio.leaf_weight_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.LeafWeight), "share of one disk against groups below")
		}
	}
	throttle := func(file string, list []specs.LinuxThrottleDevice, reason string) {
		for _, d := range list {
			l.add("blkio", file, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), reason)
		}
	}
	throttle("blkio.throttle.read_bps_device", b.ThrottleReadBpsDevice, "bytes read from a disk in a second")
	throttle("blkio.throttle.write_bps_device", b.ThrottleWriteBpsDevice, "bytes written to a disk in a second")
	throttle("blkio.throttle.read_iops_device", b.ThrottleReadIOPSDevice, "reads from a disk in a second")
	throttle("blkio.throttle.write_iops_device", b.ThrottleWriteIOPSDevice, "writes to a disk in a second")
}

func (l *settings) rdma(devices map[string]specs.LinuxRdma) {
	for name, d := range devices {
		if d.HcaHandles != nil {
			l.add("rdma", "rdma.max", fmt.Sprintf("%s hca_handle=%d", name, *d.HcaHandles), "handles on an RDMA device")
		}
		if d.HcaObjects != nil {
			l.add("rdma", "rdma.max", fmt.Sprintf("%s hca_object=%d", name, *d.HcaObjects), "objects on an RDMA device")
		}
	}
}

func pidsLimit(n int64) string {
	if n <= 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
