package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	endian "encoding/binary" // binary is the program under test
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noise is n bytes of every value.
func noise(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	source.Read(data)
	return data
}

// What is piped through a container comes out byte by byte the same, and its end is passed on.
func TestPipe(t *testing.T) {
	cleanHost(t)
	data := noise(20 << 20)
	file := filepath.Join(t.TempDir(), "data")
	write(t, file, string(data))
	sum := fmt.Sprintf("%x  -", sha256.Sum256(data))
	for name, in := range map[string]func() io.Reader{
		"a pipe": func() io.Reader { return bytes.NewReader(data) },
		"a file": func() io.Reader {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		},
	} {
		r := myWith(t, in(), nil, "run", "--rm", "-i", "-net", "none", "busybox", "sha256sum")
		equal(t, "from "+name, strings.TrimSpace(r.out), sum)
		r = myWith(t, in(), nil, "run", "--rm", "-i", "-net", "none", "busybox", "cat")
		if !bytes.Equal([]byte(r.out), data) {
			t.Errorf("from %s through cat: %d bytes came back, not the %d that were sent", name, len(r.out), len(data))
		}
		c := start(t, "pipe-exec", "-net", "none", "busybox", "sleep", "3600")
		r = myWith(t, in(), nil, "exec", "-i", c.name, "cat")
		if !bytes.Equal([]byte(r.out), data) {
			t.Errorf("from %s through exec: %d bytes came back, not the %d that were sent", name, len(r.out), len(data))
		}
		must(t, "rm", "-f", c.name)
	}
	equal(t, "the first end closes first", sh(t, "yes | "+binary+" run --rm -i -net none busybox head -n 2"), "y\ny")
	equal(t, "the last end closes first", sh(t, binary+" run --rm -net none busybox yes 2>/dev/null | head -n 2"), "y\ny")
	equal(t, "no input at all", sh(t, binary+" run --rm -i -net none busybox cat </dev/null; echo $?"), "0")
	equal(t, "an input that stays open", sh(t, "sleep 2 | (timeout 120 "+binary+" run --rm -i -net none busybox true; echo $?)"), "0")
}

// Whoever is attached and does not read, or is dead without having said so, does not stall the container; and one that reads
// again is told what it missed.
func TestSlowClient(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	c := start(t, "slow-client", "-net", "none", "-v", dir+":/dir", "busybox", "sh", "-c",
		"while ! test -e /dir/go; do echo wait; sleep 0.05; done; yes 0123456789012345678901234567890123456789 | head -n 400000; touch /dir/written; while ! test -e /dir/on; do sleep 0.05; done; echo the end")
	cmd := exec.Command(binary, "attach", "--no-stdin", c.name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var notice bytes.Buffer
	cmd.Stderr = &notice
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if n, err := out.Read(make([]byte, 100)); n == 0 { // now it is attached
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "go"), "")
	eventually(t, func() string { // 16 MB, far more than all buffers together
		if _, err := os.Stat(filepath.Join(dir, "written")); err != nil {
			return "the container waits for a client that is stopped"
		}
		return ""
	})
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "on"), "")
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("attach: %v", err)
	}
	match(t, "what it is told", notice.String(), `[0-9]+ bytes of output are left out here`)
	if !strings.HasSuffix(string(text), "the end\n") {
		t.Errorf("the client is not shown the end: …%q", text[max(0, len(text)-100):])
	}
	equal(t, "lines in the log", strings.Count(must(t, "logs", c.name), "0123456789\n"), 400000)
}

