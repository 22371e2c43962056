package why

import (
	"reflect"
	"testing"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/world"
)

func TestPatterns(t *testing.T) {
	rule := &world.Rule{Chain: &world.Chain{Backend: world.IPTables, Family: "ip", Table: "nat", Name: "POSTROUTING"},
		Text: `-s 10.0.0.1/32 -p tcp -m tcp --dport 80 -m comment --comment "two words" -j MASQUERADE`, Comment: "two words"}
	for text, want := range map[string]bool{
		"-A POSTROUTING -s 10.0.0.1 -p tcp --dport 80 -j MASQUERADE":                                     true,
		"sudo iptables -w -t nat -I POSTROUTING 3 -p tcp --dport 80 -s 10.0.0.1/32 -j MASQUERADE":        true,
		`-A POSTROUTING -s 10.0.0.1/32 -p tcp -m comment --comment "two words" --dport 80 -j MASQUERADE`: true,
		"-A POSTROUTING -s 10.0.0.1 -p tcp --dport 81 -j MASQUERADE":                                     false,
		"-A PREROUTING -s 10.0.0.1 -p tcp --dport 80 -j MASQUERADE":                                      false,
		"-t filter --dport 80":     false,
		"--dport 80":               true,
		"--dport 8":                false,
		"two words":                true,
		"-j MASQUERADE --dport 80": true, // in any order, when there are enough words
		"MASQUERADE":               false,
		"-A POSTROUTING":           false,
		"":                         false,
		"dport 80 -m comment":      false,
		"-m tcp --dport 80 -m co":  false,
	} {
		if got := newPattern(text).fits(rule); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestMakers(t *testing.T) {
	m := newMakers()
	for name, want := range map[string]string{
		"docker0": "docker", "br-0123456789ab": "docker", "br-lan": "", "virbr1-nic": "libvirt", "lxdbr0": "lxc", "cilium_host": "kubernetes",
		"tailscale0": "tailscale", "eth0": "", "podman0": "podman", "cni-podman0": "podman", "docker00x": "", "br0": "",
	} {
		if got, _ := m.links.find(name); got.ID != want {
			t.Errorf("link %s: %q, want %q", name, got.ID, want)
		}
	}
	for path, want := range map[string]string{
		"/docker/0123":                                                           "docker",
		"/system.slice/docker.service":                                           "systemd",
		"/system.slice/docker-" + hex64 + ".scope":                               "docker",
		"/machine.slice/libpod-" + hex64 + ".scope/container":                    "podman",
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + hex64 + ".scope": "kubernetes",
		"/mydocker/" + hex64:                                                     "mydocker",
		"/user.slice/user-0.slice/session-1.scope":                               "systemd",
		"/mine": "hand",
		"/":     "hand",
	} {
		if got, _ := m.ofGroup(path); got.ID != want {
			t.Errorf("group %s: %q, want %q", path, got.ID, want)
		}
	}
}

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Whoever can be named has a name in both languages.
func TestMakersHaveNames(t *testing.T) {
	for _, language := range lang.Languages() {
		texts, err := lang.Open(language)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range []func() []known{linkNames, ruleNames, groupNames, pathNames} {
			for _, k := range table() {
				if !texts.Has("why.maker." + k.maker) {
					t.Errorf("no name for %s in %s", k.maker, language)
				}
			}
		}
		for _, kind := range Kinds() {
			if !texts.Has("why.kind." + kind) {
				t.Errorf("no word for %s in %s", kind, language)
			}
		}
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/a\040b\134c`); !reflect.DeepEqual(got, `/a b\c`) {
		t.Errorf("%q", got)
	}
}
