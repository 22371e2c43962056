package container

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestPersonality: uname speaks of another machine, in exec too.
func TestPersonality(t *testing.T) {
	spec, err := NewSpec(shell("busybox uname -m"))
	must(t, err)
	spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	bundle, r := newBundle(t), newRuntime(t)
	res, err := runSpec(t, r, bundle, spec)
	must(t, err)
	want := map[string]string{"amd64": "i686\n", "arm64": "armv8l\n"}[goarch()]
	if res.out != want {
		t.Errorf("run: %q, want %q", res.out, want)
	}
	c := startSpec(t, shell("sleep 1000"), func(s *specs.Spec) { s.Linux.Personality = spec.Linux.Personality })
	if res, err = execIn(t, c, specs.Process{Args: []string{"busybox", "uname", "-m"}}); err != nil || res.out != want {
		t.Errorf("exec: %q %v", res.out, err)
	}
}

func goarch() string {
	var u unix.Utsname
	unix.Uname(&u)
	if strings.HasPrefix(unix.ByteSliceToString(u.Machine[:]), "x86") {
		return "amd64"
	}
	return "arm64"
}

// TestSchedulerAndIOPriority: what the config says is what the kernel tells of the process, first process and exec.
func TestSchedulerAndIOPriority(t *testing.T) {
	set := func(p *specs.Process) {
		p.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
		p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	}
	c := startSpec(t, shell("sleep 1000"), func(s *specs.Spec) { set(s.Process) })
	check := func(pid int) {
		t.Helper()
		attr, err := unix.SchedGetAttr(pid, 0)
		must(t, err)
		io, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
		if attr.Policy != unix.SCHED_BATCH || attr.Nice != 7 || errno != 0 || io != 2<<13|6 {
			t.Errorf("%+v, I/O priority %#x %v", attr, io, errno)
		}
	}
	check(c.Pid())
	p := &specs.Process{Args: []string{"sleep", "1000"}, Env: []string{"PATH=/bin"}, Cwd: "/"}
	set(p)
	e, err := c.Exec(t.Context(), ExecOptions{Process: p})
	must(t, err)
	check(e.Pid())
	must(t, e.Signal(unix.SIGKILL))
	e.Wait()
}

// TestExecCPUAffinity: exec runs where it is told to, and the container's first process does not care.
func TestExecCPUAffinity(t *testing.T) {
	c := startSpec(t, shell("sleep 1000"), func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "1"} })
	all := affinity(t, c.Pid())
	res, err := execIn(t, c, specs.Process{Args: []string{"grep", "Cpus_allowed_list", "/proc/self/status"}, ExecCPUAffinity: &specs.CPUAffinity{Initial: "0", Final: "1"}})
	must(t, err)
	if res.out != "Cpus_allowed_list:\t1\n" || all == "1" {
		t.Errorf("exec %q, the container %q", res.out, all)
	}
	// After a stay in the group: on version 1 joining a cpuset gives the thread all of its processors, and without one the first stays.
	res, err = execIn(t, c, specs.Process{Args: []string{"true"}, ExecCPUAffinity: &specs.CPUAffinity{Initial: "no"}})
	if err == nil || !strings.Contains(err.Error(), "process.execCPUAffinity.initial") {
		t.Errorf("%v %v", res, err)
	}
}

func affinity(t *testing.T, pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "Cpus_allowed_list:\t")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// TestMemoryPolicy: where the kernel has NUMA, it tells of the policy; elsewhere the refusal names it.
func TestMemoryPolicy(t *testing.T) {
	spec, err := NewSpec(shell("grep -m1 bin/busybox /proc/self/numa_maps"))
	must(t, err)
	spec.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	if _, statErr := os.Stat("/proc/self/numa_maps"); statErr != nil {
		if err == nil || !strings.Contains(err.Error(), "memory policy MPOL_INTERLEAVE") {
			t.Errorf("%v", err)
		}
		return
	}
	must(t, err)
	if !strings.Contains(res.out, " interleave:0 ") {
		t.Errorf("%q", res.out)
	}
}

