package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/container"
)

// updateFlags are runc's. Most are texts there, too: "" is a limit that stays, and 0 is a value like others.
func updateFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "file with linux.resources as JSON; - is standard input; the other flags then mean nothing"},
		&urfave.StringFlag{Name: "memory", Usage: "bytes, or with k, m, g; -1 is unlimited"},
		&urfave.StringFlag{Name: "memory-swap", Usage: "memory and swap together"},
		&urfave.StringFlag{Name: "memory-reservation", Usage: "bytes"},
		&urfave.StringFlag{Name: "kernel-memory", Hidden: true},
		&urfave.StringFlag{Name: "kernel-memory-tcp", Hidden: true},
		&urfave.StringFlag{Name: "cpu-period", Usage: "microseconds"},
		&urfave.StringFlag{Name: "cpu-quota", Usage: "microseconds; -1 is unlimited"},
		&urfave.StringFlag{Name: "cpu-burst", Usage: "microseconds of unused quota that may be saved up"},
		&urfave.StringFlag{Name: "cpu-share", Usage: "share"},
		&urfave.StringFlag{Name: "cpu-rt-period", Usage: "microseconds (cgroup v1)"},
		&urfave.StringFlag{Name: "cpu-rt-runtime", Usage: "microseconds of real-time in a period (cgroup v1)"},
		&urfave.StringFlag{Name: "cpu-idle", Usage: "1: run only when nobody else wants to; 0: as usual"},
		&urfave.StringFlag{Name: "cpuset-cpus", Usage: "0-2,7"},
		&urfave.StringFlag{Name: "cpuset-mems", Usage: "0-2,7"},
		&urfave.IntFlag{Name: "blkio-weight", Usage: "10 to 1000"},
		&urfave.Int64Flag{Name: "pids-limit", Usage: "-1 is unlimited"},
		&urfave.StringFlag{Name: "l3-cache-schema", Usage: "refused: linux.intelRdt is not supported"},
		&urfave.StringFlag{Name: "mem-bw-schema", Usage: "refused: linux.intelRdt is not supported"},
	}
}

func (o *ociSession) update(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	for _, name := range []string{"l3-cache-schema", "mem-bw-schema"} {
		if c.String(name) != "" {
			return fmt.Errorf("--%s: linux.intelRdt is not supported: no cache or memory bandwidth is shared out here", name)
		}
	}
	for _, name := range []string{"kernel-memory", "kernel-memory-tcp"} {
		if c.String(name) != "" {
			o.warn(fmt.Errorf("--%s means nothing any more, as in runc", name))
		}
	}
	r := &specs.LinuxResources{}
	if path := c.String("resources"); path != "" {
		err = resourcesFile(path, r)
	} else {
		err = updateResources(c, r)
	}
	if err != nil {
		return err
	}
	if s := found.Status(); s == container.Stopped {
		return fmt.Errorf("update container %s: %w", found.ID(), container.ErrNotRunning)
	}
	return found.Update(r)
}

func resourcesFile(path string, r *specs.LinuxResources) error {
	read := func() ([]byte, error) { return os.ReadFile(path) }
	if path == "-" {
		read = func() ([]byte, error) { return io.ReadAll(os.Stdin) }
	}
	data, err := read()
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err != nil {
		return fmt.Errorf("--resources %s: %w", path, err)
	}
	return nil
}

// updateResources is what the flags say; it has no effect.
func updateResources(c *urfave.Context, r *specs.LinuxResources) error {
	cpu, memory := &specs.LinuxCPU{Cpus: c.String("cpuset-cpus"), Mems: c.String("cpuset-mems")}, &specs.LinuxMemory{}
	r.CPU, r.Memory = cpu, memory
	err := errors.Join(
		flagNumber(c, "memory", &memory.Limit, bytesOrAll), flagNumber(c, "memory-swap", &memory.Swap, bytesOrAll), flagNumber(c, "memory-reservation", &memory.Reservation, bytesOrAll),
		flagNumber(c, "cpu-quota", &cpu.Quota, signed), flagNumber(c, "cpu-rt-runtime", &cpu.RealtimeRuntime, signed), flagNumber(c, "cpu-idle", &cpu.Idle, signed),
		flagNumber(c, "cpu-period", &cpu.Period, unsigned), flagNumber(c, "cpu-burst", &cpu.Burst, unsigned), flagNumber(c, "cpu-share", &cpu.Shares, unsigned),
		flagNumber(c, "cpu-rt-period", &cpu.RealtimePeriod, unsigned),
	)
	if err != nil {
		return err
	}
	if i := cpu.Idle; i != nil && *i != 0 && *i != 1 {
		return fmt.Errorf("invalid value %d for --cpu-idle: it is 0 or 1", *i)
	}
	if n := c.Int("blkio-weight"); n != 0 {
		if n < 10 || n > 1000 {
			return fmt.Errorf("invalid value %d for --blkio-weight: it is between 10 and 1000", n)
		}
		weight := uint16(n)
		r.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	if n := c.Int64("pids-limit"); n != 0 {
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	return nil
}

// flagNumber reads a flag that was given.
func flagNumber[N int64 | uint64](c *urfave.Context, name string, to **N, parse func(string) (N, error)) error {
	text := c.String(name)
	if text == "" {
		return nil
	}
	n, err := parse(text)
	if err != nil {
		return fmt.Errorf("invalid value %q for --%s", text, name)
	}
	*to = &n
	return nil
}

func signed(text string) (int64, error)    { return strconv.ParseInt(text, 10, 64) }
func unsigned(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

func bytesOrAll(text string) (int64, error) {
	if text == "-1" {
		return -1, nil
	}
	return units.RAMInBytes(text)
}
