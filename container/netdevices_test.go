package container

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// onOwnNetwork starts this test again in a network namespace of its own, which plays the host's, and says whether this is it.
func onOwnNetwork(t *testing.T) bool {
	t.Helper()
	const mark = "MYDOCKER_TEST_OWN_NETWORK"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := exec.Command("unshare", "--net", "--", os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mark+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// sh runs a line on the host.
func sh(t *testing.T, line string) string {
	t.Helper()
	return hostOutput(t, "sh", "-ec", line)
}

// withDevices is a container with these links of the host's.
func withDevices(t *testing.T, line string, devices map[string]specs.LinuxNetDevice) (string, error) {
	t.Helper()
	spec, err := NewSpec(shell(line))
	must(t, err)
	spec.Linux.NetDevices = devices
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	return res.out, err
}

// TestNetDevices moves links of a made host: renamed or not, by a template, with what belongs to them, on both ways to a first process.
func TestNetDevices(t *testing.T) {
	if !onOwnNetwork(t) {
		return
	}
	// Of the addresses only those stay that are permanent and mean something everywhere.
	sh(t, `ip link set lo up
for n in va vb vc; do ip link add $n type veth peer name far-$n; ip link set far-$n up; done
ip link set va address 02:00:00:00:00:07 mtu 1400 up
ip addr add 192.0.2.1/24 dev va label va:old
ip addr add 192.0.2.2/24 dev va
ip addr add 198.51.100.1 peer 198.51.100.2/32 dev va
ip addr add 203.0.113.1/24 dev va valid_lft 1000 preferred_lft 1000
ip addr add 169.254.7.7/16 dev va scope link
ip -6 addr add 2001:db8::7/64 dev va nodad`)
	out, err := withDevices(t, `ip -o link; ip -o addr; hostname`, map[string]specs.LinuxNetDevice{"va": {Name: "wan"}, "vb": {}, "vc": {Name: "lab%d"}})
	must(t, err)
	for _, want := range []string{"wan", "02:00:00:00:00:07", "mtu 1400", "vb@", "lab0", "inet 192.0.2.1/24 scope global wan", "inet 192.0.2.2/24 scope global secondary wan",
		"198.51.100.1 peer 198.51.100.2/32", "inet6 2001:db8::7/64 scope global", "inet6 fe80::", "\nbox\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the container:\n%s", want, out)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if link := strings.Contains(line, " mtu "); link && !strings.Contains(line, ",UP") {
			t.Errorf("not up: %s", line)
		}
		if strings.Contains(line, "203.0.113.1") || strings.Contains(line, "169.254.7.7") {
			t.Errorf("an address that the spec leaves behind: %s", line)
		}
	}
	// The namespace is gone, and what is made of software with it.
	eventuallyGone := eventually(t, func() string {
		if strings.Contains(hostOutput(t, "ip", "-o", "link"), "far-") {
			return ""
		}
		return "gone"
	})
	if eventuallyGone != "gone" {
		t.Errorf("left on the host: %s", hostOutput(t, "ip", "-o", "link"))
	}
}

// TestNetDevicesElsewhere: into a namespace that is joined by its path, where a link is alive when the container is not; and into
// that of a user namespace.
func TestNetDevicesElsewhere(t *testing.T) {
	if !onOwnNetwork(t) {
		return
	}
	sh(t, `ip link add va type veth peer name far-va; ip addr add 192.0.2.1/24 dev va`)
	sleeper := exec.Command("unshare", "--net", "sleep", "1000")
	must(t, sleeper.Start())
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	path := fmt.Sprintf("/proc/%d/ns/net", sleeper.Process.Pid)
	own, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	eventually(t, func() string {
		if other, err := os.Readlink(path); err != nil || other == own {
			return ""
		}
		return "unshared"
	})
	inside := func(line string) string {
		return hostOutput(t, "nsenter", "--net="+path, "sh", "-ec", line)
	}
	join := func(name string) (string, error) {
		spec, err := NewSpec(shell("ip -o addr show dev wan"))
		must(t, err)
		for i := range spec.Linux.Namespaces {
			if spec.Linux.Namespaces[i].Type == specs.NetworkNamespace {
				spec.Linux.Namespaces[i].Path = path
			}
		}
		spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"va": {Name: name}}
		res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
		return res.out, err
	}
	inside("ip link add wan type veth peer name other")
	if _, err := join("wan"); err == nil || !strings.Contains(err.Error(), "linux.netDevices") || !strings.Contains(err.Error(), "has a link wan") {
		t.Errorf("a name that is taken: %v", err)
	}
	if out := sh(t, "ip -o -4 addr show dev va"); !strings.Contains(out, "192.0.2.1/24") {
		t.Errorf("a refusal changed the host: %s", out)
	}
	inside("ip link del wan")
	out, err := join("wan")
	if must(t, err); !strings.Contains(out, "192.0.2.1/24") {
		t.Errorf("joined: %s", out)
	}
	if out := inside("ip -o link show dev wan"); !strings.Contains(out, ",UP") {
		t.Errorf("the container has ended, and its namespace lives on: %s", out)
	}

	sh(t, `ip link add vu type veth peer name far-vu`)
	o := shell("ip -o link")
	spec, err := NewSpec(o)
	must(t, err)
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = mapping(100000), mapping(100000)
	spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"vu": {Name: "mine"}}
	res, err := runSpec(t, newRuntime(t), mappedBundle(t), spec)
	if must(t, err); !strings.Contains(res.out, "mine@") {
		t.Errorf("with a user namespace: %s", res.out)
	}
}

// TestNetDevicesRefused: what cannot be moved is named, and no other link has gone.
func TestNetDevicesRefused(t *testing.T) {
	if !onOwnNetwork(t) {
		return
	}
	sh(t, `ip link add va type veth peer name far-va; ip link add bridge0 type bridge; ip addr add 192.0.2.1/24 dev va; ip link set va up`)
	// Names, addresses and what was asked for; the carrier comes and goes in its own time.
	links := func() string {
		return sh(t, "ip -o -4 addr show; ip -o link show up | cut -d: -f2; ip -o link | sed 's/<.*> mtu/mtu/; s/ qdisc [a-z]*//; s/ state [A-Z]*//'")
	}
	before := links()
	for want, devices := range map[string]map[string]specs.LinuxNetDevice{
		"find nobody on the host":                     {"va": {}, "nobody": {}},
		"va cannot be lo":                             {"va": {Name: "lo"}},
		"va cannot be x in the container: bridge0 is": {"va": {Name: "x"}, "bridge0": {Name: "x"}},
		`"va" as "with space"`:                        {"va": {Name: "with space"}},
		`"va" as "much-too-long-name"`:                {"va": {Name: "much-too-long-name"}},
		`"va" as "%d%s"`:                              {"va": {Name: "%d%s"}},
		`"../a" as ""`:                                {"../a": {}},
		"move bridge0 into":                           {"bridge0": {Name: "x"}},
	} {
		if _, err := withDevices(t, "true", devices); err == nil || !strings.Contains(err.Error(), "linux.netDevices: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if after := links(); after != before {
			t.Errorf("%s: the host is changed:\n%s\nbefore:\n%s", want, after, before)
		}
	}
	spec, err := NewSpec(shell("true"))
	must(t, err)
	spec.Linux.Namespaces = spec.Linux.Namespaces[:0]
	for _, kind := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.MountNamespace, specs.UTSNamespace} {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"va": {}}
	if err := Validate(spec); err == nil || !strings.Contains(err.Error(), "needs a network namespace") {
		t.Errorf("on the host's network: %v", err)
	}
}