// TestTimeNamespace: the container's clock stands a day ahead; exec and a container that joins see the same.
func TestTimeNamespace(t *testing.T) {
	const day = 86400
	uptime := func(text string) (seconds float64) {
		_, err := fmt.Sscan(text, &seconds)
		must(t, err)
		return seconds
	}
	host, err := os.ReadFile("/proc/uptime")
	must(t, err)
	ahead := func(what, text string) {
		t.Helper()
		if d := uptime(text) - uptime(string(host)); d < day-1 || d > day+600 {
			t.Errorf("%s is %.0f seconds ahead", what, d)
		}
	}
	c := startSpec(t, shell("cat /proc/uptime > /tmp/uptime; sleep 1000"), func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: day}, "monotonic": {Secs: day}}
	})
	file := fmt.Sprintf("/proc/%d/root/tmp/uptime", c.Pid())
	first := eventually(t, func() string { text, _ := os.ReadFile(file); return string(text) })
	ahead("the first process", first)
	res, err := execIn(t, c, specs.Process{Args: []string{"cat", "/proc/uptime"}})
	must(t, err)
	ahead("exec", res.out)
	spec, err := NewSpec(shell("cat /proc/uptime"))
	must(t, err)
	spec.Linux.CgroupsPath = fmt.Sprintf("/mydocker-runtime/joins-%d", os.Getpid())
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace, Path: fmt.Sprintf("/proc/%d/ns/time", c.Pid())})
	res, err = runSpec(t, newRuntime(t), newBundle(t), spec)
	must(t, err)
	ahead("who joins", res.out)
}

// eventually waits for a text that is not empty.
func eventually(t *testing.T, get func() string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text := get(); text != "" {
			return text
		}
	}
	t.Fatal("nothing came")
	return ""
}

// startSpec is start with a change to the spec.
func startSpec(t *testing.T, o SpecOptions, change func(*specs.Spec)) *Container {
	t.Helper()
	spec, err := NewSpec(o)
	must(t, err)
	change(spec)
	id := fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
	c, err := newRuntime(t).Create(t.Context(), CreateOptions{ID: id, Bundle: newBundle(t), Spec: spec, KeepConfig: true})
	must(t, err)
	t.Cleanup(func() {
		c.Kill(unix.SIGKILL)
		c.Wait()
		if err := c.Release(); err != nil {
			t.Error(err)
		}
	})
	must(t, c.Start())
	return c
}

// TestSeccompListener: a program outside is asked about mkdir and answers for the container, in the first process and in
// exec; with the listener comes the description of the process.
func TestSeccompListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	agent, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	defer agent.Close()
	states := make(chan specs.ContainerProcessState, 2)
	failed := make(chan error, 1)
	go func() {
		for {
			conn, err := agent.AcceptUnix()
			if err != nil {
				return
			}
			state, listener, err := receiveListener(conn)
			if err != nil {
				failed <- err
				return
			}
			states <- state
			go answer(listener)
		}
	}()
	received := func() (s specs.ContainerProcessState) {
		t.Helper()
		select {
		case s = <-states:
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(time.Minute):
			t.Fatal("the agent was never called")
		}
		return s
	}
	c := startSpec(t, shell("mkdir /tmp/refused; echo $? > /tmp/first; sleep 1000"), func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "some words", Flags: []specs.LinuxSeccompFlag{},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}},
		}
	})
	s := received()
	if s.Pid != c.Pid() || s.Metadata != "some words" || len(s.Fds) != 1 || s.Fds[0] != "seccompFd" || s.State.ID != c.ID() || s.State.Status != specs.StateCreated {
		t.Errorf("first process: %+v", s)
	}
	file := fmt.Sprintf("/proc/%d/root/tmp/first", c.Pid())
	if got := eventually(t, func() string { text, _ := os.ReadFile(file); return string(text) }); got != "1\n" {
		t.Errorf("mkdir ended with %q", got)
	}
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "mkdir /tmp/refused; echo $?; ls /proc/self/fd | wc -l"}})
	must(t, err)
	if !strings.Contains(res.out, "Owner died\n1\n4\n") { // 0, 1, 2 and the directory itself
		t.Errorf("exec: %q", res.out)
	}
	if s := received(); s.Pid == c.Pid() || s.State.Status != specs.StateRunning {
		t.Errorf("exec: %+v", s)
	}
	if entries, _ := filepath.Glob(filepath.Join(c.State().Rootfs, "tmp", "refused")); len(entries) > 0 {
		t.Error("the call was made all the same")
	}
	agent.Close()
	if _, err := execIn(t, c, specs.Process{Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "linux.seccomp.listenerPath") {
		t.Errorf("without an agent: %v", err)
	}
}

