package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container/seccomp"
)

// TestAttackExecPtrace (CVE-2016-9962): a process of the container that may look into all others waits for those that exec brings,
// and looks at each before it has become the command. It must find none with more powers than its own, none with a descriptor
// or a root of the host's, none whose program is ours.
func TestAttackExecPtrace(t *testing.T) {
	if marker := os.Getenv("LOOK_FOR"); marker != "" { // in the container
		spy(marker)
		return
	}
	marker := filepath.Join(t.TempDir(), "host-only")
	must(t, os.WriteFile(marker, nil, 0o600))
	r := newRuntime(t)
	priority := &specs.Scheduler{Policy: specs.SchedBatch, Nice: -5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	newcomer := func(name string) specs.Process { // those that must not be born before they have given up their powers, either
		switch name {
		case "with a limit of processes":
			return specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 5000, Hard: 6000}}}
		case "with a scheduler":
			return specs.Process{Scheduler: priority}
		}
		return specs.Process{}
	}
	for name, change := range map[string]func(*SpecOptions){
		"with a limit of processes":  func(*SpecOptions) {},
		"with a scheduler":           func(*SpecOptions) {},
		"with the default filter":    func(*SpecOptions) {},
		"without a filter":           func(o *SpecOptions) { o.Seccomp = Unconfined() },
		"with no_new_privs":          func(o *SpecOptions) { o.NoNewPrivileges = true },
		"as somebody else than root": func(o *SpecOptions) { o.User = specs.User{UID: 1000, GID: 1000} },
	} {
		t.Run(name, func(t *testing.T) {
			o := shell("sleep 1000")
			o.CapAdd = []string{"SYS_PTRACE"}
			o.Mounts = []specs.Mount{{Destination: "/self", Type: "bind", Source: r.Executable, Options: []string{"bind", "ro"}}}
			change(&o)
			user := o.User
			o.User = specs.User{}
			c := start(t, o)
			done := make(chan string, 1)
			go func() {
				res, err := execIn(t, c, specs.Process{Args: []string{"/self", "-test.run", "^TestAttackExecPtrace$"}, Env: []string{"LOOK_FOR=" + marker, "GOMAXPROCS=1"}})
				done <- fmt.Sprint(res.out, err)
			}()
			eventually(t, func() string {
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/root/tmp/ready", c.Pid()))
				return string(text)
			})
			looked := func() bool {
				_, err := os.Stat(fmt.Sprintf("/proc/%d/root/tmp/looked", c.Pid()))
				return err == nil
			}
			for i := 0; i < 40 || i < 2000 && !looked(); i++ { // on a busy machine the spy may be asleep each time
				p := newcomer(name)
				p.Args, p.User = []string{"true"}, user
				if _, err := execIn(t, c, p); err != nil {
					t.Fatal(err)
				}
			}
			must(t, os.WriteFile(fmt.Sprintf("/proc/%d/root/tmp/stop", c.Pid()), nil, 0o600))
			found := <-done
			if strings.Contains(found, "BAD") || !strings.Contains(found, "looked at") || strings.Contains(found, "looked at 0") {
				t.Error(found)
			}
			t.Log(strings.TrimSpace(found))
		})
	}
}

// spy looks at every process that comes until it is told to stop.
func spy(marker string) {
	own := powers(os.Getpid())
	seen, told := map[int]bool{}, map[string]bool{}
	say := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !told[text] {
			told[text] = true
			fmt.Println("BAD:", text)
		}
	}
	if err := os.WriteFile("/tmp/ready", []byte("x"), 0o600); err != nil {
		say("%v", err)
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
		if _, err := os.Stat("/tmp/stop"); err == nil {
			break
		}
		dir, _ := os.Open("/proc")
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == 1 || pid == os.Getpid() {
				continue
			}
			look(pid, own, marker, say)
			if len(seen) == 0 {
				_ = os.WriteFile("/tmp/looked", nil, 0o600) // else the test waits for it in vain, and says so
			}
			seen[pid] = true
		}
	}
	fmt.Println("looked at", len(seen))
}

