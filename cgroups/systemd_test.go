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

func TestScopeAnnotations(t *testing.T) {
	const in = "org.systemd.property."
	for _, c := range []struct{ name, text, want string }{
		{"TimeoutStopUSec", "uint64 10000000", "TimeoutStopUSec=@t 10000000"},
		{"TimeoutStopSec", "456", "TimeoutStopUSec=@t 456000000"},
		{"TimeoutStopSec", "byte 234", "TimeoutStopUSec=@t 234000000"},
		{"TimeoutStopSec", "1.5", "TimeoutStopUSec=@t 1500000"},
		{"KillSignal", "15", "KillSignal=15"},
		{"CollectMode", "'inactive-or-failed'", `CollectMode="inactive-or-failed"`},
		{"After", "['crio.service']", `After=["crio.service"]`},
		{"DefaultDependencies", "true", "DefaultDependencies=true"},
		{"FOOSec", "'x'", `FOOSec="x"`}, // no small letter in front: no number of seconds
	} {
		g := SystemdGroup{}
		if err := g.Annotate(map[string]string{in + c.name: c.text, "org.example": "'"}); err != nil || words("", g.extra) != c.want {
			t.Errorf("%s=%s: %q %v, want %s", c.name, c.text, words("", g.extra), err, c.want)
		}
	}
	for name, text := range map[string]string{
		"TimeoutStopSec": "-1", "TimeoutStartSec": "'10'", "RuntimeMaxSec": "uint64 18446744073709551615", "WatchdogSec": "1e300",
		"KillSignal": "@@", "After": "['x'", "": "1", "Ab": "1", "Kill-Signal": "1", "Slice": "'x.slice'", "PIDs": "[1]", "X\x00Y": "1", "CollectMode": "", "Description": "\u0660", "Before": strings.Repeat("[", 1<<20),
	} {
		g := SystemdGroup{}
		if err := g.Annotate(map[string]string{in + name: text}); err == nil || !strings.Contains(err.Error(), "annotations: "+in+name) {
			t.Errorf("%s=%s: %v", name, text, err)
		}
	}
}

func FuzzScopeAnnotation(f *testing.F) {
	for _, text := range []string{"uint64 1", "['a', 'b']", "{'a': <1>}", "(1, true)", "<<'x'>>", "@as []", "b'bytes'", "-0x1F", "1e400", "nothing", "\u0660"} {
		f.Add("TimeoutStopSec", text)
	}
	f.Add("Sec", "uint64 1")
	f.Add("CPUWeight", "@s []")
	f.Fuzz(func(t *testing.T, name, text string) {
		g := SystemdGroup{}
		if err := g.Annotate(map[string]string{scopeAnnotation + name: text}); err == nil && len(g.extra) != 1 {
			t.Errorf("%q=%q gives %v", name, text, g.extra)
		}
	})
}
