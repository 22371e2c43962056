package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Bad input: one clear sentence, Docker's exit status, nothing left behind. Each row names words that the sentence
// must hold: the thing that is wrong, and where there is one the way out.
func TestBadInput(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.env"), "=novalue\n")
	write(t, filepath.Join(dir, "not-a-tar"), strings.Repeat("this is no archive\n", 100))
	truncated := layer(t, entry{name: "file", body: strings.Repeat("x", 100000)})[:50000]
	if err := os.WriteFile(filepath.Join(dir, "cut.tar"), truncated, 0o644); err != nil {
		t.Fatal(err)
	}
	sleeper(t, "taken")
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")

	type row struct {
		name  string
		code  int
		words []string
		args  string
	}
	for _, c := range []row{
		{"no arguments", 1, []string{"run", "argument"}, "run"},
		{"unknown command", 1, []string{"rnu", "run"}, "rnu"},
		{"unknown flag", 125, []string{"--nmae", "--name"}, "run --nmae x busybox"},
		{"flag without value", 125, []string{"-p", "argument"}, "run -p"},
		{"unknown image", 125, []string{"nothing:here"}, "run --rm --pull never nothing:here"},
		{"bad image name", 125, []string{"Bad:Name:Here"}, "run --rm Bad:Name:Here"},
		{"unknown network", 125, []string{"nowhere", "network create"}, "run --rm -net nowhere busybox true"},
		{"name in use", 125, []string{"taken"}, "run --rm --name taken busybox true"},
		{"bad name", 125, []string{"a/b"}, "run --rm --name a/b busybox true"},
		{"bad name of one dot", 125, []string{".."}, "run --rm --name .. busybox true"},
		{"missing command", 127, []string{"no-such"}, "run --rm busybox no-such"},
		{"port 0", 125, []string{"0:"}, "run --rm -p 8080:0 busybox true"},
		{"port too big", 125, []string{"70000"}, "run --rm -p 70000:80 busybox true"},
		{"port no number", 125, []string{"http"}, "run --rm -p http:80 busybox true"},
		{"port empty", 125, []string{"-p"}, "run --rm -p  busybox true"},
		{"port protocol", 125, []string{"icmp"}, "run --rm -p 80:80/icmp busybox true"},
		{"port address", 125, []string{"300.1.1.1"}, "run --rm -p 300.1.1.1:80:80 busybox true"},
		{"port of nobody's address", 125, []string{"192.0.2.77"}, "run --rm -p 192.0.2.77:80:80 busybox true"},
		{"port ranges of different length", 125, []string{"8000-8002:80-81"}, "run --rm -p 8000-8002:80-81 busybox true"},
		{"port with host network", 125, []string{"host"}, "run --rm --net host -p 8000:80 --ip 10.0.0.1 busybox true"},
		{"memory", 125, []string{"lots"}, "run --rm -m lots busybox true"},
		{"memory too small", 125, []string{"6m"}, "run --rm -m 4k busybox true"},
		{"swap smaller than memory", 125, []string{"swap"}, "run --rm -m 64m --memory-swap 32m busybox true"},
		{"cpus", 125, []string{"many"}, "run --rm --cpus many busybox true"},
		{"more cpus than there are", 125, []string{"1000", "CPU"}, "run --rm --cpus 1000 busybox true"},
		{"cpuset", 125, []string{"900"}, "run --rm --cpuset-cpus 900 busybox true"},
		{"pids limit", 125, []string{"few"}, "run --rm --pids-limit few busybox true"},
		{"restart policy", 125, []string{"sometimes"}, "run -d --restart sometimes busybox true"},
		{"restart and rm", 125, []string{"--restart", "--rm"}, "run --rm --restart always busybox true"},
		{"relative volume", 125, []string{"a/b"}, "run --rm -v a/b:/data busybox true"},
		{"relative target", 125, []string{"data"}, "run --rm -v /tmp:data busybox true"},
		{"volume on root", 125, []string{"/"}, "run --rm -v /tmp:/ busybox true"},
		{"volume option", 125, []string{"rx"}, "run --rm -v /tmp:/data:rx busybox true"},
		{"mount type", 125, []string{"nfs"}, "run --rm --mount type=nfs,dst=/x busybox true"},
		{"mount without target", 125, []string{"target"}, "run --rm --mount type=tmpfs busybox true"},
		{"mount key", 125, []string{"colour"}, "run --rm --mount type=tmpfs,dst=/x,colour=red busybox true"},
		{"env file missing", 125, []string{"/no/such/file"}, "run --rm --env-file /no/such/file busybox true"},
		{"env file bad", 125, []string{"bad.env"}, "run --rm --env-file " + dir + "/bad.env busybox true"},
		{"working directory", 125, []string{"relative"}, "run --rm -w relative busybox pwd"},
		{"working directory is a file", 125, []string{"/etc/passwd"}, "run --rm -w /etc/passwd busybox pwd"},
		{"unknown user", 125, []string{"nosuchuser"}, "run --rm -u nosuchuser busybox true"},
		{"unknown group", 125, []string{"nosuchgroup"}, "run --rm -u 0:nosuchgroup busybox true"},
		{"capability", 125, []string{"FLY"}, "run --rm --cap-add FLY busybox true"},
		{"ulimit", 125, []string{"nofish"}, "run --rm --ulimit nofish=1 busybox true"},
		{"device", 125, []string{"/dev/no-such-device"}, "run --rm --device /dev/no-such-device busybox true"},
		{"sysctl", 125, []string{"kernel.printk"}, "run --rm --sysctl kernel.printk=1 busybox true"},
		{"security option", 125, []string{"magic"}, "run --rm --security-opt magic busybox true"},
		{"stop signal", 125, []string{"SIGNOPE"}, "run --rm --stop-signal SIGNOPE busybox true"},
		{"address", 125, []string{"1.2.3"}, "run --rm -net br0 --ip 1.2.3 busybox true"},
		{"address on the default network", 125, []string{"user"}, "run --rm --ip 172.17.0.99 busybox true"},
		{"MAC address", 125, []string{"zz:zz"}, "run --rm --mac-address zz:zz busybox true"},
		{"host entry", 125, []string{"nocolon"}, "run --rm --add-host nocolon busybox true"},
		{"dns", 125, []string{"dns.example"}, "run --rm --dns dns.example busybox true"},
		{"-d and -a of an unknown container", 1, []string{"nobody"}, "start -a nobody"},
		{"unknown container", 1, []string{"nobody"}, "logs nobody"},
		{"stop unknown container", 1, []string{"nobody"}, "stop nobody"},
		{"wait for unknown container", 1, []string{"nobody"}, "wait nobody"},
		{"logs --since", 1, []string{"yesterday"}, "logs --since yesterday taken"},
		{"logs --tail", 1, []string{"few"}, "logs --tail few taken"},
		{"stop --time", 125, []string{"soon"}, "stop -t soon taken"},
		{"template", 64, []string{"{{.State"}, "inspect -f {{.State taken"},
		{"ps filter", 1, []string{"colour"}, "ps --filter colour=red"},
		{"port of a container that has none", 1, []string{"80"}, "port taken 80"},

		{"network: bad subnet", 1, []string{"10.88.0.300/24"}, "network create --subnet 10.88.0.300/24 x"},
		{"network: subnet without length", 1, []string{"10.88.0.0"}, "network create --subnet 10.88.0.0 x"},
		{"network: subnet with host bits", 1, []string{"10.90.0.7/24", "10.90.0.0/24"}, "network create --subnet 10.90.0.7/24 x"},
		{"network: too small", 1, []string{"10.90.0.0/32", "from 8 to 31"}, "network create --subnet 10.90.0.0/32 x"},
		{"network: overlap with a network", 1, []string{"10.88.0.0", "br0"}, "network create --subnet 10.88.0.0/16 x"},
		{"network: overlap with the host", 1, []string{"10.99.0.0/24", "eth0"}, "network create --subnet 10.99.0.0/16 x"},
		{"network: gateway elsewhere", 1, []string{"10.91.0.1"}, "network create --subnet 10.90.0.0/24 --gateway 10.91.0.1 x"},
		{"network: gateway is the network", 1, []string{"10.90.0.0"}, "network create --subnet 10.90.0.0/24 --gateway 10.90.0.0 x"},
		{"network: range elsewhere", 1, []string{"10.91.0.0/25"}, "network create --subnet 10.90.0.0/24 --ip-range 10.91.0.0/25 x"},
		{"network: unknown driver", 1, []string{"carrier-pigeon"}, "network create -d carrier-pigeon x"},
		{"network: name in use", 1, []string{"br0"}, "network create br0"},
		{"network: name of a built-in", 1, []string{"host"}, "network create host"},
		{"network: bad name", 1, []string{"a b"}, "network create 'a b'"},
		{"network: interface that is not ours", 1, []string{"eth0"}, "network create eth0"},
		{"network: no name", 1, []string{"argument"}, "network create"},
		{"network: remove unknown", 1, []string{"nowhere"}, "network rm nowhere"},
		{"network: remove built-in", 1, []string{"bridge"}, "network rm bridge"},
		{"network: inspect unknown", 1, []string{"nowhere"}, "network inspect nowhere"},

		{"load: no archive", 1, []string{"not-a-tar"}, "load -i " + dir + "/not-a-tar"},
		{"load: cut", 1, []string{"cut.tar"}, "load -i " + dir + "/cut.tar"},
		{"load: missing", 1, []string{"/no/such/file"}, "load -i /no/such/file"},
		{"import: no archive", 1, []string{"not-a-tar"}, "import " + dir + "/not-a-tar x"},
		{"import: cut", 1, []string{"cut.tar"}, "import " + dir + "/cut.tar x"},
		{"import: missing", 1, []string{"/no/such/file"}, "import /no/such/file x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := words(t, c.args)
			if c.name == "port empty" {
				args = []string{"run", "--rm", "-p", "", "busybox", "true"}
			}
			refused(t, c.code, c.words, args...)
		})
	}
}

