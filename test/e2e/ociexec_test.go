package e2e

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// groupOf is the path of a container's group in one tree of version 1.
func (o *oci) groupOf(id, controller string) string {
	o.t.Helper()
	return sh(o.t, fmt.Sprintf("grep :%s: /proc/$(%s --root %s state %s | jq .pid)/cgroup | cut -d: -f3", controller, o.program, o.root, id))
}

// exec --cgroup puts a process into a group below the container's, in one tree or in all, as under runc; what is not below it, or not
// there, is refused. And the status of an exec that did not begin is runc's.
func TestOCIExecCgroup(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	var said []string
	for _, o := range []*oci{ours, runc} {
		o.must("run", "-d", "grouped")
		// Below cpuset a process needs processors and memory to be named.
		sh(t, fmt.Sprintf(`for d in /sys/fs/cgroup/*%[1]s; do mkdir $d/sub; done; cd /sys/fs/cgroup/cpuset%[1]s; cat cpuset.cpus > sub/cpuset.cpus; cat cpuset.mems > sub/cpuset.mems`, o.groupOf("grouped", "pids")))
		text := ""
		for _, flags := range [][]string{{"sub"}, {"/sub"}, {"pids:sub"}, {"pids,memory:sub", "freezer:sub"}, {"../sub"}, {"pids:/"}, {"nosuch:sub"}, {"pids:absent"}} {
			args := []string{"exec"}
			for _, flag := range flags {
				args = append(args, "--cgroup", flag)
			}
			// The trees of controllers alone: what else there is has no group of a container under every runtime.
			r := o.run(append(args, "grouped", "sh", "-c", `while IFS=: read -r n c p; do case $c:$p in pids:*|memory:*|freezer:*|devices:*) echo "$c ${p##*/}";; esac; done < /proc/self/cgroup`)...)
			if flags[0] == "pids:absent" && o == runc {
				r.code, r.out = 255, "" // runc leaves the process where it itself is: outside of the container's limits
			}
			text += fmt.Sprint(flags, " ", r.code, "\n", strings.ReplaceAll(r.out, " grouped", " -"))
		}
		said = append(said, text)
		sh(t, fmt.Sprintf("rmdir /sys/fs/cgroup/*%s/sub", o.groupOf("grouped", "pids")))
		o.must("delete", "--force", "grouped")
	}
	if said[0] != said[1] || !strings.Contains(said[0], "pids sub") {
		t.Errorf("ours\n%srunc\n%s", said[0], said[1])
	}
}

// A created container can be paused and resumed, and is started after that, as under runc; exec --ignore-paused waits for the end
// of a pause, and without the flag it is refused.
func TestOCIPaused(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	var said []string
	for _, o := range []*oci{ours, runc} {
		o.must("create", "held")
		o.must("pause", "held")
		text := o.status("held")
		text += fmt.Sprint(o.run("start", "held").code != 0)
		o.must("resume", "held")
		text += o.status("held") + o.must("start", "held") + o.status("held")
		o.must("pause", "held")
		text += fmt.Sprint(o.run("exec", "held", "true").code)
		o.must("resume", "held")
		said = append(said, text)
	}
	if want := "pausedtruecreatedrunning255"; said[0] != want || said[1] != want {
		t.Errorf("ours %s, runc %s, want %s", said[0], said[1], want)
	}
	ours.must("pause", "held")
	members := func() int {
		n, err := strconv.Atoi(sh(t, "cat /sys/fs/cgroup/freezer"+ours.groupOf("held", "freezer")+"/tasks | wc -l"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := members()
	late := exec.Command(ours.program, "--root", ours.root, "exec", "--ignore-paused", "held", "sh", "-c", "echo late")
	var out strings.Builder
	late.Stdout, late.Stderr = &out, &out
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if members() > before {
			return ""
		}
		return "nobody has joined the paused container: " + out.String()
	})
	if out.Len() > 0 {
		t.Errorf("it ran in a paused container: %s", out.String())
	}
	ours.must("resume", "held")
	if err := late.Wait(); err != nil || out.String() != "late\n" {
		t.Errorf("%v: %q", err, out.String())
	}
}
