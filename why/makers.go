package why

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/mydocker/mydocker/lang"
)

// Maker is a program, or somebody.
type Maker struct {
	ID string // mydocker, docker, podman, …; "hand" for nobody that is known; "kernel"
}

func (m Maker) text(texts *lang.Catalogue) string { return texts.Text("why.maker." + m.ID) }

// known is the name that a program gives to what it makes.
type known struct {
	maker   string
	pattern string // of the whole name
}

// linkNames are links and bridges, by the programs' own documents and sources.
func linkNames() []known {
	return []known{
		{"docker", `docker0|docker_gwbridge|br-[0-9a-f]{12}`},
		{"podman", `podman[0-9]+|cni-podman[0-9]+`},
		{"kubernetes", `cni0|cbr0|flannel\.[0-9]+|flannel-v6\.[0-9]+|cali[0-9a-f]{11}|vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|kube-ipvs0|kube-bridge|kube-dummy-if|nodelocaldns|cilium_(host|net|vxlan)|lxc[0-9a-f]{12}|lxc_health|weave|vethwe-.*|antrea-gw0|ovn-k8s-mp0`},
		{"libvirt", `virbr[0-9]+(-nic)?|vnet[0-9]+|macvtap[0-9]+`},
		{"lxc", `lxcbr[0-9]+|lxdbr[0-9]+|incusbr[0-9]+`},
		{"tailscale", `tailscale[0-9]+`},
		{"openvpn", `tun[0-9]+|tap[0-9]+`},
		{"openvswitch", `ovs-system|br-int|br-ex`},
	}
}

// ruleNames are chains of iptables and tables of nftables.
func ruleNames() []known {
	return []known{
		{"mydocker", `MYDOCKER(-.*)?|mydocker|mydocker-dns`},
		{"docker", `DOCKER(-.*)?|docker-bridges`},
		{"podman", `NETAVARK[-_].*|netavark`},
		{"cni", `CNI-.*|cni_hostport|cni_plugins.*`},
		{"kubernetes", `KUBE-.*|cali-.*|FLANNEL-.*|CILIUM_.*|OLD_CILIUM_.*|WEAVE.*|ANTREA-.*|kube-proxy`},
		{"libvirt", `LIBVIRT_.*|libvirt_network`},
		{"ufw", `ufw6?-.*`},
		{"firewalld", `firewalld|FWD[IO]_.*|IN_public.*|(FORWARD|INPUT|OUTPUT|PREROUTING|POSTROUTING)_(direct|ZONES|IN_ZONES|OUT_ZONES|POLICIES_.*)`},
		{"fail2ban", `f2b-.*`},
		{"tailscale", `ts-(input|forward|postrouting)`},
		{"lxc", `lxc|lxd|incus`},
	}
}

// groupNames are parts of a cgroup's path.
func groupNames() []known {
	return []known{
		{"mydocker", `mydocker`},
		{"kubernetes", `kubepods.*|cri-containerd-[0-9a-f]{64}\.scope`},
		{"docker", `docker|docker-[0-9a-f]{64}\.scope|buildkit`},
		{"podman", `libpod_parent|libpod-.*|libpod_pod_.*|conmon`},
		{"libvirt", `machine-qemu.*|libvirt.*`},
		{"lxc", `lxc(\.payload.*|\.monitor.*)?|lxd|incus.*`},
		{"systemd", `init\.scope|system\.slice|user\.slice|machine\.slice|.*\.(service|scope|slice|mount|socket)`},
	}
}

// pathNames are directories below which a program mounts.
func pathNames() []known {
	return []known{
		{"kubernetes", `/var/lib/kubelet/.*`},
		{"docker", `/var/lib/docker/.*|/run/docker/.*|/var/run/docker/.*`},
		{"podman", `/var/lib/containers/.*|/run/containers/.*|/run/netns/netns-[0-9a-f-]{36}`},
		{"cni", `/run/netns/cni-.*|/var/run/netns/cni-.*`},
		{"containerd", `/run/containerd/.*|/var/lib/containerd/.*`},
		{"lxc", `/var/lib/(lxc|lxd|incus|lxcfs)(/.*)?`},
		{"systemd", `/run/user/[0-9]+|/run/credentials/.*|/sys/fs/.*|/sys/kernel/.*|/dev/(hugepages|mqueue)|/run/lock|/proc/sys/fs/binfmt_misc`},
	}
}

// matcher compiles a table at its first use.
type matcher struct {
	once    sync.Once
	names   func() []known
	regexps []*regexp.Regexp
	makers  []string
}

func (m *matcher) find(name string) (Maker, bool) {
	m.once.Do(func() {
		for _, k := range m.names() {
			m.regexps = append(m.regexps, regexp.MustCompile("^("+k.pattern+")$"))
			m.makers = append(m.makers, k.maker)
		}
	})
	for i, r := range m.regexps {
		if r.MatchString(name) {
			return Maker{m.makers[i]}, true
		}
	}
	return Maker{}, false
}

// makers are the tables, ready for one question.
type makers struct{ links, rules, groups, paths matcher }

func newMakers() *makers {
	return &makers{links: matcher{names: linkNames}, rules: matcher{names: ruleNames}, groups: matcher{names: groupNames}, paths: matcher{names: pathNames}}
}

// ofGroup finds the maker of a cgroup by the parts of its path, the innermost that is known first; systemd, which others build upon,
// only when there is nobody else.
func (m *makers) ofGroup(path string) (maker Maker, part string) {
	parts := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	for i := len(parts) - 1; i >= 0; i-- {
		found, ok := m.groups.find(parts[i])
		if ok && found.ID != "systemd" {
			return found, parts[i]
		}
		if ok && maker.ID == "" {
			maker, part = found, parts[i]
		}
	}
	if maker.ID == "" {
		return Maker{"hand"}, ""
	}
	return maker, part
}