// A root without /proc, /sys or /dev, and without a shell: mount points are made, the command runs.
func TestRootWithoutDirectories(t *testing.T) {
	cleanHost(t)
	loaded(t, "bare:latest", nil, layer(t, entry{name: "tool", body: read(t, sh(t, "command -v busybox"))}))
	// busybox acts by its name; as "tool" it takes the applet as an argument only when called busybox
	r := my(t, "run", "--rm", "-v", "/bin/busybox:/busybox:ro", "bare", "/busybox", "sh", "-c", "test -d /proc/self && test -c /dev/null && echo fine")
	if strings.TrimSpace(r.out) != "fine" {
		t.Errorf("a root that holds one file: %+v", r)
	}
	// Where /proc is a file or a symlink to elsewhere, nothing outside is mounted over.
	loaded(t, "proc-link:latest", nil, userland(t), layer(t, entry{name: "proc", kind: '2', link: "../../../../etc"}))
	my(t, "run", "--rm", "proc-link", "echo", "hi")
	if sh(t, "stat -f -c %T /etc") == "proc" {
		t.Error("a symlink /proc in the image led a mount out of the container")
	}
}

// Not root: said at once, with the way out.
func TestNotRoot(t *testing.T) {
	cleanHost(t)
	copied := filepath.Join("/run", "mydocker-for-nobody")
	sh(t, "install -m 755 "+binary+" "+copied)
	t.Cleanup(func() { os.Remove(copied) })
	for _, args := range [][]string{{"run", "--rm", "busybox", "true"}, {"network", "create", "x"}} {
		cmd := exec.Command(copied, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), "root") || !strings.Contains(string(out), "sudo") || cmd.ProcessState.ExitCode() == 0 {
			t.Errorf("mydocker %v as nobody: status %d, %s", args, cmd.ProcessState.ExitCode(), out)
		}
	}
	cmd := exec.Command(copied, "--help")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("--help as nobody: %v %s", err, out)
	}
}

