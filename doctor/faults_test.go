package doctor

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// injection is a fault, put into a healthy world, and what the doctor must say of it: this, and nothing else.
type injection struct {
	name   string
	world  func(*scene) // nil: ours
	break_ func(*scene)
	want   []string
	// mends says that the commands of the finding make the world healthy again; those that need mydocker itself are run by `sync`.
	mends bool
}

func run(script string) func(*scene) { return func(s *scene) { must(s.t, script) } }

func (s *scene) hostLink(container string) string {
	for _, l := range strings.Fields(output(s.t, "ls "+s.root.Run+"/endpoints/*/*.json")) {
		text, err := os.ReadFile(l)
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(string(text), fmt.Sprintf("%q: %q", "ContainerName", container)) {
			_, rest, _ := strings.Cut(string(text), `"HostLink": "`)
			name, _, _ := strings.Cut(rest, `"`)
			return name
		}
	}
	s.t.Fatalf("container %s has no endpoint", container)
	return ""
}

func output(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func injections() []injection {
	return []injection{
		// Links.
		{"bridge deleted", nil, run("ip link del br0"), []string{"bridge-missing br0"}, true},
		{"cable deleted", nil, run("ip -n db link del eth0"), []string{"link-missing db"}, false},
		{"address taken away", nil, run("ip -n db addr flush dev eth0"), []string{"address-missing db"}, true},
		{"bridge down", byHand, run("ip link set br7 down"), []string{"bridge-down br7"}, true},
		{"bridge of ours down", nil, run("ip link set br0 down"), []string{"bridge-down br0"}, true},
		{"outer end down", byHand, run("ip link set v2 down"), []string{"veth-down host:v2"}, true},
		{"inner end down", nil, run("ip -n db link set eth0 down"), []string{"veth-down db:eth0"}, true},
		{"lo down", byHand, run("ip -n ns2 link set lo down"), []string{"lo-down ns2"}, true},
		{"cable pulled out", byHand, run("ip link set v2 nomaster"), []string{"veth-not-enslaved v2"}, true},
		{"cable of ours pulled out", nil, func(s *scene) { must(s.t, "ip link set "+s.hostLink("db")+" nomaster") }, []string{"veth-not-enslaved $db"}, true},
		{"two cables and no bridge", func(s *scene) {}, run(`for i in 1 2; do ip netns add n$i; ip link add c$i type veth peer name eth0 netns n$i; ip link set c$i up
			ip -n n$i link set lo up; ip -n n$i link set eth0 up; ip -n n$i addr add 10.5.0.1$i/24 dev eth0; done`), []string{"veths-without-bridge c1 c2"}, true},
		{"host's NIC in the bridge", byHand, run("ip link set eth0 master br7"), []string{"nic-in-bridge eth0"}, true},

		// Addresses and routes.
		{"bridge without address", byHand, run("ip addr flush dev br7"), []string{"bridge-without-address br7"}, true},
		{"wrong gateway", byHand, run("ip -n ns2 route replace default via 192.168.7.254"), []string{"wrong-gateway ns2"}, true},
		{"no route to the neighbours", nil, run("ip route flush dev br0"), []string{"no-neighbour-route br0"}, true},
		{"no routes within", byHand, run("ip -n ns2 route flush dev eth0"), []string{"no-default-route ns2", "no-neighbour-route ns2"}, true},
		{"no default route", byHand, run("ip -n ns2 route del default"), []string{"no-default-route ns2"}, true},
		{"no default route of ours", nil, run("ip -n db route del default"), []string{"no-default-route db"}, true},
		{"the host's default route is lost", nil, run("ip route del default"), []string{"no-way-out host"}, true},
		{"the host's default route is lost, by hand", byHand, run("ip route del default"), []string{"no-way-out host"}, true},
		{"black hole", byHand, run("ip route add blackhole 192.168.7.12/32"), []string{"blackhole-route host"}, true},
		{"wrong netmask", byHand, run("ip -n ns2 addr add 192.168.7.12/16 dev eth0; ip -n ns2 addr del 192.168.7.12/24 dev eth0; ip -n ns2 route replace default via 192.168.7.1"), []string{"wrong-netmask ns2"}, true},
		{"wrong subnet", byHand, run("ip -n ns2 addr flush dev eth0; ip -n ns2 addr add 192.168.8.12/24 dev eth0"), []string{"wrong-subnet ns2"}, false},
		{"duplicate address", byHand, run("ip -n ns2 addr flush dev eth0; ip -n ns2 addr add 192.168.7.11/24 dev eth0; ip -n ns2 route add default via 192.168.7.1"), []string{"duplicate-address 192.168.7.11"}, true},
		{"a container's address on the host's card", byHand, run("ip addr add 192.168.7.12/24 dev eth0"), []string{"duplicate-address 192.168.7.12", "overlapping-subnets eth0 br7"}, false},
		{"the same before the bridge has an address", byHand, run("ip addr flush dev br7; for i in 1 2; do ip -n ns$i route del default; done; ip addr add 192.168.7.12/24 dev eth0"), []string{"duplicate-address 192.168.7.12"}, false},
		{"duplicate MAC", byHand, run("ip -n ns1 link set eth0 address 02:11:22:33:44:55; ip -n ns2 link set eth0 address 02:11:22:33:44:55"), []string{"duplicate-mac 02:11:22:33:44:55"}, true},
		{"wrong static neighbour", byHand, run("ip neigh replace 192.168.7.11 lladdr 02:aa:bb:cc:dd:ee dev br7 nud permanent"), []string{"wrong-neighbor host:192.168.7.11"}, true},
		{"overlapping subnets", nil, run("ip link add br8 type bridge; ip addr add 172.30.0.200/16 dev br8; ip link set br8 up"), []string{"overlapping-subnets br0 br8"}, false},
		{"a VPN's route", nil, run("ip route add 172.30.0.0/25 via 10.99.0.2"), []string{"route-overlap br0"}, false},
		{"big packets", byHand, run("ip link set eth0 mtu 1400"), []string{"mtu ns1", "mtu ns2"}, true},
		{"bigger than its cable", byHand, run("ip link set v2 mtu 1400; ip link set br7 mtu 1500"), []string{"mtu ns2"}, true},

		// Settings.
		{"ip_forward off", nil, run("sysctl -qw net.ipv4.ip_forward=0"), []string{"ip-forward-off host"}, true},
		{"ip_forward off by hand", byHand, run("sysctl -qw net.ipv4.ip_forward=0"), []string{"ip-forward-off host"}, true},
		{"one link does not forward", byHand, run("sysctl -qw net.ipv4.conf.br7.forwarding=0"), []string{"link-forward-off br7"}, true},
		{"strict rp_filter", byHand, run("ip -n ns2 addr add 10.77.0.1/32 dev lo; ip -n ns2 route replace default via 192.168.7.1 src 10.77.0.1; sysctl -qw net.ipv4.conf.br7.rp_filter=1"), []string{"rp-filter ns2"}, true},
		{"route_localnet off", nil, run("sysctl -qw net.ipv4.conf.br0.route_localnet=0"), []string{"route-localnet br0"}, true},

		// Rules.
		{"FORWARD DROP by hand", byHand, run("iptables -P FORWARD DROP"), []string{"forward-policy br7"}, true},
		{"FORWARD DROP after iptables -F", nil, run("iptables -F; iptables -P FORWARD DROP"), []string{"forward-policy br0"}, true},
		{"bridge-nf", byHand, run("ip -n ns1 route del default; ip -n ns2 route del default; iptables -t nat -F; sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables -P FORWARD DROP"), []string{"bridge-nf br7"}, true},
		{"foreign DROP", nil, run("iptables -I FORWARD -i br0 -j DROP"), []string{"foreign-drop filter FORWARD: -i br0 -j DROP"}, true},
		{"foreign DROP by nft", byHand, run("nft 'add table inet fw'; nft 'add chain inet fw f { type filter hook forward priority 10; }'; nft 'add rule inet fw f ip saddr 192.168.7.0/24 drop'"), []string{"foreign-drop inet fw f: ip saddr 192.168.7.0/24 drop"}, true},
		{"old and new iptables", byHand, run("iptables -P FORWARD DROP; iptables -A FORWARD -i br7 -j ACCEPT; iptables -A FORWARD -o br7 -j ACCEPT; iptables-legacy -P FORWARD DROP; iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT"), []string{"legacy-split host"}, true},
		{"no MASQUERADE", byHand, run("iptables -t nat -D POSTROUTING 1"), []string{"masquerade-missing br7"}, true},
		{"no MASQUERADE of ours", nil, run("iptables -t nat -D POSTROUTING 1"), []string{"masquerade-missing br0"}, true},
		{"MASQUERADE for one of two", byHand, run("iptables -t nat -R POSTROUTING 1 -s 192.168.7.11 -o eth0 -j MASQUERADE"), []string{"masquerade-misplaced br7"}, true},
		{"MASQUERADE for the wrong link", byHand, run("iptables -t nat -R POSTROUTING 1 -s 192.168.7.0/24 -o br7 -j MASQUERADE"), []string{"masquerade-misplaced br7"}, true},
		{"SNAT to an address of nobody", byHand, run("iptables -t nat -R POSTROUTING 1 -s 192.168.7.0/24 -o eth0 -j SNAT --to-source 10.99.0.50"), []string{"snat-wrong br7"}, true},
		{"SNAT to the bridge's own address", byHand, run("iptables -t nat -R POSTROUTING 1 -s 192.168.7.0/24 -o eth0 -j SNAT --to-source 192.168.7.1"), []string{"snat-wrong br7"}, true},
		{"iptables -F of ours", nil, run("iptables -F"), []string{"isolation-missing br0"}, true},
		{"raw rules flushed", nil, run("iptables -t raw -F MYDOCKER"), []string{"guard-missing br0"}, true},

		// Published ports.
		{"DNAT gone", nil, run("iptables -t nat -F MYDOCKER"), []string{"dnat-missing port 8080/tcp"}, true},
		{"DNAT shadowed", nil, run("iptables -t nat -I PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.30.0.77:80"), []string{"dnat-shadowed port 8080/tcp", "dnat-wrong port 8080/tcp"}, true},
		{"DNAT shadowed by hand", byHand, run("iptables -t nat -I PREROUTING -p tcp --dport 9090 -j RETURN"), []string{"dnat-shadowed port 9090/tcp"}, true},
		{"DNAT to nobody", byHand, run("iptables -t nat -R PREROUTING 1 -p tcp --dport 9090 -j DNAT --to-destination 192.168.7.99:90"), []string{"dnat-wrong port 9090/tcp"}, true},
		{"DNAT in OUTPUT", byHand, run("iptables -t nat -F PREROUTING; iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -p tcp --dport 9090 -j DNAT --to-destination 192.168.7.11:90"), []string{"dnat-wrong-chain port 9090/tcp"}, true},
		{"no hairpin by hand", byHand, run("iptables -t nat -D POSTROUTING 2"), []string{"hairpin br7"}, true},
		{"hairpin off", nil, func(s *scene) { must(s.t, "bridge link set dev "+s.hostLink("web")+" hairpin off") }, []string{"hairpin web"}, true},
		{"nobody listens", nil, func(s *scene) { s.listeners[0].Close() }, []string{"not-listening web port 8080/tcp"}, false},
		{"listens on 127.0.0.1", nil, func(s *scene) { s.listeners[0].Close(); s.serve("web", "127.0.0.1:80") }, []string{"listens-on-loopback web port 8080/tcp"}, false},
		{"port taken by hand", byHand, func(s *scene) { s.serve("", "0.0.0.0:9090") }, []string{"port-taken port 9090/tcp"}, false},
		{"port taken before the start", nil, func(s *scene) {
			s.serve("", "0.0.0.0:7070")
			s.containers = append(s.containers, &world.Container{ID: strings.Repeat("c", 64), Name: "late", State: "created", Wanted: []network.PortMapping{{HostPort: 7070, ContainerPort: 80, Count: 1, Proto: "tcp"}}})
		}, []string{"port-taken port 7070/tcp"}, false},
		{"old UDP flow", func(s *scene) {}, staleFlow, []string{"conntrack-stale port 5353/udp"}, true},

		// Names.
		{"resolver unreachable", byHand, run("mkdir -p /etc/netns/ns1; echo nameserver 127.0.0.53 > /etc/netns/ns1/resolv.conf"), []string{"resolver-unreachable ns1"}, false},
		{"resolver without a route", byHand, run("ip -n ns1 route del default; iptables -t nat -D POSTROUTING 1; ip -n lan route add 192.168.7.0/24 via 10.99.0.1; mkdir -p /etc/netns/ns1; echo nameserver 10.99.0.2 > /etc/netns/ns1/resolv.conf"), []string{"resolver-unreachable ns1"}, false},
		{"embedded resolver dead", nil, func(s *scene) { s.file("db", "resolv.conf", "nameserver 127.0.0.11\noptions ndots:0\n") }, []string{"resolver-unreachable db"}, false},
		{"names on the default bridge", defaultNetwork, func(s *scene) {
			s.containers = append(s.containers, &world.Container{ID: s.ids[1], Name: "app", State: "running", Args: []string{"app"}, Env: []string{"DATABASE=postgres://db:5432/x"}},
				&world.Container{ID: s.ids[0], Name: "db", State: "running"})
		}, []string{"names-on-default-bridge app"}, false},

		// Records.
		{"no address left", func(s *scene) {
			s.network(network.CreateOptions{Name: "tiny", Subnet: "172.31.0.0/30"})
			s.network(network.CreateOptions{Name: "wire", Subnet: "172.31.1.0/31"})
			s.container("pair", "wire")
		}, func(s *scene) { s.container("only", "tiny") }, []string{"addresses-exhausted tiny"}, false},
		{"a cable of nobody", nil, run("ip link add veth0123456789a type veth peer name x9; ip link set x9 up; ip link set veth0123456789a up"), []string{"leaked-link veth0123456789a"}, true},
		{"a rule of nobody", nil, run(`iptables -t nat -A MYDOCKER -p tcp --dport 6060 -m comment --comment "mydocker gone 0.0.0.0:6060->80/tcp 0123456789ab" -j DNAT --to-destination 172.30.0.9:80`),
			[]string{`leaked-rule nat MYDOCKER: -p tcp -m tcp --dport 6060 -m comment --comment "mydocker gone 0.0.0.0:6060->80/tcp 0123456789ab" -j DNAT --to-destination 172.30.0.9:80`}, true},
		{"a namespace of nobody", nil, func(s *scene) {
			must(s.t, "ip netns add gone; mkdir -p "+s.root.Run+"/sandboxes; echo -n gone > "+s.root.Run+"/sandboxes/"+strings.Repeat("d", 64))
		}, []string{"leaked-namespace gone"}, false},
		{"an endpoint of a dead container", nil, func(s *scene) {
			s.containers = append(s.containers, &world.Container{ID: s.ids[1], Name: "db", State: "exited"})
		}, []string{"leaked-endpoint db"}, false},
		{"limits of processes", nil, func(s *scene) {
			// A shell in the shell, which together are as many as may be: its fork fails, however fast other processes end.
			s.limited("pids", map[string]string{"pids.max": "2"}, "sh -c ': | :'")
		}, []string{"pids-limit db"}, false},
		{"limit of memory", nil, func(s *scene) {
			// Whom the kernel kills is for it to choose: the hungry one says that it should be it, and not the shell.
			s.limited("memory", map[string]string{"memory.limit_in_bytes": "16777216", "memory.max": "16777216", "memory.swap.max": "0"},
				"head -c 64000000 /dev/zero | (echo 1000 > /proc/self/oom_score_adj; exec tail) | wc -c")
		}, []string{"memory-limit db"}, false},
		{"limit of the processor", nil, func(s *scene) {
			s.limited("cpu", map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "1000", "cpu.max": "1000 100000"}, "while :; do :; done") // a share that it gets on the busiest machine
		}, []string{"cpu-limit db"}, false},
	}
}