func look(pid int, own uint64, marker string, say func(string, ...any)) {
	if more := powers(pid) &^ own; more != 0 {
		say("a process with the capabilities %#x", more)
	}
	proc := fmt.Sprintf("/proc/%d/", pid)
	if _, err := os.Lstat(proc + "root" + marker); err == nil {
		say("a process with the host's root")
	}
	if _, err := os.Lstat(proc + "cwd" + strings.Repeat("/..", 20) + marker); err == nil {
		say("a process that stands in the host's root")
	}
	if exe, err := os.Readlink(proc + "exe"); err == nil && !strings.HasPrefix(exe, "/memfd:mydocker") && !strings.HasPrefix(exe, "/bin/") {
		say("a process whose program is %s", exe)
	}
	files, _ := filepath.Glob(proc + "fd/*")
	for _, file := range files {
		if n, _ := strconv.Atoi(filepath.Base(file)); n > 2 {
			target, err := os.Readlink(file)
			if err == nil && !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "/dev/") {
				say("a descriptor of %s", target)
			}
		}
	}
}

// powers are the permitted capabilities of a process; none when it is gone.
func powers(pid int) (set uint64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "\nCapPrm:\t")
	fmt.Sscanf(rest, "%x", &set)
	return set
}

// TestBornLate: what is done before the birth and after it comes to what was asked for. Early are only those that cannot be late.
func TestBornLate(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	res, err := execIn(t, c, specs.Process{
		Args:      []string{"sh", "-c", "ulimit -u; ulimit -H -u; while read -r line; do set -- $line; echo ${41}; done < /proc/$$/stat; cat /proc/self/stat; true"},
		Rlimits:   []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 50, Hard: 60}},
		Scheduler: &specs.Scheduler{Policy: specs.SchedBatch, Nice: -5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
	})
	must(t, err)
	fields := strings.Fields(res.out[strings.LastIndexByte(res.out, ')'):])
	// The 19th field of stat: the shell has nice -5, and what is raised its child does not inherit.
	if !strings.HasPrefix(res.out, "50\n60\n3\n") || fields[17] != "0" {
		t.Errorf("%s: nice %s", res.out, fields[17])
	}
	filter := func(action specs.LinuxSeccompAction, names ...string) *seccomp.Filter {
		profile := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: names, Action: action}}}
		if action == specs.ActNotify {
			profile.ListenerPath = "/x"
		}
		f, err := seccomp.Compile(profile)
		must(t, err)
		return f
	}
	for name, one := range map[string]struct {
		p      specs.Process
		filter *seccomp.Filter
		early  bool
	}{
		"plain":                  {specs.Process{}, nil, false},
		"NPROC":                  {specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 1, Hard: 1}}}, nil, false},
		"FIFO":                   {specs.Process{Scheduler: &specs.Scheduler{Policy: specs.SchedFIFO, Priority: 1}}, nil, false},
		"DEADLINE":               {specs.Process{Scheduler: &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1, Deadline: 2, Period: 2}}, nil, true},
		"a listener for mkdir":   {specs.Process{}, filter(specs.ActNotify, "mkdir", "mkdirat"), false},
		"a listener for setuid":  {specs.Process{}, filter(specs.ActNotify, "setresuid"), true},
		"no clone":               {specs.Process{}, filter(specs.ActErrno, "clone"), true},
		"NPROC, and no prlimit":  {specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 1, Hard: 1}}}, filter(specs.ActErrno, "prlimit64"), true},
		"a listener and a limit": {specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 1, Hard: 1}}}, filter(specs.ActNotify, "mkdir"), false},
	} {
		one.p.Capabilities = &specs.LinuxCapabilities{}
		last, err := privilegeSteps(&one.p, nil, one.filter != nil, func(error) {})
		must(t, err)
		list := withFork(last, one.filter, false, 100)
		fork := slices.IndexFunc(list, func(s step) bool { return s.Kind == stepFork })
		given := slices.IndexFunc(list, func(s step) bool { return s.Kind == stepCapabilities })
		if early := fork < given; early != one.early {
			t.Errorf("%s: born early: %v", name, early)
		}
	}
}
