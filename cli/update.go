package cli

import (
	"context"
	"errors"
	"runtime"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func updateVerb() *verb {
	return &verb{
		name: "update", summary: "Update configuration of one or more containers", usage: "[OPTIONS] " + anyContainers, min: 1, max: -1, complete: "container",
		about: `A running container feels new limits at once; another one at its next start.

Examples:
  $ mydocker update -m 512m --memory-swap 1g web
  $ mydocker update --net-rate 10mbit web
  $ mydocker update --restart unless-stopped web db`,
		flags: func() []urfave.Flag {
			return append([]urfave.Flag{
				number("blkio-weight", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
				number("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period, in microseconds"),
				number("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds"),
				number("cpu-rt-period", "Limit the CPU real-time period in microseconds"),
				number("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds"),
				number("cpu-shares,c", "CPU shares (relative weight)"),
				str("cpus", "decimal", "Number of CPUs"),
				str("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
				str("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
				str("memory,m", "bytes", "Memory limit"),
				str("memory-reservation", "bytes", "Memory soft limit"),
				str("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
				number("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
				str("restart", "string", "Restart policy to apply when a container exits"),
			}, shapeFlags()...)
		},
		run: func(s *session, c *urfave.Context) error {
			if c.NumFlags() == 0 {
				return s.bad(errors.New("you must provide one or more flags when using this command"))
			}
			// What is wrong with a value is found on limits of nothing; what contradicts the limits that hold, container by container.
			if err := changeResources(c, &engine.Resources{}, func(*engine.Resources) error { return nil }); err != nil {
				return s.refuse(err)
			}
			shape := shapeTexts(c)
			if err := checkShape(shape); err != nil {
				return s.refuse(err)
			}
			var o engine.UpdateOptions
			if c.IsSet("restart") {
				policy, err := parseRestart(c.String("restart"))
				if err != nil {
					return s.bad(err)
				}
				o.Restart = &policy
			}
			return s.onEach(c, func(e *engine.Engine, ref string) error {
				o := o
				o.Resources = func(r *engine.Resources) error { return changeResources(c, r, checkResources) }
				if err := e.Update(context.Background(), ref, o); err != nil {
					return err
				}
				return updateShape(e, ref, shape)
			})
		},
	}
}

// changeResources puts the limits that were given in the place of those that hold, if they pass the check together; otherwise it
// changes nothing.
func changeResources(c *urfave.Context, r *engine.Resources, check func(*engine.Resources) error) error {
	changed := *r
	for _, bytes := range []struct {
		flag string
		to   *int64
	}{{"memory", &changed.Memory}, {"memory-swap", &changed.MemorySwap}, {"memory-reservation", &changed.MemoryReservation}} {
		if !c.IsSet(bytes.flag) {
			continue
		}
		n, err := parseBytes(c, bytes.flag)
		if err != nil {
			return err
		}
		*bytes.to = n
	}
	if c.IsSet("cpus") {
		n, err := parseCPUs(c.String("cpus"), runtime.NumCPU())
		if err != nil {
			return err
		}
		changed.NanoCPUs = n
	}
	if err := readWeights(c, &changed, c.IsSet); err != nil {
		return err
	}
	for flag, to := range map[string]*string{"cpuset-cpus": &changed.CpusetCpus, "cpuset-mems": &changed.CpusetMems} {
		if c.IsSet(flag) {
			*to = c.String(flag)
		}
	}
	for flag, to := range map[string]*int64{"cpu-quota": &changed.CPUQuota, "pids-limit": &changed.PidsLimit,
		"cpu-rt-period": &changed.CPURealtimePeriod, "cpu-rt-runtime": &changed.CPURealtimeRuntime} {
		if c.IsSet(flag) {
			*to = c.Int64(flag)
		}
	}
	if err := check(&changed); err != nil {
		return err
	}
	*r = changed
	return nil
}