// staleFlow: a client has been sending to the port before the rule was made, so the kernel leads it to the host itself.
func staleFlow(s *scene) {
	byHand(s)
	must(s.t, "iptables -t nat -A OUTPUT -p udp --dport 1 -j ACCEPT") // the kernel follows connections where there are nat rules
	before := s.serveUDP("", "10.99.0.1:5353")
	var client net.Conn
	if err := door("lan").Do(func() (err error) { client, err = net.Dial("udp4", "10.99.0.1:5353"); return err }); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	if _, err := client.Write([]byte("?")); err != nil {
		s.t.Fatal(err)
	}
	before.SetReadDeadline(time.Now().Add(time.Minute))
	if _, _, err := before.ReadFrom(make([]byte, 10)); err != nil { // until it has come there is no flow
		s.t.Fatal(err)
	}
	before.Close()
	must(s.t, "iptables -t nat -D OUTPUT -p udp --dport 1 -j ACCEPT; iptables -t nat -A PREROUTING -i eth0 -p udp --dport 5353 -j DNAT --to-destination 192.168.7.12:53")
	s.serveUDP("ns2", "0.0.0.0:53")
}

func defaultNetwork(s *scene) {
	s.container("db", "bridge")
	s.container("app", "bridge")
}

// file puts a file where the engine keeps a container's.
func (s *scene) file(container, name, text string) {
	s.t.Helper()
	for i, c := range []string{"web", "db"} {
		if c != container {
			continue
		}
		dir := s.root.Container(s.ids[i])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// limited runs a script in a cgroup of its own that it overruns, as container db.
func (s *scene) limited(controller string, settings map[string]string, script string) {
	s.t.Helper()
	base := "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(base, controller)); err == nil {
		base = filepath.Join(base, controller)
	} else if err := os.WriteFile(filepath.Join(base, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil { // as the product does
		s.t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, "doctor-test")
	if err != nil {
		s.t.Fatal(err)
	}
	wrote := 0
	for _, name := range []string{"pids.max", "memory.limit_in_bytes", "memory.max", "memory.swap.max", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.max"} {
		if value, ok := settings[name]; ok && os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644) == nil {
			wrote++
		}
	}
	cmd := exec.Command("bash", "-c", "read; { "+script+"; } >/dev/null 2>&1; exec sleep 3600")
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for range 3000 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		s.t.Errorf("cgroup %s is left", dir)
	})
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(cmd.Process.Pid)), 0o644); err != nil || wrote == 0 {
		s.t.Fatal(err, wrote)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		s.t.Fatal(err)
	}
	db := &world.Container{ID: s.ids[1], Name: "db", State: "running", Pid: cmd.Process.Pid}
	for range 3000 { // until the kernel has counted
		if l := db.Limits(); l.Memory+l.OOMKills+l.Pids > 0 || l.Throttled > 12 && l.Throttled*4 > l.Periods*3 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.containers = append(s.containers, db)
}

