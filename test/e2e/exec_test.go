package e2e

import (
	"fmt"
	"strings"
	"testing"
)

func TestExec(t *testing.T) {
	cleanHost(t)
	c := start(t, "exec", "-e", "FROM=container", "-w", "/tmp", "busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait")
	equal(t, "environment and working directory", c.sh("echo $FROM; pwd"), "container\n/tmp")
	equal(t, "-e", must(t, "exec", "-e", "A=1,2", c.name, "sh", "-c", "echo $A"), "1,2")
	equal(t, "-w", must(t, "exec", "-w", "/etc", c.name, "pwd"), "/etc")
	equal(t, "-u", must(t, "exec", "-u", "7:8", c.name, "sh", "-c", "echo $(id -u):$(id -g)"), "7:8")
	r := my(t, "exec", c.name, "sh", "-c", "echo out; echo err >&2; exit 9")
	equal(t, "exec's streams and status", fmt.Sprint(r), fmt.Sprint(result{"out\n", "err\n", 9}))
	r = myWith(t, strings.NewReader("typed\n"), nil, "exec", "-i", c.name, "cat")
	equal(t, "-i", r.out, "typed\n")
	equal(t, "no such command", my(t, "exec", c.name, "nothing-here").code, 127)
	equal(t, "not executable", my(t, "exec", c.name, "/etc/passwd").code, 126)
	equal(t, "an unknown user", my(t, "exec", "-u", "nouser", c.name, "true").code, 126)
	equal(t, "a relative directory", my(t, "exec", "-w", "relative", c.name, "true").code, 126)
	equal(t, "what -d cannot start", my(t, "exec", "-d", c.name, "nonsense").code, 1) // as with Docker: there is no command whose status it could be
	equal(t, "killed", my(t, "exec", c.name, "sh", "-c", "kill -9 $$").code, 137)
	equal(t, "arguments keep their borders", c.exec("printf", "[%s]", "a b", "", "*"), "[a b][][*]")

	equal(t, "-d prints nothing", must(t, "exec", "-d", c.name, "sh", "-c", "echo done > /tmp/flag"), "")
	eventually(t, func() string { return my(t, "exec", c.name, "cat", "/tmp/flag").err })
	// It is the container's in every respect: namespaces, root, cgroup, capabilities.
	for _, kind := range []string{"ipc", "mnt", "net", "pid", "uts", "cgroup"} {
		equal(t, kind+" namespace", c.exec("readlink", "/proc/self/ns/"+kind), c.exec("readlink", "/proc/1/ns/"+kind))
	}
	equal(t, "cgroup", c.sh("diff /proc/self/cgroup /proc/1/cgroup && echo same"), "same")
	equal(t, "capabilities", c.sh("grep CapEff /proc/self/status"), c.sh("grep CapEff /proc/1/status"))
	must(t, "stop", c.name)
	refused(t, 1, []string{"exec", "not running"}, "exec", c.name, "true")
}

// attach shows what comes from now on and ends with the container; stdin reaches it.
func TestAttach(t *testing.T) {
	cleanHost(t)
	c := start(t, "attach", "-i", "busybox", "sh", "-c", "read line; echo got $line; exit 5")
	r := myWith(t, strings.NewReader("hello\n"), nil, "attach", c.name)
	equal(t, "output", r.out, "got hello\n")
	equal(t, "exit status", r.code, 5)
	equal(t, "it is in the log too", must(t, "logs", c.name), "got hello")
}
