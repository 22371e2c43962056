package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ps as Docker shows it.
func TestPs(t *testing.T) {
	cleanHost(t)
	up := sleeper(t, "ps-up", "-p", "8080:80")
	ended := start(t, "ps-ended", "busybox", "sh", "-c", "exit 3")
	must(t, "wait", ended.name)
	created := must(t, "create", "--name", "ps-created", "busybox", "true")
	t.Cleanup(func() { must(t, "rm", "ps-created") })

	running := must(t, "ps")
	match(t, "heading", running, `^CONTAINER ID\s+IMAGE\s+COMMAND\s+CREATED\s+STATUS\s+PORTS\s+NAMES\n`)
	match(t, "the running one", running, `(?m)^`+up.id[:12]+`\s+busybox\s+"sh -c 'trap 'exit 0…"\s+\S.* ago\s+Up .*second.*0\.0\.0\.0:8080->80/tcp.*\s+ps-up$`)
	if strings.Contains(running, "ps-ended") || strings.Contains(running, "ps-created") {
		t.Errorf("ps shows what does not run:\n%s", running)
	}
	all := must(t, "ps", "-a")
	match(t, "the ended one", all, `(?m)^`+ended.id[:12]+`.*\sExited \(3\) .* ago\s+ps-ended$`)
	match(t, "the created one", all, `(?m)^`+created[:12]+`.*\sCreated\s+ps-created$`)
	equal(t, "ps -q", must(t, "ps", "-q"), up.id[:12])
	equal(t, "ps -aq --no-trunc", len(strings.Fields(must(t, "ps", "-aq", "--no-trunc"))), 3)
	equal(t, "ps -n 1", must(t, "ps", "-n", "1", "--format", "{{.Names}}"), "ps-created")
	equal(t, "ps -l", must(t, "ps", "-l", "--format", "{{.Names}}"), "ps-created")
	equal(t, "ps --filter status", must(t, "ps", "-a", "--filter", "status=exited", "--format", "{{.Names}} {{.State}}"), "ps-ended exited")
	equal(t, "ps --filter exited", must(t, "ps", "-a", "--filter", "exited=3", "--format", "{{.Names}}"), "ps-ended")
	equal(t, "ps --filter name", must(t, "ps", "-a", "--filter", "name=ps-c", "--format", "{{.ID}}"), created[:12])
	match(t, "ps --format json", must(t, "ps", "--format", "json"), `"Names":"ps-up"`)
	match(t, "ps --format table", must(t, "ps", "--format", "table {{.Names}}\t{{.Image}}"), `^NAMES\s+IMAGE\nps-up\s+busybox$`)
}

// A container whose process has died is never shown as running, whatever killed it.
func TestDeadIsNotRunning(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "killed")
	if err := syscall.Kill(c.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if state := c.inspect("{{.State.Status}} {{.State.Running}} {{.State.ExitCode}}"); state != "exited false 137" {
			return state
		}
		return ""
	})
	equal(t, "ps", must(t, "ps", "-q"), "")

	// The monitor dies too: nobody is there to write anything down.
	c = sleeper(t, "orphan")
	pid := c.pid()
	monitor := parentOf(t, pid)
	syscall.Kill(monitor, syscall.SIGKILL)
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, func() string {
		if state := c.inspect("{{.State.Status}} {{.State.Running}}"); state != "exited false" {
			return state
		}
		return ""
	})
	equal(t, "ps after both were killed", must(t, "ps", "-q"), "")
	must(t, "start", c.name) // and it can be started again
	equal(t, "state", c.inspect("{{.State.Status}}"), "running")
}

// parentOf is a process's parent.
func parentOf(t testing.TB, pid int) int {
	t.Helper()
	for _, p := range processes(t) {
		if p.pid == pid {
			return p.parent
		}
	}
	t.Fatalf("no process %d", pid)
	return 0
}

