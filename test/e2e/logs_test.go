package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLogs(t *testing.T) {
	cleanHost(t)
	c := start(t, "logs", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; printf 'no newline'")
	must(t, "wait", c.name)
	r := my(t, "logs", c.name)
	equal(t, "stdout", r.out, "out 1\nout 2\nout 3\nout 4\nout 5\nno newline")
	equal(t, "stderr", r.err, "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n")
	r = my(t, "logs", "--tail", "2", c.name)
	equal(t, "--tail 2", strings.Count(r.out+r.err, "\n")+strings.Count(r.out, "no newline"), 2)
	equal(t, "--tail 0", must(t, "logs", "--tail", "0", c.name), "")
	match(t, "-t", must(t, "logs", "-t", c.name), `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out 1\n`)
	equal(t, "--since the future", must(t, "logs", "--since", "2099-01-01T00:00:00Z", c.name), "")
	equal(t, "--since an hour", strings.Count(must(t, "logs", "--since", "1h", c.name), "out"), 5)
	equal(t, "--until an hour ago", must(t, "logs", "--until", "1h", c.name), "")
}

// speaking starts mydocker, and next is what it says next. One that hangs is killed.
func speaking(t *testing.T, args ...string) (cmd *exec.Cmd, next func() string) {
	t.Helper()
	cmd = exec.Command(binary, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	buffer := make([]byte, 100)
	return cmd, func() string {
		n, err := out.Read(buffer)
		if err != nil && n == 0 {
			t.Errorf("mydocker %v says nothing more: %v", args, err)
		}
		return string(buffer[:n])
	}
}

// logs -f follows until the container ends, and shows lines as they come.
func TestLogsFollow(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	c := start(t, "follow", "-v", dir+":/dir", "busybox", "sh", "-c", "echo one; while ! test -e /dir/go; do sleep 0.05; done; echo two")
	cmd, next := speaking(t, "logs", "-f", c.name)
	equal(t, "the first line, before the end", next(), "one\n")
	write(t, filepath.Join(dir, "go"), "")
	equal(t, "the second line", next(), "two\n")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience(hangs)):
		cmd.Process.Kill()
		t.Error("logs -f does not end with the container")
	}
}

// A log does not grow without end.
func TestLogRotation(t *testing.T) {
	cleanHost(t)
	c := start(t, "rotation", "--log-opt", "max-size=64k", "--log-opt", "max-file=2", "busybox", "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -n 20000")
	equal(t, "exit status", must(t, "wait", c.name), "0")
	total := 0
	for _, file := range tree(t, "/var/lib/mydocker/containers/"+c.id, false) {
		if strings.Contains(filepath.Base(file), "log") {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			total += int(info.Size())
		}
	}
	if total == 0 || total > 3*64*1024 {
		t.Errorf("the log takes %d bytes, allowed are 2 files of 64k", total)
	}
	match(t, "the last lines are there", must(t, "logs", "--tail", "1", c.name), `^0123456789{0,}`)
}

// logs -f across rotation, restarts and the removal of the container: each line once, and no complaint at the end.
func TestLogsFollowEachLineOnce(t *testing.T) {
	cleanHost(t)
	const rounds, lines = 4, 400 // a round fills some nine files
	dir := t.TempDir()
	c := start(t, "each-once", "-net", "none", "-v", dir+":/dir", "--log-opt", "max-size=4k", "--log-opt", "max-file=20", "busybox", "sh", "-c",
		fmt.Sprintf("n=$(cat /dir/n 2>/dev/null || echo 0); e=$((n + %d)); while [ $n -lt $e ]; do n=$((n+1)); echo $n; done; echo $n >/dir/n; exec sleep 3600", lines))
	cmd := exec.Command(binary, "logs", "-f", c.name)
	shown := filepath.Join(dir, "shown")
	file, err := os.Create(shown)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = file, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for round := 1; round <= rounds; round++ {
		eventually(t, func() string {
			seen, counted := strings.Count(content(t, shown), "\n"), content(t, filepath.Join(dir, "n"))
			if seen < round*lines || counted != fmt.Sprintln(round*lines) {
				return fmt.Sprintf("round %d: %d lines, and the container has counted %s", round, seen, counted)
			}
			return ""
		})
		if round < rounds {
			must(t, "restart", "-t", "0", c.name)
		}
	}
	must(t, "rm", "-f", c.name)
	if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
		t.Errorf("logs -f of a container that was removed: %v %s", err, complaints.String())
	}
	var want strings.Builder
	for n := 1; n <= rounds*lines; n++ {
		fmt.Fprintln(&want, n)
	}
	equal(t, "what logs -f showed", content(t, shown), want.String())
}

// content is what a file holds; one that is absent holds nothing yet.
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}