// The log of a container that writes as fast as it can has every line, in order, also through rotation and while it is followed.
func TestLogLosesNoLine(t *testing.T) {
	cleanHost(t)
	const lines = 300000
	c := start(t, "fast-log", "-net", "none", "--log-opt", "max-size=1m", "--log-opt", "max-file=100", "busybox", "awk", fmt.Sprintf(`BEGIN { for (i = 1; i <= %d; i++) print "line " i " of a log" }`, lines))
	followed := exec.Command(binary, "logs", "-f", c.name)
	out, err := followed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := followed.Start(); err != nil {
		t.Fatal(err)
	}
	inOrder(t, "logs -f", out, lines)
	if err := followed.Wait(); err != nil {
		t.Error(err)
	}
	inOrder(t, "logs", strings.NewReader(must(t, "logs", c.name)), lines)
	if files, err := filepath.Glob("/var/lib/mydocker/containers/" + c.id + "/container.log*"); len(files) < 20 {
		t.Errorf("the log was not rotated: %v, %v", files, err)
	}
}

func inOrder(t testing.TB, what string, r io.Reader, want int) {
	t.Helper()
	n := 0
	for scan := bufio.NewScanner(r); scan.Scan(); {
		n++
		if line := fmt.Sprintf("line %d of a log", n); scan.Text() != line {
			t.Fatalf("%s: line %d is %q", what, n, scan.Text())
		}
	}
	equal(t, what+": lines", n, want)
}

// logs -f goes on when the container is restarted, by its policy and by hand, and ends with it.
func TestLogsFollowRestarts(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	c := start(t, "follow-restarts", "-net", "none", "--restart", "always", "-v", dir+":/dir", "busybox", "sh", "-c",
		"trap 'exit 0' TERM; echo x >>/dir/n; echo run $(wc -l </dir/n); test $(wc -l </dir/n) -le 2 && exit 1; sleep 100 & wait")
	cmd := exec.Command(binary, "logs", "-f", c.name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	got := make(chan string, 100)
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			got <- scan.Text()
		}
		close(got)
	}()
	next := func() string {
		select {
		case line, open := <-got:
			if !open {
				return "(logs -f has ended)"
			}
			return line
		case <-time.After(patience(hangs)):
			return "(nothing comes)"
		}
	}
	equal(t, "first", next(), "run 1")
	equal(t, "restarted by the policy", next(), "run 2")
	equal(t, "once more", next(), "run 3")
	must(t, "restart", c.name)
	equal(t, "restarted by hand", next(), "run 4")
	must(t, "stop", c.name)
	equal(t, "after the end", next(), "(logs -f has ended)")
}

// --log-driver journald speaks the journal's own protocol; without a journal it is refused.
func TestJournald(t *testing.T) {
	cleanHost(t)
	refused(t, 125, []string{"journald", "/run/systemd/journal/socket"}, "run", "--log-driver", "journald", "busybox", "true")
	next := listenAsJournal(t)
	must(t, "run", "--rm", "--name", "journal", "-net", "none", "--log-driver", "journald", "busybox", "sh", "-c", `echo out; printf 'a\001b\n' >&2; printf unfinished`)
	entries := map[string]map[string]string{} // by message: the two streams are two pipes, and which is read first is nobody's promise
	for range 3 {
		entry := next()
		entries[entry["MESSAGE"]] = entry
	}
	for _, want := range []map[string]string{
		{"MESSAGE": "out", "PRIORITY": "6", "CONTAINER_NAME": "journal", "IMAGE_NAME": "busybox", "CONTAINER_PARTIAL_MESSAGE": "", "CONTAINER_PARTIAL_ID": ""},
		{"MESSAGE": "a\x01b", "PRIORITY": "3", "CONTAINER_PARTIAL_MESSAGE": ""},
		{"MESSAGE": "unfinished", "PRIORITY": "6", "CONTAINER_PARTIAL_MESSAGE": "true", "CONTAINER_PARTIAL_ORDINAL": "1", "CONTAINER_PARTIAL_LAST": "false"},
	} {
		got := entries[want["MESSAGE"]]
		for key, value := range want {
			equal(t, fmt.Sprintf("entry %q: %s", want["MESSAGE"], key), got[key], value)
		}
		equal(t, "the short id is the beginning of the long one", fmt.Sprintf("%.12s", got["CONTAINER_ID_FULL"]), got["CONTAINER_ID"])
	}
}