// Each fault is named, and nothing else; where the doctor knows commands that mend it, they do.
func TestFaults(t *testing.T) {
	covered := map[string]bool{}
	for _, in := range append(injections(), injections6()...) {
		for _, w := range in.want {
			id, _, _ := strings.Cut(w, " ")
			covered[id] = true
		}
		t.Run(in.name, func(t *testing.T) {
			s := newScene(t, network.FirewallIPTables)
			if in.world == nil {
				in.world = ours
			}
			in.world(s)
			if got := keys(s.examine()); len(got) > 0 {
				t.Fatalf("the healthy world has %q", got)
			}
			in.break_(s)
			want := slices.Clone(in.want)
			for i := range want {
				if strings.Contains(want[i], "$db") {
					want[i] = strings.ReplaceAll(want[i], "$db", s.hostLink("db"))
				}
			}
			slices.Sort(want)
			r := s.examine()
			if got := keys(r); !slices.Equal(got, want) {
				t.Fatalf("named %q\nwant  %q", got, want)
			}
			spoken(t, r)
			if !in.mends {
				return
			}
			for _, f := range r.Findings {
				if len(f.Commands) == 0 {
					t.Fatalf("%s: no command mends it", f.Key())
				}
				for _, c := range f.Commands {
					s.mend(c)
				}
			}
			if got := keys(s.examine()); len(got) > 0 {
				t.Errorf("after %q there is still %q", r.Findings[0].Commands, got)
			}
		})
	}
	for _, id := range Faults() {
		if !covered[id] {
			t.Errorf("no test injects the fault %s", id)
		}
	}
	if len(Faults()) < 30 {
		t.Errorf("only %d faults", len(Faults()))
	}
}

// mend runs a command as a user would, in the scene's own trees.
func (s *scene) mend(command string) {
	s.t.Helper()
	if command == sync {
		if _, err := s.m.Sync(s.t.Context(), false); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	must(s.t, command)
}
