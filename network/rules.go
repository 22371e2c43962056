package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The rules, in the words of iptables-save. How packets come by them:
//
//	from outside ─> raw PREROUTING ─> nat PREROUTING ──> routing ─> filter FORWARD ─> nat POSTROUTING ─> container
//	                 └ MYDOCKER        └ MYDOCKER (DNAT)            └ MYDOCKER-FORWARD  └ masquerade
//	from the host itself ───────────> nat OUTPUT ─────> routing ────────────────────> nat POSTROUTING ─> container
//	                                   └ MYDOCKER (DNAT)
//
// Everything that can be said once per network is said once per network, so that a published port costs one rule.

// chain is one of ours: we alone write in it, except in MYDOCKER-USER, where we never do.
type chain struct{ table, name string }

// hook is the rule in a chain of the kernel's that leads into one of ours.
type hook struct {
	table, chain, rule string
	first              bool // before what others have there, or behind it
}

// ruleset is all that the networks need, without published ports.
type ruleset struct {
	chains []chain
	// rules are a chain's whole content. A chain without an entry has content that is not decided here.
	rules map[chain][]string
	// shared are rules of ours in a chain of the kernel's: they are known by their comment.
	shared []hook
	hooks  []hook
}

const commentMark = "mydocker "

var (
	rawChain      = chain{"raw", "MYDOCKER"}
	natChain      = chain{"nat", "MYDOCKER"}
	forwardChain  = chain{"filter", "MYDOCKER-FORWARD"}
	userChain     = chain{"filter", "MYDOCKER-USER"}
	internalChain = chain{"filter", "MYDOCKER-INTERNAL"}
	inChain       = chain{"filter", "MYDOCKER-IN"}
	outChain      = chain{"filter", "MYDOCKER-OUT"}
)

// ownChains are all our chains, those that others jump into last.
func ownChains() []chain {
	return []chain{rawChain, userChain, internalChain, inChain, outChain, forwardChain, natChain}
}

// portHooks lead to the published ports. Only packets to an address of the host's own are looked at: a container that
// talks to port 80 of some machine far away is none of our business. From outside, 127.0.0.0/8 cannot be meant
// either: a neighbour who sends such a packet would otherwise reach what is published on 127.0.0.1 alone. In IPv6 the host
// itself cannot mean ::1: the kernel lets no packet from ::1 onto a wire. Nor does it pass on what comes from fe80::/10. Both come to
// the port's socket, which the monitor serves (hostport.go).
func portHooks(v6 bool) []hook {
	pre, out := "! -d 127.0.0.0/8 ", ""
	if v6 {
		pre, out = "! -s fe80::/10 ! -d ::1/128 ", "! -s fe80::/10 ! -d ::1/128 "
	}
	return []hook{
		{table: "nat", chain: "PREROUTING", rule: pre + "-m addrtype --dst-type LOCAL -j MYDOCKER"},
		{table: "nat", chain: "OUTPUT", rule: out + "-m addrtype --dst-type LOCAL -j MYDOCKER"},
	}
}

// networkRules are the rules for these networks, in one address family.
func networkRules(networks []*Network, v6 bool) ruleset {
	networks = slices.DeleteFunc(slices.Clone(networks), func(n *Network) bool { return !n.speaks(v6) })
	if len(networks) == 0 {
		return ruleset{rules: map[chain][]string{}}
	}
	r := ruleset{
		chains: ownChains(),
		rules: map[chain][]string{
			rawChain: nil, internalChain: nil, inChain: nil, outChain: nil,
			// What the user wants comes first; then networks without a way in or out; then who may come in, of all
			// networks, before who may go out: so the way out of one network is no way into another.
			forwardChain: {"-j MYDOCKER-USER", "-j MYDOCKER-INTERNAL", "-j MYDOCKER-IN", "-j MYDOCKER-OUT"},
		},
		hooks: append([]hook{
			{table: "raw", chain: "PREROUTING", rule: "-j MYDOCKER"},
			{table: "filter", chain: "FORWARD", rule: "-j MYDOCKER-FORWARD", first: true},
		}, portHooks(v6)...),
	}
	if !v6 {
		r.guardLoopback()
	}
	for _, n := range networks {
		if v6 {
			r.add(rawChain, n, "no sender that is elsewhere", "-i %s -m rpfilter --invert -j DROP", n.Bridge)
			r.forward(n)
			r.masquerade(n, n.Subnet6)
			continue
		}
		r.forward(n)
		r.masquerade(n, n.subnets()...)
	}
	return r
}

func (r *ruleset) add(c chain, n *Network, why, format string, args ...any) {
	match, target, _ := strings.Cut(fmt.Sprintf(format, args...), " -j ")
	r.rules[c] = append(r.rules[c], match+comment(n.Name+": "+why)+" -j "+target)
}