// listenAsJournal plays systemd's journal; next waits for an entry.
func listenAsJournal(t testing.TB) (next func() map[string]string) {
	t.Helper()
	t.Cleanup(func() { os.RemoveAll("/run/systemd") })
	if err := os.MkdirAll("/run/systemd/journal", 0o755); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/systemd/journal/socket", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() map[string]string {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(patience(time.Minute)))
		buf := make([]byte, 64<<10)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("no more entries: %v", err)
		}
		return journalEntry(t, buf[:n])
	}
}

// A long line comes in pieces that belong together, also when the container's monitor has replaced itself in the middle of it.
func TestJournaldPieces(t *testing.T) {
	cleanHost(t)
	next := listenAsJournal(t)
	c := start(t, "pieces", "-net", "none", "--log-driver", "journald", "busybox", "sh", "-c",
		`head -c 17000 /dev/zero | tr '\0' x; until [ -e /go ]; do sleep 0.05; done; echo`)
	first := next()
	monitor := parentOf(t, c.pid())
	eventually(t, func() string {
		if line := read(t, fmt.Sprintf("/proc/%d/cmdline", monitor)); !strings.Contains(line, c.id) { // mydocker monitor ID FD
			return fmt.Sprintf("the monitor has not replaced itself: %q", line)
		}
		return ""
	})
	c.sh("touch /go")
	last := next()
	for key, want := range map[string]string{"CONTAINER_PARTIAL_ORDINAL": "1 2", "CONTAINER_PARTIAL_LAST": "false true", "CONTAINER_PARTIAL_MESSAGE": "true ",
		"CONTAINER_LOG_ORDINAL": "1 2"} {
		equal(t, key, first[key]+" "+last[key], want)
	}
	for _, key := range []string{"CONTAINER_PARTIAL_ID", "CONTAINER_LOG_EPOCH"} {
		match(t, key, first[key], "^[0-9a-f]{64}$")
		equal(t, key, last[key], first[key])
	}
	equal(t, "the line", len(first["MESSAGE"]+last["MESSAGE"]), 17000)
}

// journalctl has said all before it ends: it is waited for, and not killed in between.
func TestJournalIsReadToItsEnd(t *testing.T) {
	cleanHost(t)
	listenAsJournal(t)
	must(t, "create", "--name", "told", "--log-driver", "journald", "busybox", "true")
	t.Cleanup(func() { must(t, "rm", "told") })
	dir := t.TempDir()
	script := `#!/bin/sh
[ "$1" != --sync ] || exit 0
echo '{"MESSAGE":"said","PRIORITY":"6","TIER":"front","__CURSOR":"1"}'
exec >&-
sleep 0.2
`
	if err := os.WriteFile(dir+"/journalctl", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	path := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	for _, flags := range []string{"logs told", "logs -f told", "logs --details told"} {
		want := result{out: "said\n"}
		if strings.Contains(flags, "--details") {
			want.out = "TIER=front said\n"
		}
		equal(t, flags, myWith(t, nil, path, strings.Fields(flags)...), want)
	}
}

// journalEntry reads https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
func journalEntry(t testing.TB, data []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for len(data) > 0 {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			t.Fatalf("a field without an end: %q", data)
		}
		if name, value, ok := strings.Cut(string(line), "="); ok {
			fields[name], data = value, rest
			continue
		}
		if len(rest) < 8 {
			t.Fatalf("a field without a length: %q", data)
		}
		n := int(endian.LittleEndian.Uint64(rest))
		fields[string(line)] = string(rest[8 : 8+n])
		if rest[8+n] != '\n' {
			t.Fatalf("a field that is longer than it says: %q", data)
		}
		data = rest[8+n+1:]
	}
	return fields
}
