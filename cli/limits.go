package cli

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

// leastMemory is the least that Docker accepts for -m: below, not even the runtime's first process starts.
const leastMemory = 6 << 20

// readResources reads the limits of the cgroup.
func readResources(c *urfave.Context, o *engine.CreateOptions) (err error) {
	r := &o.Resources
	r.CpusetCpus, r.CpusetMems = c.String("cpuset-cpus"), c.String("cpuset-mems")
	r.CgroupParent = c.String("cgroup-parent")
	r.OomKillDisable = c.Bool("oom-kill-disable")
	for _, bytes := range []struct {
		flag string
		to   *int64
	}{{"memory", &r.Memory}, {"memory-swap", &r.MemorySwap}, {"memory-reservation", &r.MemoryReservation}, {"shm-size", &o.ShmSize}} {
		if *bytes.to, err = parseBytes(c, bytes.flag); err != nil {
			return err
		}
	}
	if r.NanoCPUs, err = parseCPUs(c.String("cpus"), runtime.NumCPU()); err != nil {
		return err
	}
	r.CPUQuota, r.PidsLimit = c.Int64("cpu-quota"), c.Int64("pids-limit")
	r.CPURealtimePeriod, r.CPURealtimeRuntime = c.Int64("cpu-rt-period"), c.Int64("cpu-rt-runtime")
	if n := c.Int64("memory-swappiness"); n != -1 {
		if n < 0 || n > 100 {
			return fmt.Errorf("invalid value %d for --memory-swappiness: the range is 0 to 100", n)
		}
		r.MemorySwappiness = &n
	}
	if err := readDeviceLimits(c, r); err != nil {
		return err
	}
	if err := readWeights(c, r, func(string) bool { return true }); err != nil {
		return err
	}
	return checkResources(r)
}

// readDeviceLimits reads the limits of single disks: /dev/x:NUMBER.
func readDeviceLimits(c *urfave.Context, r *engine.Resources) error {
	for _, kind := range []struct {
		flag  string
		to    *[]engine.DeviceLimit
		parse func(string) (uint64, error)
	}{
		{"blkio-weight-device", &r.BlkioWeightDevice, func(text string) (uint64, error) {
			n, err := strconv.ParseUint(text, 10, 16)
			if err == nil && n != 0 && (n < 10 || n > 1000) {
				err = errors.New("the weight is from 10 to 1000")
			}
			return n, err
		}},
		{"device-read-bps", &r.ReadBps, parseRate}, {"device-write-bps", &r.WriteBps, parseRate},
		{"device-read-iops", &r.ReadIOps, parseCount}, {"device-write-iops", &r.WriteIOps, parseCount},
	} {
		for _, text := range c.StringSlice(kind.flag) {
			device, number, ok := strings.Cut(text, ":")
			if !ok || !strings.HasPrefix(device, "/dev/") {
				return fmt.Errorf("invalid --%s '%s': /dev/DISK:NUMBER is expected", kind.flag, text)
			}
			rate, err := kind.parse(number)
			if err != nil {
				return fmt.Errorf("invalid --%s '%s': %w", kind.flag, text, err)
			}
			*kind.to = append(*kind.to, engine.DeviceLimit{Path: device, Rate: rate})
		}
	}
	return nil
}

func parseRate(text string) (uint64, error) {
	n, err := units.RAMInBytes(text)
	if err == nil && n < 0 {
		err = errors.New("the rate is negative")
	}
	return uint64(n), err
}

