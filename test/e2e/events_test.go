package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// All that is done is told of, under Docker's names and in its order.
func TestEventsOfEverything(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	write(t, dir+"/file", "x")
	now := time.Now()
	began := fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())
	events := func(filters ...string) []string {
		args := []string{"events", "--since", began, "--until", "0s", "--format", "{{.Type}} {{.Action}}"}
		for _, f := range filters {
			args = append(args, "--filter", f)
		}
		return strings.Split(must(t, args...), "\n")
	}
	makeNetwork(t, "told-net", "--subnet", "10.89.0.0/24")
	c := start(t, "told", "--label", "tier=web", "--net", "told-net", "-v", "told-data:/data", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
	t.Cleanup(func() { my(t, "volume", "rm", "told-data") })
	c.exec("true")
	must(t, "top", c.name)
	must(t, "cp", c.name+":/etc/passwd", dir+"/passwd")
	must(t, "cp", dir+"/file", c.name+":/tmp/file")
	must(t, "pause", c.name)
	must(t, "unpause", c.name)
	must(t, "rename", c.name, "told2")
	must(t, "update", "--pids-limit", "50", "told2")
	must(t, "commit", "-m", "why", "told2", "told-image:1")
	must(t, "export", "-o", dir+"/told.tar", "told2")
	must(t, "restart", "-t", "60", "told2")
	must(t, "kill", "-s", "KILL", "told2")
	must(t, "rm", "told2")
	must(t, "tag", "told-image:1", "told-image:2")
	must(t, "save", "-o", dir+"/image.tar", "told-image:1")
	must(t, "rmi", "told-image:2")
	must(t, "rmi", "told-image:1")
	must(t, "load", "-i", dir+"/image.tar")
	must(t, "rmi", "told-image:1")
	must(t, "import", dir+"/told.tar", "told-flat")
	must(t, "rmi", "told-flat")
	must(t, "network", "rm", "told-net")
	must(t, "volume", "rm", "told-data")
	must(t, "container", "prune", "-f")

	got := events("type=container")
	for i, action := range got {
		got[i], _, _ = strings.Cut(action, ": ") // exec_create: COMMAND
	}
	want := []string{"create", "start", "exec_create", "exec_start", "exec_die", "top", "archive-path", "extract-to-dir", "pause", "unpause", "rename",
		"update", "commit", "export", "kill", "die", "stop", "start", "restart", "kill", "die", "destroy", "prune"}
	// stop sends its signal itself; commit pauses meanwhile.
	rest := slices.DeleteFunc(got, func(s string) bool { return s == "container kill" || strings.HasSuffix(s, "pause") })
	for i := range want {
		want[i] = "container " + want[i]
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "container kill" || strings.HasSuffix(s, "pause") })
	equal(t, "a container's life", strings.Join(rest, "\n"), strings.Join(want, "\n"))
	equal(t, "images", strings.Join(events("type=image"), "\n"), "image tag\nimage tag\nimage save\nimage untag\nimage untag\nimage delete\nimage load\nimage untag\nimage delete\nimage import\nimage tag\nimage untag\nimage delete")
	equal(t, "networks", strings.Join(events("type=network"), "\n"), "network create\nnetwork connect\nnetwork disconnect\nnetwork connect\nnetwork disconnect\nnetwork destroy")
	equal(t, "volumes", strings.Join(events("type=volume"), "\n"), "volume create\nvolume mount\nvolume unmount\nvolume mount\nvolume unmount\nvolume destroy")

	for filter, n := range map[string]int{
		"container=" + c.id: 0, "container=told2": 0, "label=tier=web": 0, "label=tier=db": 1, "event=start": 2, "event=exec_create": 1, "image=told-image:2": 1,
		"network=told-net": 6, "volume=told-data": 6, "scope=swarm": 1, "container=nobody": 1,
	} {
		got := events(filter)
		switch {
		case n == 0 && len(got) < 5:
			t.Errorf("filter %s: only %q", filter, got)
		case n > 1 && len(got) != n, n == 1 && strings.HasPrefix(filter, "event") && len(got) != 1:
			t.Errorf("filter %s: %q", filter, got)
		case n == 1 && filter != "event=exec_create" && filter != "image=told-image:2" && got[0] != "":
			t.Errorf("filter %s: %q", filter, got)
		}
	}
	equal(t, "two filters", strings.Join(events("type=container", "event=die", "event=destroy"), ","), "container die,container die,container destroy")
	equal(t, "a time before", must(t, "events", "--since", "2020-01-01", "--until", "2020-01-02"), "")
	match(t, "what die says", must(t, "events", "--since", began, "--until", "0s", "--filter", "event=die"), `execDuration=\d+, exitCode=3, image=busybox, name=told2, tier=web`)
	refused(t, 1, []string{"filter"}, "events", "--filter", "nonsense=1")
}

// events without --until goes on, and shows what others do meanwhile.
func TestEventsFollow(t *testing.T) {
	cleanHost(t)
	cmd := exec.Command(binary, "events", "--filter", "event=die", "--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	defer timer.Stop()
	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		first <- line
	}()
	for { // nothing says from when on it listens
		my(t, "run", "--rm", "--name", "followed", "busybox", "sh", "-c", "exit 4")
		select {
		case line := <-first:
			equal(t, "the first event", line, "followed 4\n")
			return
		case <-time.After(time.Second):
		}
	}
}
