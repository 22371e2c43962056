package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// becomes waits until inspect says so.
func (c *ctr) becomes(format, want string) {
	c.t.Helper()
	eventually(c.t, func() string {
		if got := c.inspect(format); got != want {
			return fmt.Sprintf("%s of %s is %q, and not %q", format, c.name, got, want)
		}
		return ""
	})
}

// on-failure:3 is three more tries, each after a longer pause; then the last exit status stays.
func TestOnFailureCounts(t *testing.T) {
	cleanHost(t)
	c := start(t, "tries", "--restart", "on-failure:3", "busybox", "sh", "-c", "cut -d' ' -f1 /proc/uptime; exit 7")
	equal(t, "what wait says", must(t, "wait", c.name), "7")
	equal(t, "state", c.inspect("{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}"), "exited 7 3")
	var last float64
	for i, line := range strings.Fields(must(t, "logs", c.name)) {
		at, err := strconv.ParseFloat(line, 64)
		if err != nil {
			t.Fatal(err)
		}
		// uptime has two digits after the point, so a pause may seem shorter by one of them.
		if pause := at - last; i > 0 && pause < float64(int(1)<<(i-1))*0.1-0.011 {
			t.Errorf("the pause before try %d was %.2f s", i, pause)
		}
		last = at
		equal(t, "number of tries", i < 4, true)
	}
	equal(t, "tries", len(strings.Fields(must(t, "logs", c.name))), 4)
	done := start(t, "well", "--restart", "on-failure", "busybox", "true")
	must(t, "wait", done.name)
	equal(t, "one that ends well", done.inspect("{{.State.Status}} {{.RestartCount}}"), "exited 0")
}

