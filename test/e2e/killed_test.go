package e2e

import (
	endian "encoding/binary" // binary is the program under test
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// interrupted are commands that are killed, with what has to be there for them: ; parts its commands. See filledIn for @, SUBNET and DIR.
var interrupted = []struct{ before, command string }{
	{"", "create --name @ --net kill1 -v @:/data busybox sleep 3600"},
	{stopped, "start @"},
	{stopped, "rm @"},
	{stopped, "rename @ @-new"},
	{stopped, "network connect kill2 @"},
	{runs, "stop -t 0 @"},
	{runs, "restart -t 0 @"},
	{runs, "kill @"},
	{runs, "pause @"},
	{runs, "rm -f @"},
	{runs, "rename @ @-new"},
	{runs, "update --pids-limit 100 @"},
	{runs, "exec @ true"},
	{runs, "cp DIR/tree @:/tree"},
	{runs, "commit @ @:1"},
	{runs, "export -o DIR/@.tar @"},
	{runs, "network connect kill2 @"},
	{runs, "network disconnect kill1 @"},
	{"", "network create --subnet SUBNET @"},
	{"network create --subnet SUBNET @", "network rm @"},
	{"", "volume create @"},
	{"volume create @", "volume rm @"},
	{"", "load -q -i DIR/archive"},
	{"", "import DIR/tree.tar @:1"},
	{"import DIR/tree.tar @:1", "rmi @:1"},
	{runs, "network sync"},
	{stopped, "container prune -f"},
}

const (
	stopped = "create --name @ --net kill1 -v @:/data busybox sleep 3600"
	runs    = "run -d --name @ --net kill1 busybox sleep 3600"
)

// Each command is killed at random moments; after gc what it was done to works, and nothing else is left of it.
func TestKilledCommands(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "kill1", "--subnet", "10.87.1.0/24")
	makeNetwork(t, "kill2", "--subnet", "10.87.2.0/24")
	dir := t.TempDir()
	sh(t, "cd "+dir+"; mkdir tree; for i in $(seq 50); do echo $i > tree/$i; done; tar cf tree.tar tree")
	must(t, "tag", "busybox", "again:1")
	must(t, "save", "-o", dir+"/archive", "again:1")
	t.Cleanup(func() { my(t, "rmi", "again:1") })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := 0
	for _, in := range interrupted {
		var took time.Duration // how long it takes when nobody kills it
		first := n + 1
		for try := range 3 {
			n++
			for command := range strings.SplitSeq(in.before, ";") {
				if command != "" {
					must(t, filledIn(command, dir, n)...)
				}
			}
			began := time.Now()
			cmd := exec.Command(binary, filledIn(in.command, dir, n)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if try > 0 {
				time.Sleep(time.Duration(random.Int64N(int64(took) + 1)))
				cmd.Process.Kill()
			}
			if err := cmd.Wait(); err != nil && try == 0 {
				t.Fatalf("%s: %v", in.command, err)
			}
			took = max(took, time.Since(began))
			eventually(t, func() string { // a program that it had just started (iptables-restore) ends by itself
				if syscall.Kill(-cmd.Process.Pid, 0) == nil {
					return in.command + " was killed, and a child of it goes on"
				}
				return ""
			})
		}
		gc := must(t, "gc")
		settle(t)
		orderly(t)
		for i := first; i <= n; i++ {
			for _, name := range []string{"@", "@-new"} {
				worksAgain(t, in.command, filledIn(name, dir, i)[0])
			}
		}
		removeNumbered(t)
		if t.Failed() {
			t.Fatalf("after %s was killed; gc: %s", in.command, gc)
		}
	}
}

// worksAgain checks that a container, if there is one of the name, is whole: it is on the networks that it is said to be on, has the limits
// that it is said to have, and can be started anew.
func worksAgain(t *testing.T, command, name string) {
	t.Helper()
	r := my(t, "inspect", "--type", "container", "-f", "{{.State.Status}} {{.HostConfig.PidsLimit}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}", name)
	if r.code != 0 {
		return
	}
	f := strings.Fields(r.out)
	switch {
	case f[0] == "paused" && strings.HasPrefix(command, "pause"):
		must(t, "unpause", name)
	case f[0] == "running":
		equal(t, command+": interfaces of "+name, sh(t, "ip -n "+name+" -br link | grep -c eth || :"), fmt.Sprint(len(f)-2))
		limit := strings.Replace(f[1], "<nil>", "max", 1)
		equal(t, command+": limit of "+name, sh(t, "p=$("+binary+" inspect -f '{{.State.Pid}}' "+name+"); cat /sys/fs/cgroup/pids$(sed -n 's/.*:pids://p' /proc/$p/cgroup)/pids.max 2>/dev/null || cat /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$p/cgroup)/pids.max"), limit)
	case f[0] != "exited" && f[0] != "created":
		t.Errorf("%s: %s is %s", command, name, f[0])
	}
	must(t, "restart", "-t", "0", name)
	equal(t, command+": exec in "+name, must(t, "exec", name, "echo", "alive"), "alive")
}

// commit lets its container go on before it starts the process that writes the image to the disk: that has the container's lock open too
// while it is being started, and if commit were killed then, gc would not see that somebody has to let the container go on.
func TestCommitLetsGoFirst(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "committed")
	t.Cleanup(func() { my(t, "rmi", "committed:1") })
	program := filepath.Join(t.TempDir(), "mydocker") // that nobody else opens
	sh(t, "cp "+binary+" "+program)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for file, what := range map[string]uint32{program: unix.IN_OPEN, "/var/lib/mydocker/containers/" + c.id: unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE} {
		if _, err := unix.InotifyAddWatch(fd, file, what); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, program+" commit "+c.name+" committed:1")
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for data := buf[:n]; len(data) >= unix.SizeofInotifyEvent; {
		length := endian.NativeEndian.Uint32(data[12:])
		name := strings.TrimRight(string(data[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length]), "\x00")
		switch mask := endian.NativeEndian.Uint32(data[4:]); {
		case mask&unix.IN_OPEN != 0:
			order = append(order, "program")
		case name == "unfinished" && mask&unix.IN_DELETE != 0:
			order = append(order, "goes on")
		case name == "unfinished":
			order = append(order, "paused")
		}
		data = data[unix.SizeofInotifyEvent+length:]
	}
	equal(t, "order", strings.Join(slices.Compact(order), ", "), "program, paused, goes on, program")
}

