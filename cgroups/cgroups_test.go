package cgroups

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

func texts(list []Setting) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s=%s\n", s.File, s.Value)
	}
	return b.String()
}

// TestValues: the same limits in the words of both versions, in the order in which they must be written.
func TestValues(t *testing.T) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20)), Reservation: ptr(int64(32 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Period: ptr(uint64(100000)), Quota: ptr(int64(50000)), Cpus: "0-1", Mems: "0"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(20))},
		BlockIO: &specs.LinuxBlockIO{
			Weight: ptr(uint16(500)), ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{Rate: 1000}},
		},
	}
	v1, err := V1Values(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `memory.limit_in_bytes=67108864
memory.memsw.limit_in_bytes=100663296
memory.soft_limit_in_bytes=33554432
cpu.shares=512
cpu.cfs_period_us=100000
cpu.cfs_quota_us=50000
cpuset.cpus=0-1
cpuset.mems=0
pids.max=20
blkio.bfq.weight=500
blkio.throttle.read_bps_device=0:0 1000
`
	if got := texts(v1); got != want {
		t.Errorf("v1:\n%swant\n%s", got, want)
	}
	v2, err := V2Values(r)
	if err != nil {
		t.Fatal(err)
	}
	want = `memory.max=67108864
memory.swap.max=33554432
memory.low=33554432
cpu.weight=20
cpu.max=50000 100000
cpuset.cpus=0-1
cpuset.mems=0
pids.max=20
io.weight=default 4950
io.max=0:0 rbps=1000
`
	if got := texts(v2); got != want {
		t.Errorf("v2:\n%swant\n%s", got, want)
	}
	// Engines write zero for a limit that is not set.
	zero := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(0)), Swap: ptr(int64(0)), DisableOOMKiller: ptr(false)},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(0)), Quota: ptr(int64(0)), Period: ptr(uint64(0))}, BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(0))},
	}
	for name, values := range map[string]func(*specs.LinuxResources) ([]Setting, error){"v1": V1Values, "v2": V2Values} {
		if list, err := values(zero); err != nil || len(list) != 0 {
			t.Errorf("%s: zero is %v %v", name, list, err)
		}
	}
	for _, bad := range []*specs.LinuxResources{
		{Unified: map[string]string{"../x": "1"}},
		{Memory: &specs.LinuxMemory{Swap: ptr(int64(10))}},
		{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}},
	} {
		if list, err := V2Values(bad); err == nil {
			t.Errorf("v2 accepts %v", list)
		}
	}
}

// TestDeviceProgram runs the program for version 2 on every kind of access.
func TestDeviceProgram(t *testing.T) {
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Access: "m"},
		{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(3)), Access: "r"},
		{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(3)), Access: "w"},
		{Allow: true, Type: "c", Major: ptr(int64(136)), Access: "rw"},
		{Allow: false, Type: "c", Major: ptr(int64(136)), Minor: ptr(int64(7)), Access: "w"},
	}
	code, err := deviceProgram(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		kind, access, major, minor uint32
		allowed                    bool
	}{
		{deviceChar, accessMknod, 9, 9, true}, {deviceBlock, accessMknod, 9, 9, false}, {deviceChar, accessRead, 9, 9, false},
		{deviceChar, accessRead | accessW, 1, 3, true}, {deviceChar, accessRead | accessW | accessMknod, 1, 3, true}, {deviceChar, accessRead, 1, 4, false},
		{deviceChar, accessRead | accessW, 136, 5, true}, {deviceChar, accessW, 136, 7, false}, {deviceChar, accessRead, 136, 7, true},
	} {
		if got := runDevices(t, code, one.kind|one.access<<16, one.major, one.minor); got != one.allowed {
			t.Errorf("%+v: %v", one, got)
		}
	}
}

// runDevices is the few instructions of the kernel's machine that the compiler uses.
func runDevices(t *testing.T, code []bpfInstruction, access, major, minor uint32) bool {
	t.Helper()
	var r [11]uint64
	for pc := 0; pc < len(code); pc++ {
		i := code[pc]
		dst, src := i.registers&15, i.registers>>4
		switch i.code {
		case bpfLoad32:
			r[dst] = uint64(map[int16]uint32{0: access, 4: major, 8: minor}[i.offset])
		case bpfMoveReg:
			r[dst] = r[src]
		case bpfMove:
			r[dst] = uint64(int64(i.value))
		case bpfAnd:
			r[dst] &= uint64(int64(i.value))
		case bpfShiftRight:
			r[dst] >>= uint64(i.value)
		case bpfIfEqual:
			if r[dst] == uint64(int64(i.value)) {
				pc += int(i.offset)
			}
		case bpfIfNot:
			if r[dst] != uint64(int64(i.value)) {
				pc += int(i.offset)
			}
		case bpfExit:
			return r[0] == 1
		default:
			t.Fatalf("instruction %#x", i.code)
		}
	}
	t.Fatal("no verdict")
	return false
}