// stop is TERM, then KILL; the stop signal and the time are the container's.
func TestStop(t *testing.T) {
	cleanHost(t)
	polite := sleeper(t, "polite")
	equal(t, "stop prints the name", must(t, "stop", polite.name), "polite")
	equal(t, "state of one that ends on TERM", polite.inspect("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}"), "exited 0 false")
	equal(t, "stop of a stopped one", must(t, "stop", polite.name), "polite")

	deaf := start(t, "deaf", "busybox", "sleep", "3600") // process 1 without a handler ignores TERM
	began := time.Now()
	must(t, "stop", "-t", "1", deaf.name)
	if took := time.Since(began); took < time.Second {
		t.Errorf("stop -t 1 gave it %v", took)
	}
	equal(t, "state of one that ignores TERM", deaf.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 137")

	own := start(t, "own-signal", "--stop-signal", "USR1", "busybox", "sh", "-c", "trap 'exit 21' USR1; sleep 3600 & wait")
	own.hears(syscall.SIGUSR1)
	must(t, "stop", own.name)
	equal(t, "stop signal of its own", own.inspect("{{.State.ExitCode}}"), "21")
}

func TestKill(t *testing.T) {
	cleanHost(t)
	c := start(t, "kill", "busybox", "sh", "-c", "trap 'echo hup' HUP; trap 'exit 9' USR1; while :; do sleep 0.05; done")
	c.hears(syscall.SIGHUP)
	must(t, "kill", "-s", "HUP", c.name)
	eventually(t, func() string {
		if log := must(t, "logs", c.name); log != "hup" {
			return "log: " + log
		}
		return ""
	})
	equal(t, "it goes on", c.inspect("{{.State.Running}}"), "true")
	c.hears(syscall.SIGUSR1)
	must(t, "kill", "--signal", "SIGUSR1", c.name)
	equal(t, "exit status", must(t, "wait", c.name), "9")
	refused(t, 1, []string{"kill", "not running"}, "kill", c.name)
	refused(t, 1, []string{"NOSUCH"}, "kill", "-s", "NOSUCH", c.name)

	d := start(t, "kill-hard", "busybox", "sleep", "3600")
	must(t, "kill", d.name)
	equal(t, "exit status after kill", must(t, "wait", d.name), "137")
}

func TestStartRestartWait(t *testing.T) {
	cleanHost(t)
	id := must(t, "create", "--name", "again", "-i", "busybox", "sh", "-c", "echo run >> /runs; wc -l < /runs; exit 4")
	t.Cleanup(func() { must(t, "rm", "-f", "again") })
	match(t, "create prints", id, "^[0-9a-f]{64}$")
	equal(t, "start prints", must(t, "start", "again"), "again")
	equal(t, "wait prints", must(t, "wait", "again"), "4")
	r := my(t, "start", "-a", "again")
	equal(t, "start -a: output", r.out, "2\n")
	equal(t, "start -a: status", r.code, 4)

	c := sleeper(t, "restart")
	pid := c.pid()
	must(t, "restart", c.name)
	if c.pid() == pid {
		t.Error("restart left the process as it was")
	}
	equal(t, "start of a running one", must(t, "start", c.name), "restart")

	// Several waiters, told at the moment of the end.
	waiting := make(chan string, 3)
	for range 3 {
		go func() { waiting <- strings.TrimSpace(my(t, "wait", c.name).out) }()
	}
	time.Sleep(50 * time.Millisecond)
	must(t, "stop", c.name)
	for range 3 {
		equal(t, "waiter", <-waiting, "0")
	}
}

func TestRemove(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "remove")
	refused(t, 1, []string{"remove", "running", "-f"}, "rm", c.name)
	must(t, "stop", c.name)
	equal(t, "rm prints", must(t, "rm", c.name), "remove")
	refused(t, 1, []string{"remove"}, "inspect", c.name)
	refused(t, 1, []string{"remove"}, "rm", c.name)
	sleeper(t, "remove") // the name is free again
	must(t, "rm", "-f", "remove")

	must(t, "create", "--name", "with-volume", "-v", "/data", "busybox", "true")
	volumes := must(t, "volume", "ls", "-q")
	match(t, "an anonymous volume", volumes, "^[0-9a-f]{64}$")
	must(t, "rm", "-v", "with-volume")
	equal(t, "volumes after rm -v", must(t, "volume", "ls", "-q"), "")
}

// --rm removes a container in the foreground and in the background, and whatever ended it.
func TestRunRemove(t *testing.T) {
	cleanHost(t)
	see(t, "--name", "gone", "busybox", "true")
	my(t, "run", "--rm", "--name", "gone", "busybox", "false")
	my(t, "run", "--rm", "--name", "gone", "busybox", "no-such-command")
	c := start(t, "gone", "--rm", "busybox", "sleep", "3600")
	must(t, "stop", "-t", "0", c.name)
	eventually(t, func() string { return must(t, "ps", "-aq") })
	c = start(t, "gone", "--rm", "busybox", "sleep", "3600")
	must(t, "kill", c.name)
	eventually(t, func() string { return must(t, "ps", "-aq") })
}