func receiveListener(conn *net.UnixConn) (s specs.ContainerProcessState, listener int, err error) {
	defer conn.Close()
	data, oob := make([]byte, 1<<16), make([]byte, 100)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		return s, -1, err
	}
	files, err := parseRights(oob[:oobn])
	if err != nil || len(files) != 1 {
		return s, -1, fmt.Errorf("descriptors %v: %w", files, err)
	}
	return s, files[0], json.Unmarshal(data[:n], &s)
}

// answer refuses every call with an error of its own: seccomp_unotify(2).
func answer(listener int) {
	defer unix.Close(listener)
	const receive, send = 0xc0502100, 0xc0182101
	for {
		var request [80]byte
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), receive, uintptr(unsafe.Pointer(&request))); errno != 0 {
			if errno == unix.EINTR {
				continue
			}
			return
		}
		reply := struct {
			id    uint64
			value int64
			errno int32
			flags uint32
		}{id: *(*uint64)(unsafe.Pointer(&request)), errno: -int32(unix.EOWNERDEAD)}
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), send, uintptr(unsafe.Pointer(&reply)))
	}
}

// TestWrongFields: values that mean nothing are refused by the name of the field, before there is any effect.
func TestWrongFields(t *testing.T) {
	r, bundle := newRuntime(t), newBundle(t)
	for want, change := range map[string]func(*specs.Spec){
		"process.scheduler: unknown policy": func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_X"} },
		"process.scheduler: nice":           func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: 20} },
		"process.scheduler: priority":       func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Priority: 1} },
		"process.scheduler: flag": func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagUtilClampMin}}
		},
		"process.scheduler: policy SCHED_ISO": func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedISO} },
		"process.ioPriority.class":            func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: "X"} },
		"process.ioPriority.priority": func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}
		},
		"process.execCPUAffinity.final": func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "2-1"} },
		"linux.personality.domain":      func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "BSD"} },
		"linux.personality.flags": func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"X"}}
		},
		"linux.memoryPolicy: unknown mode": func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "X"} },
		"linux.memoryPolicy: nodes": func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "a"}
		},
		"linux.timeOffsets: needs": func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} },
		"linux.timeOffsets: unknown clock": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
		},
		"linux.seccomp.defaultAction": func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActNotify, ListenerPath: "/x"}
		},
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		change(spec)
		if _, err := runSpec(t, r, bundle, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if left := leftovers(t, r, fmt.Sprintf("test-%d-*", os.Getpid())); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestParseRanges(t *testing.T) {
	for text, want := range map[string][]byte{"": nil, "0": {1}, "0-2,7": {0x87}, "8, 10": {0, 5}, "64": {0, 0, 0, 0, 0, 0, 0, 0, 1}} {
		got, err := parseRanges(text)
		if err != nil || !slices.Equal(got[:min(len(got), len(want))], want) || len(got)%8 != 0 {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, bad := range []string{",", "1,", "a", "2-1", "-1", "99999", "1-", "0-99999999999"} {
		if got, err := parseRanges(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
