package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// unified says whether this host has cgroup v2 and nothing else.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// limit reads a file of the container's cgroup, from outside: the kernel's word for what was set.
func (c *ctr) limit(controller, v1, v2 string) string {
	c.t.Helper()
	for line := range strings.Lines(read(c.t, fmt.Sprintf("/proc/%d/cgroup", c.pid()))) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if unified() && f[0] == "0" {
			return strings.TrimSpace(read(c.t, "/sys/fs/cgroup"+f[2]+"/"+v2))
		}
		for name := range strings.SplitSeq(f[1], ",") {
			if name == controller {
				return strings.TrimSpace(read(c.t, "/sys/fs/cgroup/"+controller+f[2]+"/"+v1))
			}
		}
	}
	c.t.Fatalf("%s is in no cgroup of %s", c.name, controller)
	return ""
}

// Every limit is what the kernel says that it is.
func TestLimits(t *testing.T) {
	cleanHost(t)
	v := func(v1, v2 string) string {
		if unified() {
			return v2
		}
		return v1
	}
	for _, c := range []struct {
		name               string
		flags              []string
		controller, v1, v2 string
		want               string
	}{
		{"memory", []string{"-m", "64m"}, "memory", "memory.limit_in_bytes", "memory.max", "67108864"},
		{"memory-long", []string{"--memory", "1g"}, "memory", "memory.limit_in_bytes", "memory.max", "1073741824"},
		{"memory-reservation", []string{"--memory-reservation", "32m"}, "memory", "memory.soft_limit_in_bytes", "memory.low", "33554432"},
		{"cpus", []string{"--cpus", "0.5"}, "cpu", "cpu.cfs_quota_us", "cpu.max", v("50000", "50000 100000")},
		{"cpu-quota", []string{"--cpu-period", "50000", "--cpu-quota", "20000"}, "cpu", "cpu.cfs_quota_us", "cpu.max", v("20000", "20000 50000")},
		{"cpu-shares", []string{"-c", "512"}, "cpu", "cpu.shares", "cpu.weight", v("512", "20")},
		{"cpuset", []string{"--cpuset-cpus", "0"}, "cpuset", "cpuset.cpus", "cpuset.cpus", "0"},
		{"pids", []string{"--pids-limit", "20"}, "pids", "pids.max", "pids.max", "20"},
		{"unlimited pids", []string{"--pids-limit", "-1"}, "pids", "pids.max", "pids.max", "max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			container := sleeper(t, "limit-"+strings.ReplaceAll(c.name, " ", "-"), c.flags...)
			equal(t, strings.Join(c.flags, " "), container.limit(c.controller, c.v1, c.v2), c.want)
			equal(t, "exec is under the same limit", container.exec("sh", "-c", "cat /proc/self/cgroup"), container.exec("cat", "/proc/1/cgroup"))
		})
	}
}

// More memory than allowed ends in the kernel's killer, and it is said so.
func TestLimitsOutOfMemory(t *testing.T) {
	cleanHost(t)
	c := start(t, "oom", "-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c", "x=a; while :; do x=$x$x; done")
	equal(t, "exit status", must(t, "wait", c.name), "137")
	equal(t, "OOMKilled", c.inspect("{{.State.OOMKilled}}"), "true")
}

// More processes than allowed: fork fails inside, nothing else happens.
func TestLimitsForkBomb(t *testing.T) {
	cleanHost(t)
	r := my(t, "run", "--rm", "--pids-limit", "10", "busybox", "sh", "-c", "for i in $(seq 30); do sleep 60 & done; echo never")
	if strings.Contains(r.out, "never") || !strings.Contains(r.err, "fork") {
		t.Errorf("30 processes under a limit of 10: %+v", r)
	}
}

// What stats shows comes from the same files.
func TestStats(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "stats", "-m", "64m")
	match(t, "stats", must(t, "stats", "--no-stream", c.name), `(?s)CONTAINER ID\s+NAME\s+CPU %\s+MEM USAGE / LIMIT.*`+c.id[:12]+`\s+stats\s+\S+%\s+\S+ / 64MiB`)
}

// The limits, a port and a whole life on the machine at hand; its name puts it into the run on cgroup v2.
func TestVM(t *testing.T) {
	cleanHost(t)
	equal(t, "the driver", must(t, "info", "-f", "{{.Driver}}"), "overlay2") // also where the kernel takes overlays as a whole only
	makeNetwork(t, "br0")
	c := web(t, "vm", "-net", "br0", "-p", "8080:80", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50")
	equal(t, "page", mustGet(t, "http://127.0.0.1:8080/"), "page of vm")
	match(t, "the cgroup", read(t, fmt.Sprintf("/proc/%d/cgroup", c.pid())), "/mydocker/"+c.id)
	must(t, "pause", c.name)
	equal(t, "paused", c.inspect("{{.State.Status}}"), "paused")
	must(t, "unpause", c.name)
	c.exec("true")
	must(t, "restart", "-t", "0", c.name)
	c.listens(80)
	equal(t, "page after a restart", mustGet(t, "http://127.0.0.1:8080/"), "page of vm")
	must(t, "rm", "-f", c.name)
}

// Our own processes' timers may be late, which spares them wakings. A container's may not: neither of its first process, whichever way
// that is born, nor of one that exec adds.
func TestTimerSlack(t *testing.T) {
	cleanHost(t)
	const kernelDefault = "50000"
	for name, flags := range map[string][]string{"slack": nil, "slack-tty": {"-t"}, "slack-init": {"--init"}} {
		c := sleeper(t, name, flags...)
		equal(t, name, strings.TrimSpace(read(t, fmt.Sprintf("/proc/%d/timerslack_ns", c.pid()))), kernelDefault)
		must(t, "exec", "-d", c.name, "sh", "-c", "cat /proc/self/timerslack_ns >/slack.tmp; mv /slack.tmp /slack")
		equal(t, name+", exec -d", c.sh("until [ -e /slack ]; do sleep 0.01; done; cat /slack"), kernelDefault)
	}
}