// inspect has Docker's keys.
func TestInspect(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "inspect", "--hostname", "box", "--pids-limit", "50", "-m", "64m", "-e", "A=1", "--label", "l=v", "-p", "8080:80", "-v", "/tmp:/host:ro", "--restart", "on-failure:3")
	for format, want := range map[string]string{
		"{{.Id}}":                                         c.id,
		"{{.Name}}":                                       "/inspect",
		"{{.Config.Hostname}}":                            "box",
		"{{.Config.Image}}":                               "busybox",
		"{{.Path}}":                                       "sh",
		"{{index .Args 0}}":                               "-c",
		"{{index .Config.Labels \"l\"}}":                  "v",
		"{{.State.Status}}":                               "running",
		"{{.State.Running}}":                              "true",
		"{{.State.Paused}}":                               "false",
		"{{.State.OOMKilled}}":                            "false",
		"{{.State.ExitCode}}":                             "0",
		"{{.HostConfig.PidsLimit}}":                       "50",
		"{{.HostConfig.Memory}}":                          "67108864",
		"{{.HostConfig.PidMode}}":                         "",
		"{{.HostConfig.RestartPolicy.Name}}":              "on-failure",
		"{{.HostConfig.RestartPolicy.MaximumRetryCount}}": "3",
		"{{.NetworkSettings.IPAddress}}":                  links(t, "inspect")["eth0"].Addresses[0].Local,
		"{{.NetworkSettings.MacAddress}}":                 links(t, "inspect")["eth0"].MAC,
		"{{.NetworkSettings.Gateway}}":                    links(t, "")["mydocker0"].Addresses[0].Local,
		"{{.NetworkSettings.IPPrefixLen}}":                "16",
		"{{.NetworkSettings.SandboxKey}}":                 "/run/netns/inspect",
		"{{(index .Mounts 0).Destination}}":               "/host",
		"{{(index .Mounts 0).RW}}":                        "false",
		"{{.RestartCount}}":                               "0",
		"{{json .Config.Env}}":                            `["A=1","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]`,
	} {
		got := c.inspect(format)
		if strings.HasPrefix(format, "{{json .Config.Env") {
			got = "[" + strings.ReplaceAll(sortedLines(strings.ReplaceAll(strings.Trim(got, "[]"), ",", "\n")), "\n", ",") + "]"
		}
		equal(t, format, got, want)
	}
	pid := c.inspect("{{.State.Pid}}")
	match(t, "the process", read(t, "/proc/"+pid+"/cmdline"), `^sh\x00-c\x00`)
	raw := must(t, "inspect", c.name)
	for _, key := range []string{"Pid", "PidMode", "PidsLimit", "IPAddress", "SecondaryIPAddresses", "StartedAt", "FinishedAt", "LogPath", "Driver"} {
		if !strings.Contains(raw, `"`+key+`":`) {
			t.Errorf("inspect has no key %q", key)
		}
	}
	objects := fromJSON[[]map[string]any](t, raw)
	equal(t, "objects", len(objects), 1)
	equal(t, "two at once", len(fromJSON[[]any](t, must(t, "inspect", c.name, "busybox"))), 2)
	refused(t, 1, []string{"nobody"}, "inspect", "nobody")
	if r := my(t, "inspect", "-f", "{{.NoSuchKey}}", c.name); r.code == 0 {
		t.Errorf("inspect -f of an unknown key: %q", r.out)
	}
}

func TestPauseAndTop(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "pause")
	must(t, "pause", c.name)
	equal(t, "state", c.inspect("{{.State.Status}} {{.State.Paused}}"), "paused true")
	match(t, "ps", must(t, "ps"), `Up .* \(Paused\)`)
	must(t, "unpause", c.name)
	equal(t, "state", c.inspect("{{.State.Status}}"), "running")
	match(t, "top", must(t, "top", c.name), `(?s)PID.*CMD\n.*sh -c`)
	must(t, "pause", c.name)
	must(t, "rm", "-f", c.name)
}

