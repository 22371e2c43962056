package cli

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Copying, into and out of containers that run and that do not.
func TestCopyCommands(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "up", "-v", "data:/data", "busybox", "sleep", "1000")
	my(t, "create", "--name", "down", "busybox", "cat", "/etc/note")
	dir := t.TempDir()
	note := filepath.Join(dir, "note")
	if err := os.WriteFile(note, []byte("hello\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	my(t, "cp", note, "up:/tmp/")
	my(t, "cp", note, "up:/data/kept")
	my(t, "cp", note, "down:/etc")
	equal(t, "in a running one", my(t, "exec", "up", "cat", "/tmp/note", "/data/kept"), "hello\nhello\n")
	equal(t, "in one that was not started", my(t, "start", "-a", "down"), "hello\n")
	for _, name := range []string{"up:/tmp/note", "down:/etc/note", "up:/data/kept"} {
		my(t, "cp", name, filepath.Join(dir, "back"))
		data, err := os.ReadFile(filepath.Join(dir, "back"))
		if err != nil || string(data) != "hello\n" {
			t.Errorf("%s came back as %q, %v", name, data, err)
		}
	}
	my(t, "exec", "up", "sh", "-c", "mkdir -p /d/e; echo x > /d/e/f; ln -s /../../../../etc /d/link")
	my(t, "cp", "up:/d", dir)
	my(t, "cp", "up:/d/.", filepath.Join(dir, "d", "e"))
	for _, file := range []string{"d/e/f", "d/e/e/f"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	match(t, "an archive", strings.Join(entries(t, my(t, "cp", "up:/d", "-")), " "), `^d/? d/e/? d/e/f d/link$`)
	// The link leads to the container's /etc, never to the host's.
	my(t, "cp", note, "up:/d/link/planted")
	equal(t, "through a link", my(t, "exec", "up", "cat", "/etc/planted"), "hello\n")
	if _, err := os.Stat("/etc/planted"); err == nil {
		t.Error("a link in the container led the copy onto the host")
	}
	refused(t, 1, "at least one container", "cp", note, dir)
	refused(t, 1, "between containers", "cp", "up:/a", "down:/b")
	refused(t, 1, "path in the container is missing", "cp", note, "up:")
	refused(t, 1, "no such container: nobody", "cp", note, "nobody:/")
	refused(t, 1, "/no/such", "cp", "up:/no/such", dir)
	if left, _ := filepath.Glob("/var/lib/mydocker/containers/*/view-*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func entries(t *testing.T, archive string) (names []string) {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestDiffExportCommit(t *testing.T) {
	busyboxImage(t)
	my(t, "run", "-d", "--name", "box", "-e", "A=1", "-v", "data:/data", "busybox", "sh", "-c", "echo new > /new; rm /bin/yes; touch /data/x; sleep 1000")
	for try := 0; !strings.Contains(my(t, "exec", "box", "ls", "/data"), "x"); try++ {
		if try > 3000 {
			t.Fatal("the container did nothing")
		}
	}
	diff := my(t, "diff", "box")
	for _, line := range []string{"A /new\n", "C /bin\n", "D /bin/yes\n"} {
		if !strings.Contains(diff, line) {
			t.Errorf("no %q in\n%s", line, diff)
		}
	}
	file := filepath.Join(t.TempDir(), "box.tar")
	my(t, "export", "-o", file, "box")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Join(entries(t, string(data)), "\n")
	match(t, "export", names, `(?m)^new$`)
	for _, absent := range []string{"bin/yes\n", "proc/self", "data/x"} {
		if strings.Contains(names, absent) {
			t.Errorf("the export has %q", absent)
		}
	}
	my(t, "import", "-c", `CMD ["cat","/new"]`, file, "flat:1")
	equal(t, "import of the export", my(t, "run", "--rm", "flat:1"), "new\n")

	id := my(t, "commit", "-a", "me", "-m", "why", "-c", `CMD ["sh","-c","echo $A; cat /new"]`, "box", "committed:1")
	match(t, "commit", id, `^sha256:[0-9a-f]{64}\n$`)
	equal(t, "run of the commit", my(t, "run", "--rm", "committed:1"), "1\nnew\n")
	equal(t, "the container runs on", my(t, "inspect", "-f", "{{.State.Status}}", "box"), "running\n")
	match(t, "history", my(t, "history", "committed:1"), `^IMAGE +CREATED +CREATED BY +SIZE +COMMENT\n`+id[7:19]+` +.* ago +sh -c echo new .* why\n<missing> .*busybox`)
	equal(t, "history -q", strings.Fields(my(t, "history", "-q", "--no-trunc", "committed:1"))[0]+"\n", id)

	saved := filepath.Join(t.TempDir(), "saved.tar")
	my(t, "save", "-o", saved, "committed:1")
	reaped(t)
	my(t, "rmi", "committed:1")
	equal(t, "load of what was saved", my(t, "load", "-i", saved), "Loaded image: committed:1\n")
	equal(t, "its id", my(t, "images", "-q", "--no-trunc", "committed"), id)
	refused(t, 1, "nothing:here", "save", "-o", saved+"2", "nothing:here")
	if _, err := os.Stat(saved + "2"); err == nil {
		t.Error("a save that failed left its file")
	}
	refused(t, 1, "--archive-format", "save", "--archive-format", "zip", "busybox")
	my(t, "rmi", "committed:1", "flat:1")
}

// reaped waits until the containers of `run --rm` are gone altogether: their last traces are removed after the command has
// returned.
func reaped(t *testing.T) {
	t.Helper()
	for try := 0; my(t, "ps", "-aq", "--filter", "status=exited")+my(t, "ps", "-aq", "--filter", "status=created") != ""; try++ {
		if try > 3000 {
			t.Fatal(my(t, "ps", "-a"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestConnectCommands(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "--subnet", "10.71.0.0/24", "front")
	my(t, "network", "create", "--subnet", "10.72.0.0/24", "back")
	my(t, "run", "-d", "--name", "web", "-net", "front", "busybox", "sleep", "1000")
	my(t, "network", "connect", "--ip", "10.72.0.9", "--alias", "db", "back", "web")
	match(t, "a second interface", my(t, "exec", "web", "ip", "-4", "-o", "addr"), `eth1 +inet 10\.72\.0\.9/24`)
	equal(t, "inspect", my(t, "inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", "web"), "10.72.0.9\n")
	refused(t, 1, "already connected", "network", "connect", "back", "web")
	my(t, "network", "disconnect", "back", "web")
	equal(t, "after disconnect", my(t, "exec", "web", "sh", "-c", "ip -o link | grep -c eth"), "1\n")
	refused(t, 1, "not connected", "network", "disconnect", "back", "web")
	refused(t, 1, "invalid IPv4 address", "network", "connect", "--ip", "x", "back", "web")
	refused(t, 1, "nowhere", "network", "connect", "nowhere", "web")
	refused(t, 1, "nobody", "network", "connect", "back", "nobody")
}

func TestPlaces(t *testing.T) {
	for text, want := range map[string]place{
		"web:/a":   {"web", "/a"},
		"web:a:b":  {"web", "a:b"},
		"/a:b":     {"", "/a:b"},
		"./web:/a": {"", "./web:/a"},
		"a":        {"", "a"},
		"-":        {"", "-"},
	} {
		if got, err := parsePlace(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"/a/": "/a/", "/a/.": "/a/.", "/a/../b": "/b", "/": "/"} {
		if got, err := absolute(text); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestNetworkScripts(t *testing.T) {
	busyboxImage(t)
	create := my(t, "network", "create", "--dry-run", "--subnet", "10.73.0.0/24", "lab")
	match(t, "network create --dry-run", create, `^#!/bin/sh\nset -e\n(.*\n)*.*ip link add .*lab.*bridge`)
	refused(t, 1, "lab", "network", "inspect", "lab")
	my(t, "network", "create", "--subnet", "10.73.0.0/24", "lab")
	run := my(t, "run", "--dry-run", "--name", "web", "-net", "lab", "-p", "8080:80", "no-such-image")
	match(t, "run --dry-run", run, `(?s)^#!/bin/sh\nset -e\n.*ip netns add web.*10\.73\.0\.\d+/24.*iptables .*8080`)
	equal(t, "nothing was made", my(t, "ps", "-aq"), "")
	match(t, "a mode", my(t, "run", "--dry-run", "-net", "none", "busybox"), `^#!/bin/sh\n# --network none: no bridge`)
	refused(t, 125, "--publish-all", "run", "--dry-run", "-P", "busybox")
	my(t, "run", "-d", "--name", "web", "-net", "lab", "-p", "8080:80", "busybox", "sleep", "1000")
	plan := my(t, "network", "plan", "lab")
	match(t, "network plan", plan, `(?s)ip link add .*lab.*ip netns add web.*8080`)
	equal(t, "nothing to repair", my(t, "network", "sync", "--dry-run"), "")
	if out, err := exec.Command("ip", "link", "set", "lab", "down").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	match(t, "what is to repair", my(t, "network", "sync", "--dry-run"), `ip link set lab up`)
	match(t, "repair", my(t, "network", "sync"), `ip link set lab up`)
	equal(t, "repaired", my(t, "network", "sync"), "")
	refused(t, 1, "nowhere", "network", "plan", "nowhere")
}
