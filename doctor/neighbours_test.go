package doctor

import (
	"testing"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/network"
)

// docker is a host with Docker and a container of its own that publishes a port, as iptables-save of Docker 27 shows it.
const docker = `ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up; sysctl -qw net.ipv4.ip_forward=1
	ip netns add d1; ip link add vethd1 type veth peer name eth0 netns d1; ip link set vethd1 master docker0 up; bridge link set dev vethd1 hairpin on
	ip -n d1 addr add 172.17.0.2/16 dev eth0; ip -n d1 link set eth0 up; ip -n d1 link set lo up; ip -n d1 route add default via 172.17.0.1
	iptables-restore -n <<'.'
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
.
`

// Others who have rules and links on a host, and are well.
func TestHealthyNeighbours(t *testing.T) {
	tun := `ip link add tun9 type veth peer name far9; ip addr add 10.8.0.6/24 dev tun9; ip link set tun9 up; ip link set far9 up
		ip route add 0.0.0.0/1 via 10.8.0.1; ip route add 128.0.0.0/1 via 10.8.0.1; ip route add 10.0.0.0/8 via 10.8.0.1`
	for name, make := range map[string]func(*scene){
		"Docker": func(s *scene) { must(s.t, docker); s.serve("d1", "0.0.0.0:80") },
		"Docker first, then ours": func(s *scene) {
			must(s.t, docker)
			s.serve("d1", "0.0.0.0:80")
			ours(s)
		},
		"ours first, then Docker": func(s *scene) {
			ours(s)
			must(s.t, docker)
			s.serve("d1", "0.0.0.0:80")
			s.mend(sync) // with nftables, our bridges have to be let through a FORWARD that drops by now
		},
		"a VPN that takes over everything": func(s *scene) { must(s.t, tun); ours(s); byHand(s) },
		"a VPN and no default route":       func(s *scene) { must(s.t, tun+"; ip route del default"); ours(s) },
		"macvlan": func(s *scene) {
			s.network(network.CreateOptions{Name: "wire", Driver: "macvlan", Subnet: "10.99.0.0/24", Gateway: "10.99.0.2", IPRange: "10.99.0.64/28", Options: map[string]string{"parent": "eth0"}})
			s.container("a", "wire")
			s.container("b", "wire")
			ours(s)
		},
		"firewalld, with our bridge in the zone of the trusted": func(s *scene) {
			ours(s)
			must(s.t, `nft -f - <<'.'
				table inet firewalld {
					chain filter_INPUT { type filter hook input priority filter + 10; policy accept; ct state { established, related } accept; ct status dnat accept; iifname "lo" accept; iifname "br0" accept; tcp dport 22 accept; meta l4proto { icmp, ipv6-icmp } accept; reject with icmpx admin-prohibited; }
					chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state { established, related } accept; ct status dnat accept; iifname "lo" accept; iifname "br0" accept; oifname "br0" accept; ct state invalid drop; reject with icmpx admin-prohibited; }
				}
.`)
		},
		"ufw": func(s *scene) {
			ours(s)
			must(s.t, `for c in INPUT FORWARD; do l=$(echo $c | tr A-Z a-z); iptables -N ufw-before-$l; iptables -N ufw-reject-$l; iptables -A $c -j ufw-before-$l; iptables -A $c -j ufw-reject-$l
				iptables -A ufw-before-$l -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -A ufw-before-$l -p icmp --icmp-type echo-request -j ACCEPT; iptables -P $c DROP; done
				iptables -A ufw-before-input -i lo -j ACCEPT; iptables -A ufw-before-input -m conntrack --ctstate INVALID -j DROP`)
			s.mend(sync)
		},
		"Kubernetes": func(s *scene) {
			ours(s)
			must(s.t, `iptables -N KUBE-FORWARD; iptables -A FORWARD -j KUBE-FORWARD; iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP; iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
				iptables -t nat -N KUBE-SVC; iptables -t nat -N KUBE-MARK; iptables -t nat -A KUBE-MARK -j MARK --or-mark 0x4000; iptables -t nat -A PREROUTING -j KUBE-SVC; iptables -t nat -A KUBE-SVC -d 10.96.0.1/32 -p tcp --dport 443 -j DNAT --to-destination 10.99.0.2:6443
				iptables -t nat -N KUBE-POST; iptables -t nat -A POSTROUTING -j KUBE-POST; iptables -t nat -A KUBE-POST -m mark ! --mark 0x4000/0x4000 -j RETURN; iptables -t nat -A KUBE-POST -j MASQUERADE
				ip link add cni0 type bridge; ip addr add 10.244.0.1/24 dev cni0; ip link set cni0 up; ip link add kube-ipvs0 type bridge; ip addr add 10.96.0.1/32 dev kube-ipvs0`)
		},
		"libvirt": func(s *scene) {
			ours(s)
			must(s.t, `ip link add virbr0 type bridge; ip addr add 192.168.122.1/24 dev virbr0; ip link set virbr0 up; iptables -t nat -A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE
				iptables -N LIBVIRT_FWI; iptables -A FORWARD -j LIBVIRT_FWI; iptables -A LIBVIRT_FWI -o virbr0 -j REJECT; iptables -A FORWARD -i virbr0 -j ACCEPT`)
		},
		"the old iptables alone": func(s *scene) {
			must(s.t, `ip link add br7 type bridge; ip addr add 192.168.7.1/24 dev br7; ip link set br7 up; sysctl -qw net.ipv4.ip_forward=1
				ip netns add ns1; ip link add v1 type veth peer name eth0 netns ns1; ip link set v1 master br7 up
				ip -n ns1 addr add 192.168.7.11/24 dev eth0; ip -n ns1 link set eth0 up; ip -n ns1 link set lo up; ip -n ns1 route add default via 192.168.7.1
				iptables-legacy -P FORWARD DROP; iptables-legacy -A FORWARD -i br7 -j ACCEPT; iptables-legacy -A FORWARD -o br7 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
				iptables-legacy -t nat -A POSTROUTING -s 192.168.7.0/24 -o eth0 -j MASQUERADE`)
		},
	} {
		for _, backend := range []string{network.FirewallIPTables, network.FirewallNFTables} {
			t.Run(name+" "+backend, func(t *testing.T) {
				s := newScene(t, backend)
				make(s)
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
