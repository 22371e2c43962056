package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// All signals are passed on by a foreground run but those that its own kernel and runtime send it, those that are for the terminal,
// and those that nobody can catch.
func TestEverySignalIsRelayed(t *testing.T) {
	cleanHost(t)
	kept := map[syscall.Signal]bool{
		syscall.SIGKILL: true, syscall.SIGSTOP: true, syscall.SIGCHLD: true, syscall.SIGPIPE: true, syscall.SIGURG: true,
		syscall.SIGTTIN: true, syscall.SIGTTOU: true, syscall.SIGPROF: true, 32: true, 33: true, 34: true,
	}
	script := "for s in $(seq 64); do case $s in 9|17|19|32|33) ;; *) trap \"echo $s\" $s;; esac; done; echo ready; while :; do sleep 0.02; done"
	cmd := exec.Command(binary, "run", "--rm", "--name", "relayed", "busybox", "sh", "-c", script)
	t.Cleanup(func() { my(t, "rm", "-f", "relayed") })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	defer timer.Stop()
	lines := make(chan string)
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- strings.TrimSpace(scan.Text())
		}
		close(lines)
	}()
	equal(t, "the first line", <-lines, "ready")
	const last = syscall.Signal(64)
	for asked := false; !asked; { // the rare ones are asked for a moment after the start, this one last
		cmd.Process.Signal(last)
		select {
		case line := <-lines:
			equal(t, "after the last signal", line, "64")
			asked = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGURG, syscall.SIGPIPE, syscall.SIGCHLD} {
		cmd.Process.Signal(sig) // kept: it would be the next line
	}
	for sig := syscall.Signal(1); sig < last; sig++ {
		if kept[sig] {
			continue
		}
		cmd.Process.Signal(sig)
		line, open := <-lines
		for line == "64" { // asked for more than once
			line, open = <-lines
		}
		if !open {
			t.Fatalf("signal %d ended it", sig)
		}
		equal(t, fmt.Sprint("after signal ", int(sig)), line, fmt.Sprint(int(sig)))
	}
	must(t, "kill", "relayed")
	cmd.Wait()
	equal(t, "exit status", cmd.ProcessState.ExitCode(), 137)
}

// --log-opt adds labels, variables and a tag to each line, where --details shows them; inspect --size measures.
func TestDetailsAndSizes(t *testing.T) {
	cleanHost(t)
	c := start(t, "detailed", "--label", "tier=front end", "--label", "other=x", "-e", "COLOR=red", "--log-opt", "labels=tier,absent",
		"--log-opt", "env-regex=^COL", "--log-opt", "tag={{.Name}}/{{.ImageName}}", "busybox", "sh", "-c", "echo said; head -c 5000 /dev/zero >/file")
	must(t, "wait", c.name)
	equal(t, "details", must(t, "logs", "--details", c.name), "COLOR=red,tag=detailed%2Fbusybox,tier=front+end said")
	match(t, "with a time", must(t, "logs", "-t", "--details", c.name), `^\S+Z COLOR=red,\S+ said$`)
	equal(t, "without", must(t, "logs", c.name), "said")
	line := fromJSON[map[string]any](t, read(t, c.inspect("{{.LogPath}}")))
	equal(t, "in the file", fmt.Sprint(line["attrs"]), "map[COLOR:red tag:detailed/busybox tier:front end]")
	for _, bad := range []string{"env-regex=(", "tag={{.Nothing}}", "nonsense=1"} {
		refused(t, 125, []string{"--log-opt"}, "run", "--log-opt", bad, "busybox", "true")
	}
	plain := start(t, "plain", "busybox", "echo", "said")
	must(t, "wait", plain.name)
	equal(t, "details of one without", my(t, "logs", "--details", plain.name).out, " said\n")

	equal(t, "sizes without --size", c.inspect("{{json .SizeRw}} {{json .SizeRootFs}}"), "null null")
	var written, all int
	fmt.Sscan(must(t, "inspect", "--size", "-f", "{{.SizeRw}} {{.SizeRootFs}}", c.name), &written, &all)
	if written < 5000 || written > 6000 || all < written+100000 {
		t.Errorf("sizes are %d and %d", written, all)
	}
	match(t, "container inspect -s", must(t, "container", "inspect", "-s", c.name), `"SizeRw": 5\d\d\d,`)
	equal(t, "of an image", my(t, "inspect", "-s", "--type", "image", "busybox").code, 0)
}