// comment has no quotes and backslashes in it: iptables-save would show them in another way than they were given.
func comment(text string) string {
	if len(text) > 200 {
		text = text[:200] // the kernel takes 255 bytes
	}
	return ` -m comment --comment "` + commentMark + text + `"`
}

// In IPv6 a rule does what the setting rp_filter does in IPv4: a packet whose answer would leave by another link is dropped.

// guardLoopback: our bridges have route_localnet, so that 127.0.0.1:PORT on the host can reach a container; other programs set it
// on other links. Without these rules a container, or a neighbour on the LAN, could reach the host's loopback services in turn,
// or send packets that seem to come from them. No packet of loopback has a place on any wire (RFC 1122, 3.2.1.3), so it is said
// once for all links. IPv6 has no such switch: the kernel drops packets with ::1 that come over a wire.
func (r *ruleset) guardLoopback() {
	all := &Network{Name: "*"}
	r.add(rawChain, all, "no way to loopback over a wire", "-d 127.0.0.0/8 ! -i lo -j DROP")
	r.add(rawChain, all, "no sender in loopback on a wire", "-s 127.0.0.0/8 ! -i lo -j DROP")
}

func (r *ruleset) forward(n *Network) {
	b := n.Bridge
	within := "ACCEPT"
	if n.Options[OptICC] == "false" {
		within = "DROP"
	}
	if n.Internal {
		r.add(internalChain, n, "between its containers", "-i %s -o %s -j %s", b, b, within)
		r.add(internalChain, n, "no way in", "-o %s -j DROP", b)
		r.add(internalChain, n, "no way out", "-i %s -j DROP", b)
		return
	}
	r.add(inChain, n, "answers, and what is published", "-o %s -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT", b)
	r.add(inChain, n, "between its containers", "-i %s -o %s -j %s", b, b, within)
	r.add(inChain, n, "no other way in", "-o %s -j DROP", b)
	r.add(outChain, n, "the way out", "-i %s ! -o %s -j ACCEPT", b, b)
}

// masquerade: outside, a container's packets carry the host's address. The other two rules are for packets that a published
// port has turned back onto the bridge: from a container of the same network, which would get the answer directly
// and not recognise it; and from the host's 127.0.0.1, to which a container cannot answer.
func (r *ruleset) masquerade(n *Network, subnets ...netip.Prefix) {
	if n.Internal {
		return
	}
	post := func(why, match string) {
		r.shared = append(r.shared, hook{table: "nat", chain: "POSTROUTING", rule: match + comment(n.Name+": "+why) + " -j MASQUERADE"})
	}
	for _, subnet := range subnets {
		if n.Options[OptMasquerade] != "false" {
			post("outside, containers have the address of the host", fmt.Sprintf("-s %s ! -o %s", subnet, n.Bridge))
		}
		post("published to its own containers", fmt.Sprintf("-s %s -o %s -m conntrack --ctstate DNAT", subnet, n.Bridge))
	}
	if subnets[0].Addr().Is4() {
		post("published on 127.0.0.1", fmt.Sprintf("-s 127.0.0.0/8 -o %s -m conntrack --ctstate DNAT", n.Bridge))
	}
}

// portRules are one rule for each published port or run of ports. Their comments end in the endpoint's id, by which they are
// found again when they must go.
func portRules(e *Endpoint, v6 bool) []string {
	address, bits := e.Address.Addr(), "/32 "
	if v6 {
		address, bits = e.Address6.Addr(), "/128 "
	}
	if !address.IsValid() {
		return nil
	}
	var rules []string
	for _, p := range e.Ports {
		if p.HostIP.IsValid() && p.HostIP.Is6() != v6 || !e.ruled(p) {
			continue
		}
		from := ""
		if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
			from = "-d " + p.HostIP.String() + bits
		}
		ports := strings.Replace(span(p.HostPort, p.Count), "-", ":", 1)
		rules = append(rules, fmt.Sprintf("%s-p %s -m %s --dport %s%s -j DNAT --to-destination %s",
			from, p.Proto, p.Proto, ports, comment(e.ContainerName+" "+p.String()+" "+short(e.ID)), destination(address, p)))
	}
	return rules
}

// destination is where DNAT leads. Without a port the port stays as it is; a run of ports is shifted as a whole.
func destination(a netip.Addr, p PortMapping) string {
	if p.HostPort == p.ContainerPort {
		return a.String()
	}
	to := netip.AddrPortFrom(a, p.ContainerPort).String()
	if p.Count > 1 {
		to += fmt.Sprintf("-%d/%d", p.ContainerPort+p.Count-1, p.HostPort)
	}
	return to
}
