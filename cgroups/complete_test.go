package cgroups

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestHalfOfAPair: a change that names one of two limits that belong together leaves the other as it is.
func TestHalfOfAPair(t *testing.T) {
	m, err := Open(fmt.Sprintf("/mydocker-half-%d", os.Getpid()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Delete()
	if err := m.Create(); err != nil {
		t.Fatal(err)
	}
	v2, err := IsV2()
	if err != nil {
		t.Fatal(err)
	}
	set := func(r *specs.LinuxResources) {
		t.Helper()
		if err := m.Set(r); err != nil {
			t.Fatal(err)
		}
	}
	now := func() string {
		t.Helper()
		files := []string{"cpu.max", "cpu.max.burst", "cpu.idle", "memory.max", "memory.swap.max"}
		if !v2 {
			files = []string{"cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpu/cpu.cfs_burst_us", "cpu/cpu.idle", "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes"}
		}
		var words []string
		for _, f := range files {
			dir, name := filepath.Split(f)
			text, err := readFile(filepath.Join(Mount, dir, m.Path(), name))
			if err != nil && name == "memory.swap.max" {
				continue // a kernel without swap
			}
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, text)
		}
		return strings.ReplaceAll(strings.Join(words, " "), "9223372036854771712", "max")
	}
	expect := func(what, v1Want, v2Want string) {
		t.Helper()
		want := v1Want
		if v2 {
			want = v2Want
		}
		if got := now(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const mib = 1 << 20
	cpu := func(c specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &c} }
	set(cpu(specs.LinuxCPU{Period: ptr(uint64(50000)), Quota: ptr(int64(20000)), Burst: ptr(uint64(7000)), Idle: ptr(int64(1))}))
	set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(96 * mib))}})
	expect("at first", "20000 50000 7000 1 67108864 100663296", "20000 50000 7000 1 67108864 33554432")
	set(cpu(specs.LinuxCPU{Quota: ptr(int64(30000))}))
	expect("a quota", "30000 50000 7000 1 67108864 100663296", "30000 50000 7000 1 67108864 33554432")
	set(cpu(specs.LinuxCPU{Period: ptr(uint64(60000))}))
	expect("a period", "30000 60000 7000 1 67108864 100663296", "30000 60000 7000 1 67108864 33554432")
	set(cpu(specs.LinuxCPU{Burst: ptr(uint64(0)), Idle: ptr(int64(0))}))
	expect("zeros", "30000 60000 0 0 67108864 100663296", "30000 60000 0 0 67108864 33554432")
	set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: ptr(int64(128 * mib))}})
	expect("swap", "30000 60000 0 0 67108864 134217728", "30000 60000 0 0 67108864 67108864")
	set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}})
	expect("no limit", "30000 60000 0 0 max max", "30000 60000 0 0 max max")
	set(cpu(specs.LinuxCPU{Quota: ptr(int64(-1))}))
	expect("no quota", "-1 60000 0 0 max max", "max 60000 0 0 max max")
}

// TestRefusedUpdate: a change of which one limit is refused leaves all of them as they were, also two of which one has to go first.
func TestRefusedUpdate(t *testing.T) {
	m, err := Open(fmt.Sprintf("/mydocker-refused-%d", os.Getpid()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Delete()
	if err := m.Create(); err != nil {
		t.Fatal(err)
	}
	v2, err := IsV2()
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "cpu/cpu.shares", "cpuset/cpuset.cpus", "pids/pids.max"}
	if v2 {
		files = []string{"memory.max", "memory.swap.max", "cpu.weight", "cpuset.cpus", "pids.max"}
	}
	now := func() (text string) {
		t.Helper()
		for _, f := range files {
			dir, name := filepath.Split(f)
			value, err := readFile(filepath.Join(Mount, dir, m.Path(), name))
			if err != nil && name != "memory.swap.max" {
				t.Fatal(err)
			}
			text += value + " "
		}
		return text
	}
	limits := func(size int64, cpus string) *specs.LinuxResources {
		both, shares, pids := size*2, uint64(size>>20), size>>20
		return &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: &size, Swap: &both}, Pids: &specs.LinuxPids{Limit: &pids},
			CPU: &specs.LinuxCPU{Shares: &shares, Cpus: cpus},
		}
	}
	if err := Update(m, limits(64<<20, "0")); err != nil {
		t.Fatal(err)
	}
	before := now()
	for _, size := range []int64{32 << 20, 256 << 20} {
		if err := Update(m, limits(size, "4095")); err == nil {
			t.Error("the processor 4095 was accepted")
		}
		if got := now(); got != before {
			t.Errorf("%d: %q, before %q", size, got, before)
		}
	}
}
