package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/explain"
)

// The values on the screen are those of this machine, now.
func TestExplainTopics(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "--subnet", "10.71.0.0/24", "extopic")
	id := strings.TrimSpace(my(t, "run", "-d", "--name", "explained", "-net", "extopic", "-p", "8071:80", "busybox", "sleep", "100"))
	pinned, err := exec.Command("ip", "netns", "list").Output()
	if err != nil || !strings.Contains(string(pinned), "explained") {
		t.Fatalf("%v %s", err, pinned)
	}
	for topic, wants := range map[string][]string{
		"netns":        {"pinned under /run/netns    ", "explained\n"},
		"bridge":       {"extopic 10.71.0.1/24 [veth"},
		"veth":         {" = eth0 (explained)\n"},
		"dnat":         {"MYDOCKER -p tcp -m tcp --dport 8071 -j DNAT --to-destinat"},
		"snat":         {"POSTROUTING -s 10.71.0.0/24 ! -o extopic -j MASQUERADE\n", "net.ipv4.ip_forward  1\n"},
		"hairpin":      {"ports with hairpin  veth"},
		"ports":        {"8071/tcp\n"},
		"capabilities": {id[:12] + " 00000000a80425fb = 14: chown "},
		"seccomp":      {id[:12] + " 2 (filter)\n"},
		"cgroup":       {"/mydocker/" + id[:12] + " "},
		"route":        {"10.71.0.0/24 dev extopic\n"},
		"ipam":         {"eth0 10.99.0.1/24 fd99::1/64\n"},
	} {
		out := my(t, "explain", topic)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("explain %s: no %q in\n%s", topic, want, out)
			}
		}
	}
	match(t, "in Chinese", my(t, "--lang", "zh", "explain", "veth"), `^veth：有两个端点的网线\n`)
	match(t, "in Chinese", my(t, "explain", "--lang", "zh_CN.UTF-8"), `主题列表`)
	refused(t, 1, `there is no topic "vethh" (did you mean 'veth'?)`, "explain", "vethh")
	refused(t, 1, `there is no topic "xyzzy"; 'mydocker explain' lists them`, "explain", "xyzzy")
	refused(t, 125, `invalid language "fr"`, "explain", "--lang", "fr", "veth")
	refused(t, 1, "requires at most 1 argument", "explain", "a", "b")
	// The option of the same name is something else, and both work.
	_, errs, code := onHost(t, "--explain", "network", "rm", "-f", "no-such")
	if code != 0 {
		t.Errorf("--explain: %d %s", code, errs)
	}
	if _, errs, code := onHost(t, "--explain", "rm", "-f", "explained"); code != 0 || !strings.Contains(errs, "# the group is empty") {
		t.Errorf("--explain: %d %s", code, errs)
	}
}

// What a topic tells learners to type, mydocker knows.
func TestCommandsOfTopicsExist(t *testing.T) {
	for _, topic := range explain.Topics() {
		for _, command := range topic.Try {
			words := strings.Fields(command)
			if words[0] != "mydocker" {
				continue
			}
			v := commands()
			for i, w := range words[1:] {
				child := v.child(w)
				if child == nil {
					if i == 0 {
						t.Errorf("%s: there is no %q", topic.Name, command)
					}
					break
				}
				v = child
			}
			if v.bare || v.name == "oci" {
				continue
			}
			if _, _, err := canonical(v, v.flagList(), words[1+len(strings.Fields(v.words())):]); err != nil {
				t.Errorf("%s: %q: %v", topic.Name, command, err)
			}
		}
	}
}
