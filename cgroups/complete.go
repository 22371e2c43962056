package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A change of limits may name one of two that belong together: `update --cpu-period` alone, say. The other is then what the group
// has, and not what a new group would get.

// standing reads what a group has, in the units of the config: -1 is no limit.
type standing struct {
	cpu    func() (quota int64, period uint64, err error)
	memory func() (int64, error)
}

// completed is the change with the other half of each pair. It reads the group only where one is missing.
func completed(r *specs.LinuxResources, now standing) (*specs.LinuxResources, error) {
	whole := *r
	if c := r.CPU; c != nil {
		hasQuota, hasPeriod := c.Quota != nil && *c.Quota != 0, c.Period != nil && *c.Period != 0
		if hasQuota != hasPeriod {
			quota, period, err := now.cpu()
			if errors.Is(err, fs.ErrNotExist) {
				// The group is new, and its controller comes with the first limit: what a new one has.
				quota, period, err = -1, 100000, nil
			}
			if err != nil {
				return nil, err
			}
			cpu := *c
			if hasQuota {
				cpu.Period = &period
			} else {
				cpu.Quota = &quota
			}
			whole.CPU = &cpu
		}
	}
	if m := r.Memory; m != nil {
		hasLimit, hasSwap := m.Limit != nil && *m.Limit != 0, m.Swap != nil && *m.Swap != 0
		memory := *m
		switch {
		case hasLimit && *m.Limit == -1 && !hasSwap:
			memory.Swap = m.Limit // memory without limit is never above memory and swap together
		case hasSwap && *m.Swap > 0 && !hasLimit && now.memory != nil:
			limit, err := now.memory()
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil && limit != -1 {
				memory.Limit = &limit
			}
		}
		whole.Memory = &memory
	}
	return &whole, nil
}

func (g *v1Group) completed(r *specs.LinuxResources) (*specs.LinuxResources, error) {
	return completed(r, standing{cpu: func() (quota int64, period uint64, err error) {
		if period, err = readUint(filepath.Join(g.dir("cpu"), "cpu.cfs_period_us")); err != nil {
			return 0, 0, err
		}
		text, err := readFile(filepath.Join(g.dir("cpu"), "cpu.cfs_quota_us"))
		if err == nil {
			quota, err = strconv.ParseInt(text, 10, 64)
		}
		return quota, period, err
	}})
}

func (g *v2Group) completed(r *specs.LinuxResources) (*specs.LinuxResources, error) {
	limit := func(text string) (int64, error) {
		if text == "max" {
			return -1, nil
		}
		return strconv.ParseInt(text, 10, 64)
	}
	return completed(r, standing{
		cpu: func() (int64, uint64, error) {
			text, err := readFile(filepath.Join(g.dir(), "cpu.max"))
			if err != nil {
				return 0, 0, err
			}
			first, second, _ := strings.Cut(text, " ")
			quota, err := limit(first)
			if err != nil {
				return 0, 0, fmt.Errorf("%s/cpu.max: %w", g.dir(), err)
			}
			period, err := parseUint(g.dir()+"/cpu.max", second)
			return quota, period, err
		},
		memory: func() (int64, error) {
			text, err := readFile(filepath.Join(g.dir(), "memory.max"))
			if err != nil {
				return 0, err
			}
			return limit(text)
		},
	})
}
