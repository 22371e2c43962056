package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Limits are Docker's words for resources. Zero means no limit.
type Limits struct {
	Memory            int64 // bytes
	MemorySwap        int64 // bytes of memory and swap together; -1 is unlimited swap; 0 is twice the memory
	MemoryReservation int64 // bytes
	NanoCPUs          int64 // 1e9 is one CPU
	CPUShares         uint64
	CPUPeriod         uint64 // microseconds
	CPUQuota          int64  // microseconds
	CpusetCpus        string // "0-2,7"
	CpusetMems        string
	PidsLimit         int64 // -1 is unlimited
	BlkioWeight       uint16
	OomKillDisable    bool
}

// Docker's smallest memory limit: with less, not even the runtime itself fits.
const minMemory = 6 << 20

// NewResources checks limits and says them in the words of the runtime spec. It is pure.
func NewResources(l Limits) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{}
	memory, err := memoryLimits(l)
	if err != nil {
		return nil, err
	}
	r.Memory = memory
	if r.CPU, err = cpuLimits(l); err != nil {
		return nil, err
	}
	if l.PidsLimit != 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.PidsLimit}
	}
	if l.BlkioWeight != 0 {
		if l.BlkioWeight < 10 || l.BlkioWeight > 1000 {
			return nil, fmt.Errorf("range of blkio weight is from 10 to 1000, not %d", l.BlkioWeight)
		}
		r.BlockIO = &specs.LinuxBlockIO{Weight: &l.BlkioWeight}
	}
	return r, nil
}

func memoryLimits(l Limits) (*specs.LinuxMemory, error) {
	switch {
	case l.Memory < 0:
		return nil, fmt.Errorf("invalid memory limit %d", l.Memory)
	case l.Memory != 0 && l.Memory < minMemory:
		return nil, fmt.Errorf("minimum memory limit allowed is 6MB")
	case l.MemorySwap > 0 && l.Memory == 0:
		return nil, fmt.Errorf("you should always set the memory limit when using the memory+swap limit: add --memory")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return nil, fmt.Errorf("minimum memory+swap limit should be larger than the memory limit: --memory-swap counts both")
	case l.MemorySwap < -1:
		return nil, fmt.Errorf("invalid memory+swap limit %d", l.MemorySwap)
	case l.MemoryReservation != 0 && l.MemoryReservation < minMemory:
		return nil, fmt.Errorf("minimum memory reservation allowed is 6MB")
	case l.MemoryReservation > 0 && l.Memory > 0 && l.Memory < l.MemoryReservation:
		return nil, fmt.Errorf("the memory limit must be larger than the memory reservation")
	case l.OomKillDisable && l.Memory == 0:
		return nil, fmt.Errorf("disabling the OOM killer needs a memory limit: add --memory, or the whole host can hang")
	}
	m := &specs.LinuxMemory{}
	if l.Memory > 0 {
		swap := l.MemorySwap
		if swap == 0 {
			swap = 2 * l.Memory
		}
		m.Limit, m.Swap = &l.Memory, &swap
	}
	if l.MemoryReservation > 0 {
		m.Reservation = &l.MemoryReservation
	}
	if l.OomKillDisable {
		m.DisableOOMKiller = &l.OomKillDisable
	}
	if *m == (specs.LinuxMemory{}) {
		return nil, nil
	}
	return m, nil
}

func cpuLimits(l Limits) (*specs.LinuxCPU, error) {
	c := &specs.LinuxCPU{Cpus: l.CpusetCpus, Mems: l.CpusetMems}
	period, quota := l.CPUPeriod, l.CPUQuota
	switch {
	case l.NanoCPUs < 0:
		return nil, fmt.Errorf("invalid number of CPUs: it must be positive")
	case l.NanoCPUs > 0 && (period != 0 || quota != 0):
		return nil, fmt.Errorf("conflicting options: --cpus says period and quota in one: leave --cpu-period and --cpu-quota out")
	case l.NanoCPUs > 0:
		period = 100_000
		quota = l.NanoCPUs * int64(period) / 1e9
	case period != 0 && (period < 1000 || period > 1_000_000):
		return nil, fmt.Errorf("the CPU period must be from 1000 to 1000000 microseconds (1 ms to 1 s), not %d", period)
	}
	if quota > 0 && quota < 1000 {
		return nil, fmt.Errorf("the CPU quota cannot be less than 1 ms in a period (0.01 of a CPU)")
	}
	if period != 0 {
		c.Period = &period
	}
	if quota != 0 {
		c.Quota = &quota
	}
	if l.CPUShares != 0 {
		c.Shares = &l.CPUShares
	}
	if *c == (specs.LinuxCPU{}) {
		return nil, nil
	}
	return c, nil
}

