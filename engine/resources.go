package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
)

func limits(r Resources) container.Limits {
	return container.Limits{
		Memory: r.Memory, MemorySwap: r.MemorySwap, MemoryReservation: r.MemoryReservation, NanoCPUs: r.NanoCPUs, CPUShares: r.CPUShares,
		CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, CpusetCpus: r.CpusetCpus, CpusetMems: r.CpusetMems, PidsLimit: r.PidsLimit,
		BlkioWeight: r.BlkioWeight, OomKillDisable: r.OomKillDisable,
	}
}

// runtimeResources says the limits in the words of the runtime spec. Disks are named there by their numbers.
func runtimeResources(r Resources) (*specs.LinuxResources, error) {
	all, err := container.NewResources(limits(r))
	if err != nil {
		return nil, err
	}
	if r.MemorySwappiness != nil {
		if all.Memory == nil {
			all.Memory = new(specs.LinuxMemory)
		}
		swappiness := uint64(*r.MemorySwappiness)
		all.Memory.Swappiness = &swappiness
	}
	if r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0 {
		if all.CPU == nil {
			all.CPU = new(specs.LinuxCPU)
		}
		if period := uint64(r.CPURealtimePeriod); period != 0 {
			all.CPU.RealtimePeriod = &period
		}
		if runtime := r.CPURealtimeRuntime; runtime != 0 {
			all.CPU.RealtimeRuntime = &runtime
		}
	}
	return all, limitDisks(r, all)
}

// checkHost refuses what this host does not have, before anything is made: a disk to be limited, the journal.
func (e *Engine) checkHost(o *CreateOptions) error {
	if o.LogDriver == "journald" {
		if err := checkJournal(); err != nil {
			return err
		}
	}
	_, err := runtimeResources(o.Resources)
	return err
}

func limitDisks(r Resources, all *specs.LinuxResources) error {
	if len(r.BlkioWeightDevice)+len(r.ReadBps)+len(r.WriteBps)+len(r.ReadIOps)+len(r.WriteIOps) == 0 {
		return nil
	}
	if all.BlockIO == nil {
		all.BlockIO = new(specs.LinuxBlockIO)
	}
	for _, d := range r.BlkioWeightDevice {
		major, minor, err := diskNumbers(d.Path)
		if err != nil {
			return err
		}
		weight := uint16(d.Rate)
		w := specs.LinuxWeightDevice{Weight: &weight}
		w.Major, w.Minor = major, minor
		all.BlockIO.WeightDevice = append(all.BlockIO.WeightDevice, w)
	}
	for _, kind := range []struct {
		limits []DeviceLimit
		to     *[]specs.LinuxThrottleDevice
	}{
		{r.ReadBps, &all.BlockIO.ThrottleReadBpsDevice}, {r.WriteBps, &all.BlockIO.ThrottleWriteBpsDevice},
		{r.ReadIOps, &all.BlockIO.ThrottleReadIOPSDevice}, {r.WriteIOps, &all.BlockIO.ThrottleWriteIOPSDevice},
	} {
		for _, d := range kind.limits {
			major, minor, err := diskNumbers(d.Path)
			if err != nil {
				return err
			}
			t := specs.LinuxThrottleDevice{Rate: d.Rate}
			t.Major, t.Minor = major, minor
			*kind.to = append(*kind.to, t)
		}
	}
	return nil
}

// diskNumbers are the numbers by which the kernel knows a block device. Equals: stat -c '%Hr:%Lr' PATH
func diskNumbers(path string) (major, minor int64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("limit of the disk %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, fmt.Errorf("limit of the disk %s: it is no block device (lsblk -p lists them)", path)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}

var deviceRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)
})

// CheckDeviceRule refuses what is no rule for --device-cgroup-rule.
func CheckDeviceRule(text string) error {
	_, err := parseDeviceRule(text)
	return err
}

// parseDeviceRule reads a rule as cgroup v1's devices.allow takes it: TYPE MAJOR:MINOR ACCESS, * for any number.
func parseDeviceRule(text string) (rule specs.LinuxDeviceCgroup, err error) {
	m := deviceRule().FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return rule, fmt.Errorf("invalid device cgroup format '%s': TYPE MAJOR:MINOR ACCESS is expected, such as 'c 42:* rmw'", text)
	}
	number := func(text string) (*int64, error) {
		if text == "*" {
			any := int64(-1)
			return &any, nil
		}
		n, err := strconv.ParseInt(text, 10, 32)
		return &n, err
	}
	rule = specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
	if rule.Major, err = number(m[2]); err == nil {
		rule.Minor, err = number(m[3])
	}
	return rule, err
}
