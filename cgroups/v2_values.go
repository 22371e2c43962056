package cgroups

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// V2Values is the list of writes that resources mean in version 2. Devices are not among them: v2 has no file for them
// (see devices.go). It is pure.
func V2Values(r *specs.LinuxResources) ([]Setting, error) {
	var list settings
	if err := list.v2Memory(r.Memory); err != nil {
		return nil, err
	}
	if err := list.v2CPU(r.CPU); err != nil {
		return nil, err
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		list.add("pids", "pids.max", pidsLimit(*r.Pids.Limit), "at most so many processes and threads")
	}
	if err := list.v2IO(r.BlockIO); err != nil {
		return nil, err
	}
	for _, h := range r.HugepageLimits {
		list.add("hugetlb", "hugetlb."+h.Pagesize+".max", utoa(h.Limit), "limit of huge pages in use")
		list.add("hugetlb", "hugetlb."+h.Pagesize+reservation+".max", utoa(h.Limit), "limit of huge pages laid by")
	}
	list.rdma(r.Rdma)
	if r.Network != nil && (r.Network.ClassID != nil || len(r.Network.Priorities) > 0) {
		return nil, fmt.Errorf("resources.network: net_cls and net_prio do not exist in cgroup v2: %w", ErrUnavailable)
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		if strings.Contains(file, "/") || !strings.Contains(file, ".") {
			return nil, fmt.Errorf("resources.unified: %q is not the name of a cgroup file", file)
		}
		controller, _, _ := strings.Cut(file, ".")
		if controller == "cgroup" && !strings.HasPrefix(file, "cgroup.max.") && file != "cgroup.pressure" {
			return nil, fmt.Errorf("resources.unified: %q is no limit: it would move, stop or kill processes", file)
		}
		for line := range strings.Lines(r.Unified[file]) {
			list.add(controller, file, strings.TrimSuffix(line, "\n"), "as the config says")
		}
	}
	return list, nil
}

func (l *settings) v2Memory(m *specs.LinuxMemory) error {
	if m == nil {
		return nil
	}
	limit := int64(0)
	if m.Limit != nil {
		limit = *m.Limit
	}
	if m.Limit != nil && limit != 0 {
		l.add("memory", "memory.max", orMax(limit), "limit of memory in bytes")
	}
	if m.Swap != nil && *m.Swap != 0 {
		// v1 limits memory and swap together, v2 swap alone.
		swap := *m.Swap
		if swap > 0 {
			if limit <= 0 || swap < limit {
				return fmt.Errorf("resources.memory.swap: %d is memory and swap together, and cannot be without or below the memory limit %d", swap, limit)
			}
			swap -= limit
		}
		l.add("memory", "memory.swap.max", orMaxZero(swap), "limit of swap in bytes")
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		l.add("memory", "memory.low", orMax(*m.Reservation), "what it keeps when memory is short")
	}
	//lint:ignore SA1019 deprecated for those who write configs; a runtime may not ignore it
	for name, n := range map[string]*int64{"kernel": m.Kernel, "kernelTCP": m.KernelTCP} {
		if n != nil && *n != 0 {
			return fmt.Errorf("resources.memory.%s: cgroup v2 cannot do that: %w", name, ErrUnavailable)
		}
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		return fmt.Errorf("resources.memory.disableOOMKiller: cgroup v2 cannot do that: %w", ErrUnavailable)
	}
	if m.Swappiness != nil && *m.Swappiness != 60 {
		return fmt.Errorf("resources.memory.swappiness: cgroup v2 cannot do that: %w", ErrUnavailable)
	}
	return nil
}

func (l *settings) v2CPU(c *specs.LinuxCPU) error {
	if c == nil {
		return nil
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 || c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		return fmt.Errorf("resources.cpu.realtime*: cgroup v2 cannot do that: %w", ErrUnavailable)
	}
	if c.Idle != nil {
		l.add("cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10), "run only when nobody else wants to")
	}
	if c.Shares != nil && *c.Shares != 0 {
		l.add("cpu", "cpu.weight", utoa(weightOfShares(*c.Shares)), "share of the CPU when it is short; 100 is one part")
	}
	if c.Quota != nil && *c.Quota != 0 || c.Period != nil && *c.Period != 0 {
		period, quota := "100000", "max"
		if c.Period != nil && *c.Period != 0 {
			period = utoa(*c.Period)
		}
		if c.Quota != nil && *c.Quota > 0 {
			quota = strconv.FormatInt(*c.Quota, 10)
		}
		l.add("cpu", "cpu.max", quota+" "+period, "CPU time in a period, in microseconds")
	}
	if c.Burst != nil {
		l.add("cpu", "cpu.max.burst", utoa(*c.Burst), "unused CPU time that may be saved up")
	}
	if c.Cpus != "" {
		l.add("cpuset", "cpuset.cpus", c.Cpus, "the CPUs it may run on")
	}
	if c.Mems != "" {
		l.add("cpuset", "cpuset.mems", c.Mems, "the memory nodes it may use")
	}
	return nil
}

// weightOfShares maps v1's 2..262144 to v2's 1..10000, as the runtimes agreed (and as systemd does).
func weightOfShares(shares uint64) uint64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

func (l *settings) v2IO(b *specs.LinuxBlockIO) error {
	if b == nil {
		return nil
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		return fmt.Errorf("resources.blockIO.leafWeight: cgroup v2 cannot do that: %w", ErrUnavailable)
	}
	if b.Weight != nil && *b.Weight != 0 {
		l.add("io", "io.weight", "default "+ioWeight(*b.Weight), "share of the disks")
	}
	for _, d := range b.WeightDevice {
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			return fmt.Errorf("resources.blockIO.weightDevice.leafWeight: cgroup v2 cannot do that: %w", ErrUnavailable)
		}
		if d.Weight != nil && *d.Weight != 0 {
			l.add("io", "io.weight", fmt.Sprintf("%d:%d %s", d.Major, d.Minor, ioWeight(*d.Weight)), "share of one disk")
		}
	}
	limit := func(word string, list []specs.LinuxThrottleDevice, reason string) {
		for _, d := range list {
			l.add("io", "io.max", fmt.Sprintf("%d:%d %s=%d", d.Major, d.Minor, word, d.Rate), reason)
		}
	}
	limit("rbps", b.ThrottleReadBpsDevice, "bytes read from a disk in a second")
	limit("wbps", b.ThrottleWriteBpsDevice, "bytes written to a disk in a second")
	limit("riops", b.ThrottleReadIOPSDevice, "reads from a disk in a second")
	limit("wiops", b.ThrottleWriteIOPSDevice, "writes to a disk in a second")
	return nil
}

// ioWeight maps v1's 10..1000 to v2's 1..10000.
func ioWeight(weight uint16) string {
	w := uint64(min(max(weight, 10), 1000))
	return utoa(1 + (w-10)*9999/990)
}

func orMax(n int64) string {
	if n <= 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func orMaxZero(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
