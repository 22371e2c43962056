package doctor

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// spoken asserts that a report can be said in each language, with nothing missing.
func spoken(t *testing.T, r *Report) {
	t.Helper()
	for _, l := range lang.Languages() {
		texts, err := lang.Open(l)
		if err != nil {
			t.Fatal(err)
		}
		if text := r.Text(texts, nil); strings.Contains(text, "⟪") || len(text) < 40 {
			t.Errorf("%s: %s", l, text)
		}
	}
	for _, f := range r.Findings {
		if len(f.Evidence) == 0 || len(f.About) == 0 {
			t.Errorf("%s has no evidence, or is about nothing", f.Key())
		}
		for _, c := range f.Commands {
			if _, err := split(c); err != nil || !harmless(c) {
				t.Errorf("command %q cannot be run: %v", c, err)
			}
		}
	}
}

// Healthy worlds raise nothing.
func TestHealthyWorlds(t *testing.T) {
	worlds := []struct {
		name string
		make func(*scene)
	}{
		{"nothing", func(*scene) {}},
		{"one network", ours},
		{"by hand", byHand},
		{"both", func(s *scene) { ours(s); byHand(s) }},
		{"dual stack", dual},
		{"IPv6 by hand", byHand6},
		{"dual stack, and both by hand", func(s *scene) {
			dual(s)
			byHand6(s)
		}},
		{"several dual stack networks", func(s *scene) {
			dual(s)
			s.network(network.CreateOptions{Name: "inner", Internal: true, EnableIPv6: true})
			s.network(network.CreateOptions{Name: "quiet", EnableIPv6: true, Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"}})
			s.network(network.CreateOptions{Name: "plain", EnableIPv6: true, Options: map[string]string{"com.docker.network.bridge.enable_ip_masquerade": "false"}})
			s.container("a", "inner")
			s.container("b", "inner")
			s.container("c", "quiet", "9000-9003:9000-9003", "5300:53/udp")
			s.container("d", "quiet", "127.0.0.1:7000:7000")
			s.container("l", "quiet", "[::1]:7005:7005")
			s.container("e", "plain", "[fd99::1]:7001:80")
		}},
		{"a host with IPv6 bridge-nf that forwards for nobody", func(s *scene) {
			must(s.t, "sysctl -qw net.bridge.bridge-nf-call-ip6tables=1; ip6tables -P FORWARD DROP; ip6tables -P INPUT DROP; ip6tables -A INPUT -p ipv6-icmp -j ACCEPT")
			dual(s)
		}},
		{"a host that hears routers", func(s *scene) {
			must(s.t, "ip -6 route replace default via fd99::2 proto ra; sysctl -qw net.ipv6.conf.eth0.accept_ra=2")
			dual(s)
		}},
		{"containers of other modes", func(s *scene) {
			dual(s)
			s.container("local", "br0", "127.0.0.1:7000:7000")
			s.containers = append(s.containers, &world.Container{ID: strings.Repeat("a", 64), Name: "onhost", State: "running", Pid: os.Getpid()}, // --net host
				&world.Container{ID: strings.Repeat("b", 64), Name: "stopped", State: "exited", Wanted: []network.PortMapping{{HostPort: 8081, ContainerPort: 80, Count: 1, Proto: "tcp"}}},
				&world.Container{ID: strings.Repeat("c", 64), Name: "alone", State: "running", Pid: s.process("alone")}, // --net none
				&world.Container{ID: strings.Repeat("d", 64), Name: "guest", State: "running", Pid: s.process("web")})   // --net container:web
		}},
		{"no network, as --net none wants it", func(s *scene) {
			ours(s)
			s.containers = append(s.containers, &world.Container{ID: strings.Repeat("c", 64), Name: "alone", State: "running", Pid: s.process("alone")})
			dir := s.root.Container(strings.Repeat("c", 64))
			must(s.t, "mkdir -p "+dir+"; echo nameserver 10.255.255.53 > "+dir+"/resolv.conf")
		}},
		{"IPv4 only on a host without IPv6", func(s *scene) {
			must(s.t, "ip -6 route del default; ip -6 addr flush dev eth0 scope global; sysctl -qw net.ipv6.conf.all.forwarding=0")
			ours(s)
		}},
		{"proxies instead of rules", func(s *scene) {
			s.proxy = true
			dual(s)
		}},
		{"several networks", func(s *scene) {
			ours(s)
			s.network(network.CreateOptions{Name: "inner", Internal: true})
			s.network(network.CreateOptions{Name: "quiet", Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"}})
			s.network(network.CreateOptions{Name: "plain", Options: map[string]string{"com.docker.network.bridge.enable_ip_masquerade": "false"}})
			s.container("a", "inner")
			s.container("b", "inner")
			s.container("c", "quiet", "9000-9003:9000-9003", "5300:53/udp")
			s.container("d", "quiet", "127.0.0.1:7000:7000")
			s.container("e", "plain", "10.99.0.1:7001:80")
			s.container("f", "bridge")
		}},
		{"a host that knows one network behind its own, and no default route", func(s *scene) {
			must(s.t, "ip route del default; ip route add 203.0.113.0/24 via 10.99.0.2")
			ours(s)
		}},
		{"a host whose cable is out", func(s *scene) {
			must(s.t, "ip addr flush dev eth0; ip -6 route del default")
			dual(s)
		}},
		{"a host without a way out, with internal networks", func(s *scene) {
			must(s.t, "ip route del default")
			s.network(network.CreateOptions{Name: "inner", Internal: true})
			s.container("a", "inner")
		}},
		{"a host without a way out, and nobody who wants one", func(s *scene) {
			must(s.t, "ip route del default")
			s.network(network.CreateOptions{Name: "routed", Options: map[string]string{"com.docker.network.bridge.enable_ip_masquerade": "false"}})
			s.container("a", "routed")
		}},
		{"a host whose routes are in other tables", func(s *scene) {
			must(s.t, "ip route del default; ip route add default via 10.99.0.2 table 77; ip rule add from all lookup 77 pref 30000")
			s.t.Cleanup(func() { must(s.t, "ip rule del pref 30000; ip route flush table 77") })
			ours(s)
		}},
		{"a host that forwards for nobody", func(s *scene) {
			must(s.t, "iptables -P FORWARD DROP; iptables -A INPUT -i eth0 -p tcp --dport 22 -j ACCEPT")
			ours(s)
		}},
		{"a host with bridge-nf", func(s *scene) {
			must(s.t, "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables -P FORWARD DROP")
			ours(s)
		}},
		{"the user's own restriction", func(s *scene) {
			ours(s)
			must(s.t, "iptables -N MYDOCKER-USER 2>/dev/null || true; iptables -A MYDOCKER-USER -o br0 -m conntrack --ctstate NEW -s 203.0.113.0/24 -j DROP")
		}},
		{"a switch without a router", func(s *scene) {
			must(s.t, `ip link add br9 type bridge; ip link set br9 up
				for i in 1 2; do ip netns add h$i; ip link add w$i type veth peer name eth0 netns h$i; ip link set w$i master br9 up
				ip -n h$i addr add 10.8.0.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link set lo up; done`)
		}},
		{"a router that is known", func(s *scene) { // no translation: the neighbour knows the way back
			byHand(s)
			must(s.t, "iptables -t nat -D POSTROUTING 1; ip -n lan route add 192.168.7.0/24 via 10.99.0.1")
		}},
		{"a cable from one to another", func(s *scene) {
			must(s.t, `ip netns add p1; ip netns add p2; ip link add e1 netns p1 type veth peer name e2 netns p2
				ip -n p1 addr add 10.6.0.1/30 dev e1; ip -n p2 addr add 10.6.0.2/30 dev e2
				for i in 1 2; do ip -n p$i link set e$i up; ip -n p$i link set lo up; done; ip netns add empty`)
		}},
	}
	for _, w := range worlds {
		for _, backend := range []string{network.FirewallIPTables, network.FirewallNFTables} {
			t.Run(w.name+" "+backend, func(t *testing.T) {
				s := newScene(t, backend)
				w.make(s)
				if r := s.examine(); len(r.Findings) > 0 {
					texts, err := lang.Open("en")
					if err != nil {
						t.Fatal(err)
					}
					t.Errorf("named:\n%s", r.Text(texts, nil))
				}
			})
		}
	}
}

// The nftables backend is judged by what it does, too.
func TestFaultsWithNFTables(t *testing.T) {
	for _, in := range []injection{
		{"map emptied", nil, run("nft flush map ip mydocker ports"), []string{"dnat-missing port 8080/tcp"}, true},
		{"foreign DROP", nil, run("nft 'add table inet fw'; nft 'add chain inet fw f { type filter hook forward priority -5; }'; nft 'add rule inet fw f iifname br0 drop'"), []string{`foreign-drop inet fw f: iifname "br0" drop`}, true},
		{"an element of nobody", nil, run(`nft 'add element ip mydocker ports { tcp . 6060 comment "mydocker gone 0.0.0.0:6060->80/tcp 0123456789ab" : 172.30.0.9 . 80 }'`), []string{"leaked-rule ip mydocker publish: tcp . 6060"}, true},
		{"6: map emptied", dual, run("nft flush map ip6 mydocker ports"), []string{"dnat-missing port 8080/tcp"}, true},
		{"6: an element of nobody", dual, run(`nft 'add element ip6 mydocker ports { tcp . 6060 comment "mydocker gone 0.0.0.0:6060->80/tcp 0123456789ab" : fd00:30::9 . 80 }'`), []string{"leaked-rule ip6 mydocker publish: tcp . 6060"}, true},
		{"6: chains flushed", dual, run("nft flush chain ip6 mydocker forward; nft flush chain ip6 mydocker postrouting"), []string{"hairpin br0", "isolation-missing br0", "masquerade-missing br0"}, true},
		{"ip_forward off", nil, run("sysctl -qw net.ipv4.ip_forward=0"), []string{"ip-forward-off host"}, true},
		{"hairpin off", nil, func(s *scene) { must(s.t, "bridge link set dev "+s.hostLink("web")+" hairpin off") }, []string{"hairpin web"}, true},
	} {
		t.Run(in.name, func(t *testing.T) {
			s := newScene(t, network.FirewallNFTables)
			if in.world == nil {
				in.world = ours
			}
			in.world(s)
			in.break_(s)
			r := s.examine()
			if got := keys(r); !slices.Equal(got, in.want) {
				t.Fatalf("named %q\nwant  %q", got, in.want)
			}
			spoken(t, r)
			for _, f := range r.Findings {
				for _, c := range f.Commands {
					s.mend(c)
				}
			}
			if got := keys(s.examine()); len(got) > 0 {
				t.Errorf("after %q there is still %q", r.Findings[0].Commands, got)
			}
		})
	}
}

// Somebody asks about one container, network or port.
func TestOnly(t *testing.T) {
	s := newScene(t, network.FirewallIPTables)
	ours(s)
	must(t, "ip -n db route del default; iptables -t nat -F MYDOCKER")
	ctx := context.Background()
	w, err := world.Read(ctx, world.Options{Root: s.root})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Examine(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string][]string{
		"db": {"no-default-route db"}, "web": {"dnat-missing port 8080/tcp"}, "8080": {"dnat-missing port 8080/tcp"}, "8080/udp": nil,
		"br0": {"dnat-missing port 8080/tcp", "no-default-route db"}, "lan": nil,
	} {
		few, err := r.Only(w, ref)
		if err != nil || !slices.Equal(keys(few), want) {
			t.Errorf("%s: %q, %v; want %q", ref, keys(few), err, want)
		}
	}
	if _, err := r.Only(w, "nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("an unknown name: %v", err)
	}
}

// Names that a shell would obey never come into a command.
func TestHarmless(t *testing.T) {
	for _, c := range []string{"ip link set $(reboot) up", "ip link del a;reboot", "nft \"$x\"", "ip link set `id` up", "a\nb", "ip 'x"} {
		if harmless(c) {
			t.Errorf("%q is taken for harmless", c)
		}
	}
	s := newScene(t, network.FirewallIPTables)
	must(t, `ip link add br0 type bridge; ip netns add ns1; ip link add '$(id)' type veth peer name eth0 netns ns1; ip link set '$(id)' master br0; ip -n ns1 link set eth0 up; ip link set br0 up`)
	r := s.examine()
	if got := keys(r); !slices.Equal(got, []string{"veth-down host:$(id)"}) || r.Findings[0].Commands != nil {
		t.Errorf("named %q with %q", got, r.Findings)
	}
}

// The mender runs what is there, without a shell.
func TestSplit(t *testing.T) {
	words, err := split(`iptables -t nat -D MYDOCKER -m comment --comment "mydocker \"web\" 0.0.0.0:8080->80/tcp" -j DNAT 'a b'`)
	want := []string{"iptables", "-t", "nat", "-D", "MYDOCKER", "-m", "comment", "--comment", `mydocker "web" 0.0.0.0:8080->80/tcp`, "-j", "DNAT", "a b"}
	if err != nil || !slices.Equal(words, want) {
		t.Errorf("%q, %v", words, err)
	}
	for _, bad := range []string{"", "a 'b", `a "`} {
		if _, err := split(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`a "b \" c" 'd'`)
	f.Fuzz(func(t *testing.T, s string) {
		if words, err := split(s); err == nil && len(words) == 0 {
			t.Error("no words and no error")
		}
		harmless(s)
	})
}

// The documents name every fault.
func TestDocuments(t *testing.T) {
	for _, file := range []string{"../docs/doctor.md", "../docs/doctor.zh-CN.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range Faults() {
			if !strings.Contains(string(text), "| `"+id+"` |") {
				t.Errorf("%s does not name the fault %s", file, id)
			}
		}
	}
}
