package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// result is what one call of mydocker did.
type result struct {
	out, err string
	code     int
}

// my runs mydocker. It may fail; it may not hang.
func my(t testing.TB, args ...string) result {
	t.Helper()
	return myWith(t, nil, nil, args...)
}

// myWith runs mydocker with an input and an environment (nil is this process's).
func myWith(t testing.TB, in io.Reader, env []string, args ...string) result {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Env, cmd.Stdout, cmd.Stderr = in, env, &out, &stderr
	cmd.WaitDelay = time.Minute // a grandchild that holds the pipes is a fault
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	err := cmd.Run()
	if !timer.Stop() {
		t.Fatalf("mydocker %q hangs; so far it said:\n%s%s", args, &out, &stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("mydocker %q: %v", args, err)
	}
	return result{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs mydocker, which has to succeed, and returns its output without the last newline.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := my(t, args...)
	if r.code != 0 {
		t.Fatalf("mydocker %q: exit status %d\n%s%s", args, r.code, r.out, r.err)
	}
	return strings.TrimRight(r.out, "\r\n")
}

// see is `run --rm`, which has to succeed.
func see(t testing.TB, args ...string) string {
	t.Helper()
	return must(t, append([]string{"run", "--rm"}, args...)...)
}

// refused runs mydocker, which has to fail with this status and one sentence that holds all these words, and to leave
// the host as it was.
func refused(t testing.TB, code int, words []string, args ...string) {
	t.Helper()
	settle(t)
	before := restingHost(t)
	r := my(t, args...)
	if r.code != code {
		t.Errorf("mydocker %q: exit status %d, want %d\n%s%s", args, r.code, code, r.out, r.err)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(r.err), strings.ToLower(word)) {
			t.Errorf("mydocker %q: the error does not say %q:\n%s", args, word, r.err)
		}
	}
	lines := strings.Split(strings.TrimRight(r.err, "\n"), "\n")
	if len(lines) == 2 && strings.HasPrefix(lines[1], "See 'mydocker ") {
		lines = lines[:1] // the line that names --help
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "mydocker: ") {
		t.Errorf("mydocker %q: the error is not one sentence:\n%s", args, r.err)
	}
	for _, bad := range []string{"panic", "goroutine", "%!", "<nil>"} {
		if strings.Contains(r.err, bad) {
			t.Errorf("mydocker %q: %q in the error:\n%s", args, bad, r.err)
		}
	}
	sameHost(t, before)
}

// ctr is a detached container of a test.
type ctr struct {
	t        testing.TB
	name, id string
}

// start is `run -d --name NAME …`. The container is removed at the end of the test.
func start(t testing.TB, name string, args ...string) *ctr {
	t.Helper()
	t.Cleanup(func() { my(t, "rm", "-f", "-v", name) })
	id := must(t, append([]string{"run", "-d", "--name", name}, args...)...)
	match(t, "what run -d prints", id, "^[0-9a-f]{64}$")
	return &ctr{t, name, id}
}

// sleeper is a container that does nothing for a long time and dies of TERM at once.
func sleeper(t testing.TB, name string, flags ...string) *ctr {
	t.Helper()
	c := start(t, name, append(flags, "busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait")...)
	c.hears(syscall.SIGTERM)
	return c
}

// hears waits until the container's first process has a handler for a signal. Until then the kernel does not deliver it to the first
// process of a pid namespace, and stop would wait in vain.
func (c *ctr) hears(sig syscall.Signal) {
	c.t.Helper()
	eventually(c.t, func() string {
		if !catches(c.pid(), sig) {
			return fmt.Sprintf("%s has no handler for signal %d", c.name, sig)
		}
		return ""
	})
}

// catches says whether a process has a handler for a signal.
func catches(pid int, sig syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, line, _ := strings.Cut(string(status), "\nSigCgt:\t")
	line, _, _ = strings.Cut(line, "\n")
	caught, err := strconv.ParseUint(line, 16, 64)
	return err == nil && caught>>(sig-1)&1 == 1
}

// web is a container with a web server on port 80. Its page names the container, and /cgi-bin/who the client's address.
func web(t testing.TB, name string, flags ...string) *ctr {
	t.Helper()
	script := `mkdir -p /www/cgi-bin; echo "page of ` + name + `" >/www/index.html
printf '#!/bin/sh\necho; echo $REMOTE_ADDR | tr -d [] | sed s/::ffff://\n' >/www/cgi-bin/who; chmod +x /www/cgi-bin/who
exec httpd -f -h /www -p 80`
	c := start(t, name, append(flags, "busybox", "sh", "-c", script)...)
	c.listens(80)
	return c
}

// listens waits until the container listens on a TCP port.
func (c *ctr) listens(port int) {
	c.t.Helper()
	want := fmt.Sprintf(":%04X ", port)
	eventually(c.t, func() string {
		for _, file := range []string{"tcp", "tcp6"} {
			table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", c.pid(), file))
			if err != nil {
				return err.Error()
			}
			for line := range strings.Lines(string(table)) {
				if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1]+" ", want) {
					return ""
				}
			}
		}
		return fmt.Sprintf("nothing listens on port %d in %s", port, c.name)
	})
}

func (c *ctr) inspect(format string) string {
	c.t.Helper()
	return must(c.t, "inspect", "-f", format, c.name)
}

func (c *ctr) pid() int {
	c.t.Helper()
	pid, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil {
		c.t.Fatal(err)
	}
	return pid
}

func (c *ctr) ip() string {
	c.t.Helper()
	return c.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
}

func (c *ctr) exec(command ...string) string {
	c.t.Helper()
	return must(c.t, append([]string{"exec", c.name}, command...)...)
}

// sh is exec of a shell script.
func (c *ctr) sh(script string) string {
	c.t.Helper()
	return c.exec("sh", "-c", script)
}

// in runs a program of the host in the container's network namespace, as `ip netns exec` does.
func (c *ctr) in(command string) string {
	c.t.Helper()
	return sh(c.t, "ip netns exec "+c.name+" "+command)
}

// makeNetwork makes a network and removes it at the end of the test.
func makeNetwork(t testing.TB, name string, flags ...string) string {
	t.Helper()
	t.Cleanup(func() {
		if r := my(t, "network", "rm", name); r.code != 0 && !strings.Contains(r.err, "not found") {
			t.Errorf("network rm %s: %s", name, r.err)
		}
	})
	id := must(t, append(append([]string{"network", "create"}, flags...), name)...)
	match(t, "what network create prints", id, "^[0-9a-f]{64}$")
	return id
}

// get fetches a page from the host itself.
func get(url string) (string, error) {
	client := &http.Client{Timeout: patience(time.Minute), Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

func mustGet(t testing.TB, url string) string {
	t.Helper()
	page, err := get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return page
}

// unreachable fails the test when a TCP port answers.
func unreachable(t testing.TB, address string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
	if err == nil {
		conn.Close()
		t.Errorf("%s answers, it should not", address)
	}
}

// fromJSON decodes the output of a program.
func fromJSON[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return v
}