func parseCount(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

// readWeights reads the plain numbers among the limits, those that given says.
func readWeights(c *urfave.Context, r *engine.Resources, given func(flag string) bool) error {
	for _, n := range []struct {
		flag string
		max  uint64
		set  func(uint64)
	}{
		{"cpu-shares", 262144, func(n uint64) { r.CPUShares = n }},
		{"cpu-period", 1000000, func(n uint64) { r.CPUPeriod = n }},
		{"blkio-weight", 1000, func(n uint64) { r.BlkioWeight = uint16(n) }},
	} {
		if !given(n.flag) {
			continue
		}
		value := c.Int64(n.flag)
		if value < 0 || uint64(value) > n.max {
			return fmt.Errorf("invalid value %d for --%s: the range is 0 to %d", value, n.flag, n.max)
		}
		n.set(uint64(value))
	}
	return nil
}

// checkResources refuses limits that contradict each other, in Docker's words.
func checkResources(r *engine.Resources) error {
	switch {
	case r.Memory != 0 && r.Memory < leastMemory:
		return fmt.Errorf("--memory %s: minimum memory limit allowed is 6MB (6m)", units.BytesSize(float64(r.Memory)))
	case r.MemorySwap > 0 && r.Memory == 0:
		return fmt.Errorf("you should always set --memory when using --memory-swap")
	case r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return fmt.Errorf("minimum --memory-swap should be larger than --memory: it is memory and swap together")
	case r.MemoryReservation != 0 && r.Memory != 0 && r.MemoryReservation > r.Memory:
		return fmt.Errorf("--memory-reservation has to be smaller than --memory")
	case r.NanoCPUs != 0 && (r.CPUPeriod != 0 || r.CPUQuota != 0):
		return fmt.Errorf("conflicting options: --cpus and --cpu-period or --cpu-quota cannot both be set")
	case r.CPUPeriod != 0 && r.CPUPeriod < 1000:
		return fmt.Errorf("--cpu-period cannot be less than 1ms (1000) or larger than 1s (1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return fmt.Errorf("--cpu-quota cannot be less than 1ms (1000)")
	case r.CPURealtimePeriod != 0 && r.CPURealtimeRuntime > r.CPURealtimePeriod:
		return fmt.Errorf("--cpu-rt-runtime cannot be more than --cpu-rt-period")
	case r.BlkioWeight != 0 && r.BlkioWeight < 10:
		return fmt.Errorf("range of --blkio-weight is from 10 to 1000")
	}
	for flag, set := range map[string]string{"cpuset-cpus": r.CpusetCpus, "cpuset-mems": r.CpusetMems} {
		if !validCPUSet(set) {
			return fmt.Errorf("invalid --%s %q: a list such as 0-2,4 is expected", flag, set)
		}
	}
	return nil
}

// validCPUSet checks cpuset(7)'s list format: numbers and ranges, with commas between.
func validCPUSet(set string) bool {
	if set == "" {
		return true
	}
	for _, part := range strings.Split(set, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return false
		}
		if b, err := strconv.ParseUint(last, 10, 16); isRange && (err != nil || b < a) {
			return false
		}
	}
	return true
}

// parseBytes reads sizes such as 512m or 1.5g; a bare number is bytes. -1 is allowed for --memory-swap.
func parseBytes(c *urfave.Context, flag string) (int64, error) {
	text := c.String(flag)
	if text == "" {
		return 0, nil
	}
	if flag == "memory-swap" && text == "-1" {
		return -1, nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("invalid size '%s' for --%s: a number with b, k, m or g is expected, such as 512m", text, flag)
	}
	return n, nil
}

// parseCPUs reads a decimal number of CPUs as billionths.
func parseCPUs(text string, have int) (int64, error) {
	if text == "" {
		return 0, nil
	}
	cpus, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(cpus) || cpus < 0 {
		return 0, fmt.Errorf("invalid --cpus '%s': a decimal number is expected, such as 1.5", text)
	}
	if cpus != 0 && cpus < 0.01 || cpus > float64(have) {
		return 0, fmt.Errorf("invalid --cpus '%s': the range is from 0.01 to %d.00, as there are only %d CPUs available", text, have, have)
	}
	return int64(math.Round(cpus * 1e9)), nil
}

// readLimits reads --ulimit and --device.
func readLimits(c *urfave.Context, o *engine.CreateOptions) error {
	for _, text := range c.StringSlice("ulimit") {
		limit, err := units.ParseUlimit(text)
		if err != nil {
			return fmt.Errorf("invalid --ulimit '%s': %w; NAME=SOFT[:HARD] is expected, such as nofile=1024:4096", text, err)
		}
		o.Ulimits = append(o.Ulimits, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(limit.Name),
			// -1 is unlimited: all bits set, in the kernel too.
			Soft: uint64(limit.Soft), Hard: uint64(limit.Hard),
		})
	}
	for _, text := range c.StringSlice("device-cgroup-rule") {
		if err := engine.CheckDeviceRule(text); err != nil {
			return err
		}
		o.DeviceCgroupRules = append(o.DeviceCgroupRules, text)
	}
	for _, text := range c.StringSlice("device") {
		if err := checkDevice(text); err != nil {
			return fmt.Errorf("invalid --device '%s': %w", text, err)
		}
		o.Devices = append(o.Devices, text)
	}
	return nil
}

// checkDevice reads HOST[:CONTAINER][:rwm].
func checkDevice(text string) error {
	parts := strings.Split(text, ":")
	if len(parts) > 3 || !strings.HasPrefix(parts[0], "/") {
		return fmt.Errorf("an absolute path is expected: /dev/x[:/dev/y][:rwm]")
	}
	for i, part := range parts[1:] {
		isLast := i == len(parts)-2
		if strings.HasPrefix(part, "/") && i == 0 || isLast && part != "" && strings.Trim(part, "rwm") == "" {
			continue
		}
		return fmt.Errorf("%q is neither an absolute path nor a mode made of r, w and m", part)
	}
	return nil
}