// Whoever looks after a container is killed, in each state of the container, with it or without: it can still be used, and started anew.
func TestKilledMonitor(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "kill1", "--subnet", "10.87.1.0/24")
	for _, state := range []string{"running", "paused", "restarting", "dead"} {
		t.Run(state, func(t *testing.T) {
			command := []string{"--net", "kill1", "-p", "8080:80", "busybox", "sleep", "3600"}
			if state == "restarting" {
				command = []string{"--net", "kill1", "-p", "8080:80", "--restart", "always", "busybox", "false"}
			}
			c := start(t, "victim", command...)
			if state == "paused" {
				must(t, "pause", c.name)
			}
			if state == "restarting" {
				c.becomes("{{.State.Status}}", "restarting")
			}
			pid := c.pid()
			for _, p := range processes(t) {
				if strings.HasPrefix(p.command, "mydocker monitor") || state == "dead" && p.pid == pid {
					syscall.Kill(p.pid, syscall.SIGKILL)
					ended(t, p)
				}
			}
			gc := my(t, "gc")
			equal(t, "gc", gc.code, 0)
			switch state {
			case "paused":
				must(t, "unpause", c.name)
				fallthrough
			case "running":
				equal(t, "exec", c.exec("echo", "alive"), "alive")
				equal(t, "address", strings.Contains(c.in("ip -4 -o addr"), c.ip()+"/"), true)
			default:
				c.becomes("{{.State.Status}}", "exited") // a run that had just begun may be ending
			}
			must(t, "stop", "-t", "0", c.name)
			equal(t, "state after stop", c.inspect("{{.State.Status}}"), "exited")
			must(t, "update", "--restart", "no", c.name)
			must(t, "start", c.name)
			must(t, "rm", "-f", c.name)
			settle(t)
			orderly(t)
		})
	}
}

// A container that was killed with its monitor holds neither its port nor its address, for which somebody else asks first of all.
func TestKilledHoldsNothing(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "kill1", "--subnet", "10.87.1.0/24")
	for what, asks := range map[string][]string{"port": {"-p", "8080:80"}, "address": {"--ip", "10.87.1.9"}} {
		t.Run(what, func(t *testing.T) {
			options := append([]string{"--net", "kill1"}, asks...)
			c := start(t, "victim", append(options, "busybox", "sleep", "3600")...)
			pid := c.pid()
			refused(t, 125, []string{"victim"}, append(append([]string{"run", "--rm"}, options...), "busybox", "true")...)
			for _, p := range processes(t) {
				if strings.HasPrefix(p.command, "mydocker monitor") || p.pid == pid {
					syscall.Kill(p.pid, syscall.SIGKILL)
					ended(t, p)
				}
			}
			equal(t, "the next one", must(t, append(append([]string{"run", "--rm"}, options...), "busybox", "echo", "here")...), "here")
			equal(t, "state", c.inspect("{{.State.Status}}"), "exited")
			must(t, "start", c.name)
			must(t, "rm", "-f", c.name)
		})
	}
}