// A foreground run hands signals on and ends with the container's status.
func TestSignalsAreRelayed(t *testing.T) {
	cleanHost(t)
	for _, c := range []struct {
		signal syscall.Signal
		name   string
	}{{syscall.SIGTERM, "TERM"}, {syscall.SIGINT, "INT"}, {syscall.SIGHUP, "HUP"}, {syscall.SIGUSR1, "USR1"}} {
		t.Run(c.name, func(t *testing.T) {
			cmd, next := speaking(t, "run", "--rm", "busybox", "sh", "-c", "trap 'echo got it; exit 33' "+c.name+"; echo ready; while :; do sleep 0.02; done")
			equal(t, "before the signal", next(), "ready\n")
			cmd.Process.Signal(c.signal)
			equal(t, "after the signal", next(), "got it\n")
			cmd.Wait()
			equal(t, "exit status", cmd.ProcessState.ExitCode(), 33)
		})
	}
}

// A foreground client that is killed leaves its container as it was, to be looked after by the monitor that the next command gives it.
func TestForegroundClientKilled(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "kill1", "--subnet", "10.87.1.0/24")
	t.Cleanup(func() { my(t, "rm", "-f", "left-alone") })
	program := "echo ready; while [ ! -e /go ]; do sleep 0.05; done; echo on; while [ ! -e /end ]; do sleep 0.05; done; exit 7"
	killedClient(t, "--net", "kill1", "-p", "8097:80", "--health-cmd", "test -e /go", "--health-interval", "100ms", "busybox", "sh", "-c", program)
	match(t, "ps", must(t, "ps"), `(?m)Up .*left-alone$`)
	c := &ctr{t, "left-alone", must(t, "inspect", "-f", "{{.Id}}", "left-alone")}
	c.exec("touch", "/go")
	c.becomes("{{.State.Health.Status}}", "healthy")
	follow, next := speaking(t, "logs", "-f", c.name)
	said := ""
	for !t.Failed() && len(said) < len("ready\non\n") {
		said += next()
	}
	equal(t, "the log", said, "ready\non\n")
	match(t, "its name", c.exec("nslookup", c.name), regexp.QuoteMeta(c.ip()))
	c.exec("touch", "/end")
	want := "7"
	if !tellsExits() {
		want = "255"
	}
	equal(t, "wait", must(t, "wait", c.name), want)
	follow.Wait()
	equal(t, "state", c.inspect("{{.State.Status}} {{.State.ExitCode}} [{{.State.Error}}]"), "exited "+want+" []")
	must(t, "rm", c.name)

	killedClient(t, "--rm", "busybox", "sh", "-c", program)
	must(t, "gc")
	match(t, "ps after gc", must(t, "ps"), `(?m)Up .*left-alone$`)
	must(t, "stop", "-t", "0", c.name)
	equal(t, "ps -a after stop of run --rm", must(t, "ps", "-aq"), "")

	killedClient(t, "--rm", "busybox", "sh", "-c", program)
	must(t, "rm", "-f", c.name)
	must(t, "gc")
	settle(t)
	orderly(t)
}

// tellsExits says whether the kernel tells others than the parent how a process ended: Linux 6.15.
func tellsExits() bool {
	var uts unix.Utsname
	var major, minor int
	unix.Uname(&uts)
	fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 15
}

// killedClient runs a container called left-alone, and kills its client when the container has said something.
func killedClient(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"run", "--name", "left-alone"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	defer timer.Stop()
	out.Read(make([]byte, 10))
	cmd.Process.Kill()
	cmd.Wait()
}

// The help of every command is there and names its flags.
func TestHelp(t *testing.T) {
	top := must(t, "--help")
	for _, verb := range []string{"run", "ps", "logs", "exec", "attach", "stop", "kill", "start", "restart", "wait", "rm", "inspect", "rename", "port", "gc", "network", "image", "images", "load", "import", "tag", "rmi"} {
		if !regexp.MustCompile(`(?m)^\s+` + verb + `\b`).MatchString(top) {
			t.Errorf("--help does not list %s", verb)
		}
		match(t, verb+" --help", must(t, verb, "--help"), "(?m)^Usage:  mydocker "+verb)
	}
	match(t, "version", must(t, "version"), `^Client: mydocker\n Version:           \S+\n Go version:        go\S+\n(?: Git commit: .*\n Built: .*\n)? OS/Arch:           linux/\w+\n`+
		` Context:           default\n\nServer: mydocker\n Engine:\n  Version:          \S+\n(?:  .*\n)+  Experimental:     false$`)
}
