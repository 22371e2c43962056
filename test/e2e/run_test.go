package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRunFlags is one `run --rm` for each flag that can be judged from what the container's command prints.
func TestRunFlags(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "greeting"), "hello\n")
	write(t, filepath.Join(dir, "env"), "# a comment\nFROM_FILE=a b=c\n\nMY_HOST_VARIABLE\nABSENT_HERE\n")
	t.Setenv("MY_HOST_VARIABLE", "from the host")

	for _, c := range []struct{ name, args, want string }{
		{"arguments are passed untouched", `busybox echo -uroot -p --rm -- a  "b c" ""`, `-uroot -p --rm -- a b c `},
		{"arguments keep their borders", `busybox sh -c 'printf "[%s]" "$@"' sh "a b" "" '$x' "*"`, `[a b][][$x][*]`},
		{"env", `-e A=1 -e B=x,y -e C= busybox sh -c 'echo "$A $B ${C-unset}"'`, `1 x,y `},
		{"env from the caller by name", `-e MY_HOST_VARIABLE -e ABSENT_HERE busybox sh -c 'echo "$MY_HOST_VARIABLE ${ABSENT_HERE-unset}"'`, `from the host unset`},
		{"the last env wins", `-e A=1 -e A=2 busybox sh -c 'echo $A'`, `2`},
		{"env file", `--env-file DIR/env busybox sh -c 'echo "$FROM_FILE/$MY_HOST_VARIABLE/${ABSENT_HERE-unset}"'`, `a b=c/from the host/unset`},
		{"env beats env file", `--env-file DIR/env -e FROM_FILE=flag busybox sh -c 'echo $FROM_FILE'`, `flag`},
		{"home and path", `busybox sh -c 'echo $HOME $PATH'`, `/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`},
		{"working directory", `-w /tmp busybox pwd`, `/tmp`},
		{"a missing working directory is made", `-w /a/b busybox pwd`, `/a/b`},
		{"user by number", `-u 1000:1001 busybox sh -c 'echo $(id -u) $(id -g)'`, `1000 1001`},
		{"user by name", `-u root busybox id -u`, `0`},
		{"a user has no capabilities", `-u 1000 busybox grep CapEff /proc/self/status`, "CapEff:\t0000000000000000"},
		{"additional groups", `-u 1000:1001 --group-add 2000 busybox id -G`, `1001 2000`},
		{"hostname", `--hostname box.example busybox sh -c 'hostname; cat /etc/hostname; grep -c box.example /etc/hosts'`, "box.example\nbox.example\n1"},
		{"entrypoint", `--entrypoint /bin/echo busybox a b`, `a b`},
		{"no entrypoint", `--entrypoint "" busybox echo a`, `a`},
		{"bind mount", `-v DIR:/data busybox cat /data/greeting`, `hello`},
		{"bind mount is writable", `-v DIR:/data busybox sh -c 'echo new > /data/written; cat /data/written'`, `new`},
		{"read-only bind mount", `-v DIR:/data:ro busybox sh -c 'echo new > /data/x || cat /data/greeting'`, `hello`},
		{"bind mount of a file", `-v DIR/greeting:/etc/greeting:ro busybox cat /etc/greeting`, `hello`},
		{"mount bind", `--mount type=bind,source=DIR,target=/data busybox cat /data/greeting`, `hello`},
		{"mount bind read-only", `--mount type=bind,src=DIR,dst=/data,readonly busybox sh -c 'touch /data/x || echo refused'`, `refused`},
		{"mount tmpfs", `--mount type=tmpfs,destination=/t,tmpfs-size=1m busybox sh -c 'df -k /t | awk "NR==2{print \$2}"'`, `1024`},
		{"tmpfs", `--tmpfs /t:size=1m busybox sh -c 'df -k /t | awk "NR==2{print \$2}"'`, `1024`},
		{"read-only root", `--read-only busybox sh -c 'touch /x 2>&1 || echo refused; touch /dev/shm/x && echo shm'`, "touch: /x: Read-only file system\nrefused\nshm"},
		{"read-only root with tmpfs", `--read-only --tmpfs /tmp busybox sh -c 'touch /tmp/x && echo fine'`, `fine`},
		{"shm size", `--shm-size 1m busybox sh -c 'df -k /dev/shm | awk "NR==2{print \$2}"'`, `1024`},
		{"ulimit", `--ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'`, "100\n200"},
		{"sysctl", `--sysctl net.ipv4.ip_default_ttl=77 busybox cat /proc/sys/net/ipv4/ip_default_ttl`, `77`},
		{"stdin is empty without -i", `busybox cat`, ``},
		{"oom score", `--oom-score-adj 500 busybox cat /proc/self/oom_score_adj`, `500`},
		{"dropping capabilities", `--cap-drop ALL busybox grep CapEff /proc/self/status`, "CapEff:\t0000000000000000"},
		{"adding a capability", `--cap-drop ALL --cap-add NET_ADMIN busybox grep CapEff /proc/self/status`, "CapEff:\t0000000000001000"},
		{"docker's default capabilities", `busybox grep CapEff /proc/self/status`, "CapEff:\t00000000a80425fb"},
		{"add-host", `--add-host server:10.1.2.3 busybox grep server /etc/hosts`, "10.1.2.3\tserver"},
		{"dns", `--dns 10.1.2.3 --dns-search example busybox cat /etc/resolv.conf`, "nameserver 10.1.2.3\nsearch example"},
		{"init is process 1", `--init busybox sh -c 'test $$ != 1 && echo not me'`, `not me`},
		{"the command is process 1", `busybox sh -c 'echo $$'`, `1`},
		{"bundled flags", `-ie A=1 busybox sh -c 'echo $A'`, `1`},
		{"attached value", `-eA=1 -w/tmp busybox sh -c 'echo $A; pwd'`, "1\n/tmp"},
		{"switch with value", `--init=false busybox sh -c 'echo $$'`, `1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := words(t, strings.ReplaceAll(c.args, "DIR", dir))
			got := see(t, args...)
			if c.name == "dns" {
				got = sortedLines(got)
			}
			equal(t, c.args, got, strings.TrimRight(c.want, "\n"))
		})
	}
	if got := read(t, filepath.Join(dir, "written")); got != "new\n" {
		t.Errorf("what the container wrote into the bind mount: %q", got)
	}
}

// The environment of the caller is nobody's business inside.
func TestRunEnvironmentDoesNotLeak(t *testing.T) {
	cleanHost(t)
	t.Setenv("SECRET_OF_THE_HOST", "1")
	var names []string
	for line := range strings.Lines(see(t, "busybox", "env")) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	equal(t, "the variables of a container", sortedLines(strings.Join(names, "\n")), "HOME\nHOSTNAME\nPATH")
	c := start(t, "no-leak", "busybox", "sleep", "3600")
	equal(t, "open files of a container's process", sh(t, fmt.Sprintf("ls /proc/%d/fd | sort -n | xargs", c.pid())), "0 1 2")
}

// Standard output and standard error stay apart, byte for byte, and -i hands standard input through to its end.
func TestRunStreams(t *testing.T) {
	cleanHost(t)
	r := my(t, "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
	equal(t, "stdout", r.out, "out\n")
	equal(t, "stderr", r.err, "err\n")
	equal(t, "exit status", r.code, 3)

	input := strings.Repeat("0123456789abcdef\x00\xff\n", 20000)
	r = myWith(t, strings.NewReader(input), nil, "run", "-i", "--rm", "busybox", "cat")
	if r.out != input || r.code != 0 {
		t.Errorf("%d bytes through cat came back as %d, status %d %s", len(input), len(r.out), r.code, r.err)
	}
}

// Exit statuses are Docker's.
func TestRunExitStatus(t *testing.T) {
	cleanHost(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		err  string
	}{
		{"the command's own", []string{"busybox", "sh", "-c", "exit 42"}, 42, ""},
		{"killed by a signal", []string{"busybox", "sh", "-c", "kill -9 $$"}, 0, ""}, // the first process of a namespace is immune to itself
		{"a child killed by a signal", []string{"busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"}, 137, ""},
		{"init passes the status on", []string{"--init", "busybox", "sh", "-c", "exit 42"}, 42, ""},
		{"init passes a signal on", []string{"--init", "busybox", "sh", "-c", "kill -9 $$"}, 137, ""},
		{"no such command", []string{"busybox", "no-such-command"}, 127, "no-such-command"},
		{"no such path", []string{"busybox", "/no/such/command"}, 127, "/no/such/command"},
		{"a directory", []string{"busybox", "/etc"}, 126, "/etc"},
		{"not executable", []string{"busybox", "/etc/passwd"}, 126, "/etc/passwd"},
		{"no such flag", []string{"--no-such-flag", "busybox", "true"}, 125, "no-such-flag"},
		{"no such image", []string{"--pull", "never", "no-such-image", "true"}, 125, "no-such-image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := my(t, append([]string{"run", "--rm"}, c.args...)...)
			equal(t, "exit status", r.code, c.code)
			if !strings.Contains(r.err, c.err) {
				t.Errorf("the error does not name %q: %s", c.err, r.err)
			}
		})
	}
}

// A name is generated, two words; ids are 64 hex digits, and each unique prefix is understood.
func TestNamesAndIDs(t *testing.T) {
	cleanHost(t)
	id := must(t, "run", "-d", "busybox", "sleep", "1000")
	defer my(t, "rm", "-f", id)
	match(t, "id", id, "^[0-9a-f]{64}$")
	name := must(t, "inspect", "-f", "{{.Name}}", id)
	match(t, "generated name", name, "^/[a-z]+_[a-z]+[0-9]*$")
	for _, ref := range []string{id, id[:12], id[:5], strings.TrimPrefix(name, "/")} {
		equal(t, "inspect "+ref, must(t, "inspect", "-f", "{{.Id}}", ref), id)
		equal(t, "exec "+ref, must(t, "exec", ref, "echo", "hi"), "hi")
		equal(t, "top "+ref, strings.Count(must(t, "top", ref), "sleep 1000"), 1)
		must(t, "logs", ref)
	}
	equal(t, "hostname is the short id", must(t, "exec", id[:12], "hostname"), id[:12])
	equal(t, "rm by prefix", must(t, "rm", "-f", id[:7]), id[:7])
}

// What a container's id file says, and that one is never overwritten.
func TestCIDFile(t *testing.T) {
	cleanHost(t)
	file := filepath.Join(t.TempDir(), "cid")
	c := sleeper(t, "cidfile", "--cidfile", file)
	equal(t, "content of the id file", strings.TrimSpace(read(t, file)), c.id)
	refused(t, 125, []string{file}, "run", "--rm", "--cidfile", file, "busybox", "true")
	refused(t, 125, []string{"no such file or directory"}, "run", "--rm", "--cidfile", file+"-no/such/dir", "busybox", "true")
}

func TestLabels(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "labels", "--label", "tier=web", "-l", "empty")
	equal(t, "label", c.inspect(`{{index .Config.Labels "tier"}}`), "web")
	equal(t, "ps by label", must(t, "ps", "-q", "--no-trunc", "--filter", "label=tier=web"), c.id)
	equal(t, "ps by another label", must(t, "ps", "-q", "--filter", "label=tier=db"), "")
}

// Volumes: named ones outlive their container, anonymous ones go with --rm, and both start with the image's content.
func TestVolumes(t *testing.T) {
	cleanHost(t)
	t.Cleanup(func() { must(t, "volume", "rm", "e2e-data") })
	see(t, "-v", "e2e-data:/data", "busybox", "sh", "-c", "echo kept > /data/file")
	equal(t, "a named volume", see(t, "-v", "e2e-data:/other:ro", "busybox", "cat", "/other/file"), "kept")
	match(t, "volume ls", must(t, "volume", "ls"), `(?m)^local\s+e2e-data$`)
	equal(t, "a new volume holds what the image has there", see(t, "-v", "/etc", "busybox", "sh", "-c", "test -e /etc/passwd && echo passwd"), "passwd")
}

// -v makes a missing source directory, as Docker does; --mount refuses it.
func TestBindSourceMissing(t *testing.T) {
	cleanHost(t)
	source := filepath.Join(t.TempDir(), "new")
	refused(t, 125, []string{source}, "run", "--rm", "--mount", "type=bind,src="+source+",dst=/data", "busybox", "true")
	see(t, "-v", source+":/data", "busybox", "touch", "/data/file")
	if _, err := os.Stat(filepath.Join(source, "file")); err != nil {
		t.Error(err)
	}
}

// Nothing of a container's root is visible outside while it runs, and its changes go with it.
func TestRootFilesystemIsItsOwn(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "own-root")
	c.sh("echo mine > /mine")
	equal(t, "another container", see(t, "busybox", "sh", "-c", "test -e /mine || echo absent"), "absent")
	if out := sh(t, "grep -c overlay /proc/self/mounts || :"); strings.Contains(sh(t, "cat /proc/self/mounts"), c.id) {
		t.Errorf("the container's root is in the host's mount table (%s overlays)", out)
	}
	must(t, "stop", c.name)
	must(t, "start", c.name)
	equal(t, "its own change after a restart", c.exec("cat", "/mine"), "mine")
}

// What the OCI runtime spec and Docker's defaults promise about /proc, /sys and /dev.
func TestDefaultFilesystems(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "filesystems")
	mounts := c.exec("cat", "/proc/self/mounts")
	for _, want := range []string{
		`(?m)^proc /proc proc rw,nosuid,nodev,noexec`,
		`(?m)^tmpfs /dev tmpfs rw,nosuid`,
		`(?m)^devpts /dev/pts devpts rw,nosuid,noexec.*gid=5.*ptmxmode=666`,
		`(?m)^\S+ /dev/shm tmpfs rw,nosuid,nodev,noexec.*size=65536k`,
		`(?m)^mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec`,
		`(?m)^sysfs /sys sysfs ro,nosuid,nodev,noexec`,
		`(?m)^cgroup2? /sys/fs/cgroup\S* cgroup2? ro,nosuid,nodev,noexec`,
		`(?m)^proc /proc/sys proc ro`,
		`(?m)^proc /proc/irq proc ro`,
		`(?m)^\S+ /etc/resolv.conf `, `(?m)^\S+ /etc/hostname `, `(?m)^\S+ /etc/hosts `,
	} {
		match(t, "mounts in the container", mounts, want)
	}
	equal(t, "what the masked files hold", c.sh("for f in kcore keys latency_stats timer_list sched_debug interrupts; do test -e /proc/$f && head -c 1 /proc/$f; done | wc -c"), "0")
	equal(t, "what the masked directories hold", c.sh("ls -A /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v -e : -e '^$' | wc -l"), "0")
	equal(t, "device nodes", c.sh("cd /dev; for d in null zero full random urandom tty; do test -c $d && echo $d; done | xargs"),
		"null zero full random urandom tty")
	equal(t, "/dev/stdout", c.sh("for l in stdout fd ptmx; do readlink /dev/$l; done | xargs"), "/proc/self/fd/1 /proc/self/fd pts/ptmx")
	equal(t, "/dev/null works", c.sh("echo x > /dev/null && head -c 3 /dev/zero | wc -c"), "3")
	equal(t, "a device that was not given", c.sh("mknod /tmp/vda b 254 0 && cat /tmp/vda 2>&1 >/dev/null | head -1 | grep -o 'not permitted'"), "not permitted")
	equal(t, "/proc/sys", c.sh("echo 1 > /proc/sys/kernel/printk 2>/dev/null || echo refused"), "refused")
	match(t, "host processes", c.exec("ps", "-o", "pid,args"), `(?s)^PID\s+COMMAND\s+1 sh`)
	match(t, "no_new_privs as Docker's default", c.exec("grep", "NoNewPrivs", "/proc/1/status"), `:\s*0`)
	match(t, "no_new_privs on request", see(t, "--security-opt", "no-new-privileges", "busybox", "grep", "NoNewPrivs", "/proc/self/status"), `:\s*1`)
}

// words splits a line as a shell does, without expanding anything.
func words(t testing.TB, line string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|"(?:\\.|[^"])*"|[^\s'"])+`).FindAllString(line, -1) {
		out = append(out, regexp.MustCompile(`'[^']*'|"(?:\\.|[^"])*"`).ReplaceAllStringFunc(m, func(q string) string {
			return q[1 : len(q)-1]
		}))
	}
	return out
}

func sortedLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