// Whoever kills the process behind mydocker's back sees it come again, with its address and port; whoever tells mydocker does not.
func TestKilledProcessComesBack(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	c := web(t, "phoenix", "--restart", "always", "-net", "br0", "--ip", "10.88.0.7", "-p", "8080:80")
	for round := 1; round <= 2; round++ {
		before := c.pid()
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.becomes("{{.RestartCount}} {{.State.Status}}", fmt.Sprint(round, " running"))
		if c.pid() == before {
			t.Error("the process is the same")
		}
		c.listens(80)
		equal(t, "page", mustGet(t, "http://127.0.0.1:8080/"), "page of phoenix")
		equal(t, "address", c.ip(), "10.88.0.7")
	}
	must(t, "kill", c.name)
	time.Sleep(time.Second)
	equal(t, "after kill", c.inspect("{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
	must(t, "start", c.name)
	must(t, "stop", "-t", "0", c.name)
	time.Sleep(time.Second)
	equal(t, "after stop", c.inspect("{{.State.Status}}"), "exited")
}

// The policy of a running container is changed for its next end.
func TestUpdateRestartPolicy(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "policy")
	must(t, "update", "--restart", "unless-stopped", c.name)
	syscall.Kill(c.pid(), syscall.SIGKILL)
	c.becomes("{{.RestartCount}} {{.State.Status}}", "1 running")
	must(t, "update", "--restart", "no", c.name)
	syscall.Kill(c.pid(), syscall.SIGKILL)
	c.becomes("{{.State.Status}} {{.State.ExitCode}}", "exited 137")
	time.Sleep(500 * time.Millisecond)
	equal(t, "it stays down", c.inspect("{{.State.Status}} {{.RestartCount}}"), "exited 1")
	r := start(t, "removed", "--rm", "busybox", "sleep", "60")
	refused(t, 1, []string{"--rm"}, "update", "--restart", "always", r.name)
}

// A machine that goes down stops everybody, each in its own way, and nobody counts as stopped by the user.
func TestShutdownAndBoot(t *testing.T) {
	cleanHost(t)
	tidy := start(t, "tidy", "--restart", "unless-stopped", "busybox", "sh", "-c", "trap 'echo tidied; exit 0' TERM; echo up; sleep 3600 & wait")
	deaf := start(t, "deaf", "--restart", "always", "--stop-timeout", "0", "busybox", "sleep", "3600")
	plain := sleeper(t, "plain")
	halted := sleeper(t, "halted", "--restart", "unless-stopped")
	must(t, "stop", "-t", "0", halted.name)
	eventually(t, func() string {
		if must(t, "logs", tidy.name) != "up" {
			return "it is not up"
		}
		return ""
	})
	equal(t, "shutdown", sortedLines(must(t, "system", "shutdown")), "deaf\nplain\ntidy")
	equal(t, "who runs", must(t, "ps", "-q"), "")
	equal(t, "how it ended", tidy.inspect("{{.State.ExitCode}}")+" "+must(t, "logs", tidy.name), "0 up\ntidied")
	equal(t, "how the deaf one ended", deaf.inspect("{{.State.ExitCode}}"), "137")
	equal(t, "boot", sortedLines(must(t, "system", "boot")), "deaf\ntidy")
	equal(t, "who is down", plain.inspect("{{.State.Status}}")+halted.inspect("{{.State.Status}}"), "exitedexited")
	equal(t, "a second boot", must(t, "system", "boot"), "")
	tidy.hears(syscall.SIGTERM)
	// An init that ends the session in which a container was started ends the monitor too: then the container ends as well as it can.
	monitor := sh(t, fmt.Sprintf("ps -o ppid= -p %d", tidy.pid()))
	sh(t, "kill "+monitor)
	tidy.becomes("{{.State.Status}} {{.State.ExitCode}}", "exited 0")
	equal(t, "what it said", must(t, "logs", "-n", "1", tidy.name), "tidied")
	eventually(t, func() string { // once the old monitor has put its things away
		if out := must(t, "system", "boot"); out != "tidy" {
			return "boot brings back " + out
		}
		return ""
	})
	must(t, "rm", "-f", tidy.name, deaf.name)
}

// What cannot be started stands as it was before: created, or ended when it ended, with the reason and an exit status that says of what
// kind it is.
func TestFailedStart(t *testing.T) {
	cleanHost(t)
	const all = "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}} {{.RestartCount}} {{.State.Error}}"
	const never = " 0001-01-01T00:00:00Z 0001-01-01T00:00:00Z 0 "
	for name, c := range map[string]struct{ command, state, why string }{
		"nonsense":   {"nonsense", "created 127", "not found"},
		"not-to-run": {"/etc/passwd", "created 126", "permission denied"},
	} {
		must(t, "create", "--name", name, "--restart", "always", "busybox", c.command)
		t.Cleanup(func() { must(t, "rm", name) })
		for _, verb := range []string{"start", "restart", "start -a"} {
			r := my(t, append(strings.Fields(verb), name)...)
			equal(t, "exit status of "+verb, r.code, 1)
			match(t, verb+" says", r.err, c.why)
			match(t, "state of "+name+" after "+verb, must(t, "inspect", "-f", all, name), "^"+c.state+never+".*"+c.why)
		}
		equal(t, "ps", must(t, "ps", "-a", "-f", "status=created", "-f", "name="+name, "--format", "{{.State}} {{.Status}}"), "created Created")
		equal(t, "wait", must(t, "wait", name), strings.Fields(c.state)[1])
	}

	holder := sleeper(t, "holder", "-p", "8080:80")
	must(t, "create", "--name", "late", "-p", "8080:80", "busybox", "true")
	t.Cleanup(func() { must(t, "rm", "late") })
	equal(t, "start with a port that is taken", my(t, "start", "late").code, 1)
	match(t, "its state", must(t, "inspect", "-f", all, "late"), "^created 128"+never+".*port is already allocated")
	must(t, "stop", holder.name)
	must(t, "start", "late")
	equal(t, "wait", must(t, "wait", "late"), "0")
	match(t, "after a good start", must(t, "inspect", "-f", all, "late"), "^exited 0 20.* 0 $")
	times := must(t, "inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "late")
	must(t, "start", holder.name)
	equal(t, "start with a port that is taken again", my(t, "start", "-a", "late").code, 1)
	match(t, "its state", must(t, "inspect", "-f", all, "late"), "^exited 128 "+times+" 0 .*port is already allocated")
	match(t, "ps", must(t, "ps", "-a", "-f", "name=late", "--format", "{{.Status}}"), `^Exited \(128\) .* ago$`)
}