// No iptables: named, with the package that has it, where a network has its rules there. Others are of nftables.
func TestWithoutIptables(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	must(t, "image", "bootstrap")
	must(t, "network", "create", "br0")
	// An overlay over the directory with all of iptables' names, so that it can be taken away here alone.
	dir := filepath.Dir(sh(t, "command -v iptables"))
	sh(t, fmt.Sprintf("cd $FAKE_HOST_SCRATCH && mkdir ou ow && mount -t overlay -o lowerdir=%s,upperdir=ou,workdir=ow overlay %s && rm -f %s/*tables*", dir, dir, dir))
	before := hostStateWithoutRules(t)
	r := my(t, "run", "--rm", "-net", "br0", "-p", "8080:80", "busybox", "true")
	if r.code != 125 || !strings.Contains(r.err, "iptables") || !strings.Contains(r.err, "apt") {
		t.Errorf("without iptables: status %d, %s", r.code, r.err)
	}
	if r = my(t, "--firewall", "iptables", "network", "create", "br1"); r.code != 1 || !strings.Contains(r.err, "iptables") {
		t.Errorf("network create without iptables: status %d, %s", r.code, r.err)
	}
	eventually(t, func() string { return diff(before, hostStateWithoutRules(t)) })
	if r = my(t, "run", "--rm", "--net", "none", "busybox", "echo", "hi"); r.out != "hi\n" {
		t.Errorf("--net none needs no iptables: %+v", r)
	}
	// A network that is not tied to iptables yet does without.
	must(t, "network", "create", "br1")
	web(t, "server", "-net", "br1", "-p", "8080:80")
	equal(t, "page from the neighbour", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/"), "page of server")
	equal(t, "page from the host", mustGet(t, "http://127.0.0.1:8080/"), "page of server")
	must(t, "rm", "-f", "server")
	must(t, "network", "rm", "br1")
}
