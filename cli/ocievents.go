package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/container"
)

// ociEvent is a line of `events`, in runc's words.
type ociEvent struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func eventData(s *cgroups.Stats, d *cgroups.Details) any {
	type m = map[string]any
	memory := m{
		"cache": s.Memory.Detail["cache"] + s.Memory.Detail["file"],
		"raw":   s.Memory.Detail,
	}
	for _, kind := range []string{"usage", "swap", "kernel", "kernelTCP"} {
		memory[kind] = d.Memory[kind] // all zero where the version does not count it by itself
	}
	usage := m{"total": s.CPU.Usage, "kernel": s.CPU.System, "user": s.CPU.User}
	perCPU := map[string][]uint64{"percpu": d.PerCPU, "percpu_kernel": d.PerCPUKernel, "percpu_user": d.PerCPUUser}
	for name, list := range perCPU {
		if len(list) > 0 {
			usage[name] = list
		}
	}
	cpuset := m{}
	for name, list := range d.Cpuset {
		if name == "cpus" || name == "mems" {
			cpuset[name] = list
		} else {
			cpuset[name] = list[0]
		}
	}
	return m{
		"cpu": m{
			"usage":      usage,
			"throttling": m{"periods": s.CPU.Periods, "throttledPeriods": s.CPU.Throttled, "throttledTime": s.CPU.ThrottledNanos},
		},
		"cpuset":             cpuset,
		"memory":             memory,
		"pids":               m{"current": s.Pids.Current, "limit": s.Pids.Limit},
		"blkio":              d.Blkio,
		"hugetlb":            d.Hugetlb,
		"intel_rdt":          m{},
		"network_interfaces": nil,
	}
}

func (o *ociSession) events(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	if s := found.Status(); s == container.Stopped {
		return fmt.Errorf("events of container %s: %w", found.ID(), container.ErrNotRunning)
	}
	if c.Duration("interval") <= 0 {
		return errors.New("the interval must be longer than nothing")
	}
	lines := json.NewEncoder(o.out)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGINT, unix.SIGTERM)
	tick := time.NewTicker(c.Duration("interval"))
	defer tick.Stop()
	kills := uint64(0)
	for {
		s, err := found.Stats()
		if err != nil {
			return err
		}
		details, err := found.Details()
		if err != nil {
			return err
		}
		if s.Memory.OOMKills > kills {
			kills = s.Memory.OOMKills
			if err := lines.Encode(ociEvent{Type: "oom", ID: found.ID()}); err != nil {
				return err
			}
		}
		if err := lines.Encode(ociEvent{Type: "stats", ID: found.ID(), Data: eventData(s, details)}); err != nil || c.Bool("stats") {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		if found.Status() == container.Stopped {
			return nil
		}
	}
}