// resourcesWithDevices adds the device rules: first nothing, then what every container may use, then what was asked for.
func resourcesWithDevices(o SpecOptions) *specs.LinuxResources {
	r := specs.LinuxResources{}
	if o.Resources != nil {
		r = *o.Resources
	}
	if o.Privileged {
		r.Devices = append(slices.Clone(r.Devices), specs.LinuxDeviceCgroup{Allow: true, Access: "rwm"})
		return &r
	}
	rules := DefaultDeviceRules()
	for _, d := range o.Devices {
		major, minor := d.Major, d.Minor
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: d.Access})
	}
	rules = append(rules, o.DeviceRules...)
	r.Devices = append(rules, r.Devices...)
	return &r
}

// DefaultDeviceRules are Docker's: everything may be made by mknod, hardly anything opened.
func DefaultDeviceRules() []specs.LinuxDeviceCgroup {
	allow := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major >= 0 {
			rule.Major = &major
		}
		if minor >= 0 {
			rule.Minor = &minor
		}
		return rule
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		allow("c", -1, -1, "m"), // mknod is harmless while the node cannot be opened
		allow("b", -1, -1, "m"),
		allow("c", 1, 3, "rwm"),    // null
		allow("c", 1, 5, "rwm"),    // zero
		allow("c", 1, 7, "rwm"),    // full
		allow("c", 1, 8, "rwm"),    // random
		allow("c", 1, 9, "rwm"),    // urandom
		allow("c", 5, 0, "rwm"),    // tty
		allow("c", 5, 1, "rwm"),    // console
		allow("c", 5, 2, "rwm"),    // ptmx
		allow("c", 136, -1, "rwm"), // pts/*
	}
}

// DefaultDevices are the nodes that every container has, whatever its config says: runtime-spec, config-linux, "Default Devices".
func DefaultDevices() []specs.LinuxDevice {
	mode := os.FileMode(0o666)
	device := func(path string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: "c", Major: major, Minor: minor, FileMode: &mode}
	}
	return []specs.LinuxDevice{
		device("/dev/null", 1, 3), device("/dev/zero", 1, 5), device("/dev/full", 1, 7),
		device("/dev/random", 1, 8), device("/dev/urandom", 1, 9), device("/dev/tty", 5, 0),
	}
}

// HostDevice describes a device node of the host, to be made at target in the container. Access is any of r, w and m.
func HostDevice(path, target, access string) (Device, error) {
	if access == "" {
		access = "rwm"
	}
	if strings.Trim(access, "rwm") != "" {
		return Device{}, fmt.Errorf("invalid device mode %q: it is made of r, w and m", access)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Device{}, fmt.Errorf("device %s: %w", path, err)
	}
	kind, ok := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b"}[st.Mode&unix.S_IFMT]
	if !ok {
		return Device{}, fmt.Errorf("device %s: not a device node", path)
	}
	mode, uid, gid := os.FileMode(st.Mode&0o777), st.Uid, st.Gid
	return Device{specs.LinuxDevice{
		Path: target, Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), FileMode: &mode, UID: &uid, GID: &gid,
	}, access}, nil
}

// HostDevices are all nodes under a directory of the host's /dev, or the one node that path names. Privileged containers
// get all of /dev but what the runtime itself puts there.
func HostDevices(path, target, access string) ([]Device, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", path, err)
	}
	if !info.IsDir() {
		d, err := HostDevice(path, target, access)
		return []Device{d}, err
	}
	var list []Device
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // hosts plug and unplug while we look
			}
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
			return nil
		}
		if entry.Type()&fs.ModeDevice == 0 || name == "/dev/console" || name == "/dev/ptmx" {
			return nil
		}
		d, err := HostDevice(name, filepath.Join(target, strings.TrimPrefix(name, path)), access)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		list = append(list, d)
		return err
	})
	return list, err
}