// TestLife: a group is made, joined, frozen, and removed with the process that lives in it; twice each.
func TestLife(t *testing.T) {
	m, err := Open(fmt.Sprintf("/mydocker-test-%d/a/b", os.Getpid()), nil)
	if err != nil {
		t.Fatal(err)
	}
	top, err := Open(fmt.Sprintf("/mydocker-test-%d", os.Getpid()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Delete()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	step := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	step("create", m.Create())
	step("create again", m.Create())
	step("add", m.Add(cmd.Process.Pid))
	procs, err := m.Procs()
	if err != nil || len(procs) != 1 || procs[0] != cmd.Process.Pid {
		t.Fatalf("%v %v", procs, err)
	}
	step("freeze", m.Freeze())
	if frozen, err := m.Frozen(); err != nil || !frozen {
		t.Fatal("not frozen", err)
	}
	if s, err := m.Stats(); err != nil || s.Memory.Limit != 0 {
		t.Fatalf("%+v %v", s, err)
	}
	step("delete", m.Delete()) // kills it, although it is frozen
	step("delete again", m.Delete())
	if err := unix.Kill(cmd.Process.Pid, 0); err == nil {
		if _, err := cmd.Process.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "/", "relative", "/a/../b"} {
		if _, err := Open(bad, nil); err == nil {
			t.Errorf("the path %q was accepted", bad)
		}
	}
}

// TestNothingIsIgnored: what a version cannot do is an error that names the member, and the rest is written.
func TestNothingIsIgnored(t *testing.T) {
	for want, r := range map[string]*specs.LinuxResources{
		"resources.memory.kernel:":                  {Memory: &specs.LinuxMemory{Kernel: ptr(int64(1))}},
		"resources.memory.kernelTCP":                {Memory: &specs.LinuxMemory{KernelTCP: ptr(int64(1))}},
		"resources.memory.swappiness":               {Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(1))}},
		"resources.cpu.realtime":                    {CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1))}},
		"resources.network":                         {Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}},
		`"cgroup.procs" is no limit`:                {Unified: map[string]string{"cgroup.procs": "1"}},
		`"cgroup.freeze" is no limit`:               {Unified: map[string]string{"cgroup.max.depth": "3", "cgroup.freeze": "1"}},
		"resources.blockIO.leafWeight":              {BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr(uint16(10))}},
		"resources.blockIO.weightDevice.leafWeight": {BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LeafWeight: ptr(uint16(10))}}}},
	} {
		if list, err := V2Values(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("v2 %s: %v %v", want, list, err)
		}
	}
	r := &specs.LinuxResources{
		Memory:         &specs.LinuxMemory{UseHierarchy: ptr(true), KernelTCP: ptr(int64(5)), Swappiness: ptr(uint64(7))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}, Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(4))}},
		Network: &specs.LinuxNetwork{ClassID: ptr(uint32(9)), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 2}}},
		BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 1}, Weight: ptr(uint16(500)), LeafWeight: ptr(uint16(20))}}},
	}
	v1, err := V1Values(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"memory.use_hierarchy=1", "memory.kmem.tcp.limit_in_bytes=5", "memory.swappiness=7", "hugetlb.2MB.limit_in_bytes=4194304", "rdma.max=mlx5_1 hca_handle=3",
		"rdma.max=mlx5_1 hca_object=4", "net_cls.classid=9", "net_prio.ifpriomap=eth0 2", "blkio.bfq.weight_device=8:1 500", "blkio.leaf_weight_device=8:1 20",
	} {
		if !strings.Contains(texts(v1), want+"\n") {
			t.Errorf("v1 has no %s:\n%s", want, texts(v1))
		}
	}
	r.Memory, r.Network, r.BlockIO.WeightDevice[0].LeafWeight = nil, nil, nil
	r.Unified = map[string]string{"memory.high": "1000000", "io.max": "8:0 rbps=1\n8:16 rbps=2"}
	v2, err := V2Values(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hugetlb.2MB.max=4194304", "rdma.max=mlx5_1 hca_handle=3", "io.weight=8:1 4950", "memory.high=1000000", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2"} {
		if !strings.Contains(texts(v2), want+"\n") {
			t.Errorf("v2 has no %s:\n%s", want, texts(v2))
		}
	}
}

// TestCheckBeforeUpdate: a limit below what is in use is refused where the config wants it, before anything is written.
func TestCheckBeforeUpdate(t *testing.T) {
	file := t.TempDir() + "/usage"
	if err := os.WriteFile(file, []byte("5000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for limit, refused := range map[int64]bool{4999: true, 5000: false, -1: false} {
		err := checkUsage(&specs.LinuxMemory{Limit: ptr(limit), CheckBeforeUpdate: ptr(true)}, file)
		if (err != nil) != refused {
			t.Errorf("%d: %v", limit, err)
		}
	}
	if err := checkUsage(&specs.LinuxMemory{Limit: ptr(int64(1)), CheckBeforeUpdate: ptr(false)}, file); err != nil {
		t.Error(err)
	}
}
