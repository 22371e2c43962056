package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The groups above a container: --cgroup-parent, kept by a restart.
func TestCgroupParent(t *testing.T) {
	cleanHost(t)
	t.Cleanup(func() { sh(t, "find /sys/fs/cgroup -depth -type d -path '*/mydocker/lab' -exec rmdir {} +") }) // whose it is, removes it
	c := sleeper(t, "parented", "--cgroup-parent", "/mydocker/lab", "--pids-limit", "20")
	match(t, "the cgroup", read(t, "/proc/"+c.inspect("{{.State.Pid}}")+"/cgroup"), "(?m):/mydocker/lab/"+c.id+"$")
	equal(t, "a limit there", c.limit("pids", "pids.max", "pids.max"), "20")
	must(t, "restart", "-t", "0", c.name)
	match(t, "the cgroup after a restart", read(t, "/proc/"+c.inspect("{{.State.Pid}}")+"/cgroup"), "(?m):/mydocker/lab/"+c.id+"$")
	equal(t, "inspect", c.inspect("{{.HostConfig.CgroupParent}}"), "/mydocker/lab")
	must(t, "rm", "-f", c.name)
	equal(t, "left of it", sh(t, "find /sys/fs/cgroup -name "+c.id), "")
}

// blockDevice is a whole disk of the machine: its file and its number.
func blockDevice(t *testing.T) (file, number string) {
	t.Helper()
	disks, err := filepath.Glob("/sys/block/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, disk := range disks {
		file := "/dev/" + filepath.Base(disk)
		if _, err := os.Stat(file); err == nil {
			return file, strings.TrimSpace(read(t, disk+"/dev"))
		}
	}
	t.Fatal("the machine has no block device: modprobe loop")
	return "", ""
}

// Limits of disks: a file of the kernel's for each kind on v1, one line for all of them on v2.
func TestLimitsBlkio(t *testing.T) {
	cleanHost(t)
	disk, number := blockDevice(t)
	c := sleeper(t, "disks", "--device-read-bps", disk+":1mb", "--device-write-bps", disk+":2mb", "--device-read-iops", disk+":7", "--device-write-iops", disk+":50")
	if unified() {
		equal(t, "io.max", c.limit("io", "", "io.max"), number+" rbps=1048576 wbps=2097152 riops=7 wiops=50")
	} else {
		for file, want := range map[string]string{"read_bps": "1048576", "write_bps": "2097152", "read_iops": "7", "write_iops": "50"} {
			equal(t, file, c.limit("blkio", "blkio.throttle."+file+"_device", ""), number+" "+want)
		}
	}
	equal(t, "inspect", c.inspect("{{range .HostConfig.BlkioDeviceReadBps}}{{.Path}} {{.Rate}}{{end}}"), disk+" 1048576")
	refused(t, 125, []string{"/dev/nodisk"}, "run", "--rm", "--device-read-bps", "/dev/nodisk:1mb", "busybox", "true")
	refused(t, 125, []string{"10", "1000"}, "run", "--rm", "--blkio-weight", "5", "busybox", "true")
	// A weight needs a scheduler that heeds it: without one it is refused by name. On v2 10..1000 becomes 1..10000, as in runc.
	weigh := my(t, "run", "-d", "--name", "weighed", "--blkio-weight", "300", "busybox", "sleep", "1000")
	t.Cleanup(func() { my(t, "rm", "-f", "weighed") })
	if weigh.code != 0 {
		match(t, "a weight", weigh.err, "weight")
		return
	}
	weighed := &ctr{t: t, name: "weighed"}
	match(t, "the weight", weighed.sh(`cat /sys/fs/cgroup/blkio/blkio.bfq.weight /sys/fs/cgroup/blkio/blkio.weight /sys/fs/cgroup/io.bfq.weight /sys/fs/cgroup/io.weight 2>/dev/null; true`), `\b(300|2930)\b`)
}

// Real-time is given by the groups above, on v1; v2 has none to give.
func TestRealTimeLimit(t *testing.T) {
	cleanHost(t)
	const file = "cpu.rt_runtime_us"
	_, err := os.Stat("/sys/fs/cgroup/cpu/" + file)
	refused(t, 125, map[bool][]string{true: {file, "echo 950000 >"}, false: {"real"}}[err == nil], "run", "--rm", "--cpu-rt-runtime", "5000", "busybox", "true")
	if err != nil {
		return
	}
	start(t, "rt-parent", "busybox", "sleep", "1000") // or there is no group /mydocker
	sh(t, "echo 20000 >/sys/fs/cgroup/cpu/"+file+"; echo 10000 >/sys/fs/cgroup/cpu/mydocker/"+file)
	t.Cleanup(func() {
		becomes(t, "the groups give up their time when the container's is gone", "^0 0$", func() string { // under load it goes a moment after the container
			return sh(t, `cd /sys/fs/cgroup/cpu; for d in mydocker .; do [ ! -e $d ] || echo 0 2>/dev/null >$d/`+file+`; done
				echo $(cat mydocker/`+file+` 2>/dev/null || echo 0) $(cat `+file+`)`)
		})
	})
	c := sleeper(t, "rt", "--cpu-rt-runtime", "5000", "--cpu-rt-period", "500000")
	t.Cleanup(func() { my(t, "rm", "-f", c.name) }) // before the groups above give up theirs
	equal(t, "runtime", c.limit("cpu", file, ""), "5000")
	equal(t, "period", c.limit("cpu", "cpu.rt_period_us", ""), "500000")
	must(t, "update", "--cpu-rt-runtime", "4000", c.name)
	equal(t, "runtime after update", c.limit("cpu", file, ""), "4000")
}

// update changes every limit at once, and the next start has them too.
func TestLimitsUpdate(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "updated", "-m", "64m", "--memory-swap", "64m")
	must(t, "update", "-m", "128m", "--memory-swap", "200m", "--memory-reservation", "32m", "--cpu-period", "50000", "--cpu-quota", "20000", "-c", "512",
		"--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "77", c.name)
	for _, when := range []string{"at once", "after a restart"} {
		for _, f := range []struct{ controller, v1, v2, wantV1, wantV2 string }{
			{"memory", "memory.limit_in_bytes", "memory.max", "134217728", "134217728"},
			{"memory", "memory.memsw.limit_in_bytes", "memory.swap.max", "209715200", "75497472"},
			{"memory", "memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432"},
			{"cpu", "cpu.cfs_quota_us", "cpu.max", "20000", "20000 50000"},
			{"cpu", "cpu.shares", "cpu.weight", "512", "20"},
			{"cpuset", "cpuset.cpus", "cpuset.cpus", "0", "0"},
			{"cpuset", "cpuset.mems", "cpuset.mems", "0", "0"},
			{"pids", "pids.max", "pids.max", "77", "77"},
		} {
			want := f.wantV1
			if unified() {
				want = f.wantV2
			}
			equal(t, f.v1+" "+when, c.limit(f.controller, f.v1, f.v2), want)
		}
		must(t, "restart", "-t", "0", c.name)
	}
	equal(t, "inspect", c.inspect("{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.MemoryReservation}} {{.CpuPeriod}} {{.CpuQuota}} {{.CpuShares}} {{.CpusetCpus}} {{.CpusetMems}} {{.PidsLimit}}{{end}}"),
		"134217728 209715200 33554432 50000 20000 512 0 0 77")
}
