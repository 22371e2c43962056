package cgroups

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestScope(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "/system.slice/mydocker-runtime-ID.scope",
		"user.slice:libpod:abc":               "/user.slice/libpod-abc.scope",
		":docker:x":                           "/system.slice/docker-x.scope",
		"kubepods-burstable-pod1.slice:cri:c": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-c.scope",
		"-.slice::x":                          "/x.scope",
	} {
		s, err := ParseScope(in, "ID")
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got, err := s.Path(); got != want || err != nil {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"/a/b", "a:b", "a:b:c", "a.slice:b:", "a.slice:b:c/d", "a--b.slice:x:y", "-a.slice:x:y", "a-.slice:x:y", "../x.slice:a:b", "a.slice:b:c.slice", "x.slice:a:b:c"} {
		if s, err := ParseScope(bad, "ID"); err == nil || !strings.Contains(err.Error(), "linux.cgroupsPath") {
			t.Errorf("%q: %+v %v", bad, s, err)
		}
	}
}

func TestScopeProperties(t *testing.T) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20)), Reservation: ptr(int64(32 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Period: ptr(uint64(50000)), Quota: ptr(int64(20100))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(-1))},
	}
	text := func(v2 bool) (s string) {
		for _, p := range scopeProperties(r, v2) {
			s += fmt.Sprintf("%s=%v ", p.Name, p.Value.Value())
		}
		return s
	}
	if got, want := text(true), "MemoryMax=67108864 MemoryLow=33554432 MemorySwapMax=33554432 CPUWeight=20 CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=410000 TasksMax=18446744073709551615 "; got != want {
		t.Errorf("v2: %s, want %s", got, want)
	}
	if got, want := text(false), "MemoryLimit=67108864 CPUShares=512 CPUQuotaPeriodUSec=50000 CPUQuotaPerSecUSec=410000 TasksMax=18446744073709551615 "; got != want {
		t.Errorf("v1: %s, want %s", got, want)
	}
}
