package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// The guard stands at the bridge's ports and lets a frame pass only if its sender is who it says it is: a container has one
// MAC address and its own IP addresses, and nobody else's. It is no router either: its router advertisements and redirects are
// dropped. On a network without traffic between containers (enable_icc=false) it lets through only what is for the gateway.
//
// It is a table of nftables in the bridge family with both backends, because neither iptables nor ip6tables sees ARP or a frame
// that stays on the bridge. Its rules never change; a container is a few elements of its sets. Nearly all that a container sends
// are IP packets from its own addresses: link, MAC and IP address are looked up together, and such a frame costs one look-up.

// OptGuard switches the guard off, for networks whose containers are routers or share addresses among themselves.
const OptGuard = "mydocker.bridge.guard"

// Guard is what an endpoint's link is held to. It is part of the record, so that it can be taken back without the network's.
type Guard struct {
	Sender   bool       // frames carry the endpoint's own addresses
	Alone    bool       // frames are for the gateway
	Gateway  netip.Addr `json:",omitzero"` // the bridge's addresses, with Alone
	Gateway6 netip.Addr `json:",omitzero"`
}

func guardFor(n *Network) *Guard {
	if !n.bridged() {
		return nil
	}
	g := &Guard{Sender: n.Options[OptGuard] != "false", Alone: n.Options[OptICC] == "false"}
	if g.Alone {
		g.Gateway, g.Gateway6 = n.Gateway, n.Gateway6
	}
	if !g.Sender && !g.Alone {
		return nil
	}
	return g
}

func bridgeFamily() nftFamily { return nftFamily{table: nftables.TableFamilyBridge, name: "bridge"} }

// guardSize is how many elements the sets have room for that every frame is looked up in. The kernel gives a set of a known
// size a plain table, which answers faster than one that can grow; each takes 256 KB. A host has fewer containers.
const guardSize = 1 << 14

// guardSets: who may send from which link, and whom the lonely may send to.
func guardSets() []nftMap {
	whole := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)
	whole6 := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIP6Addr)
	mac := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)
	v4 := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)
	v6 := nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr)
	const target = "typeof iifname . @th,64,128" // the address that a neighbour solicitation or advertisement speaks of
	return []nftMap{
		{name: "senders", text: "type ifname . ether_addr . ipv4_addr", key: whole, size: guardSize},
		{name: "senders6", text: "type ifname . ether_addr . ipv6_addr", key: whole6, size: guardSize},
		{name: "links", text: "type ifname", key: nftables.TypeIFName, size: guardSize},
		{name: "macs", text: "type ifname . ether_addr", key: mac},
		{name: "addresses", text: "type ifname . ipv4_addr", key: v4},
		{name: "addresses6", text: "type ifname . ipv6_addr", key: v6},
		{name: "targets6", text: target, key: v6},
		{name: "lonely", text: "type ifname", key: nftables.TypeIFName},
		{name: "free", text: "type ifname", key: nftables.TypeIFName},
		{name: "gateways", text: "type ifname . ether_addr", key: mac},
		{name: "gateways4", text: "type ifname . ipv4_addr", key: v4},
		{name: "gateways6", text: target, key: v6},
	}
}

// guardChains: -200 is before br_netfilter, which at 0 takes frames through the rules of iptables and may rewrite them.
func guardChains() []nftChain {
	return []nftChain{
		{"sender", "", "", nil, nil},
		{"alone", "", "", nil, nil},
		{"prerouting", "type filter hook prerouting priority -200; ", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRef(-200)},
	}
}

func guardRules() []nftRule {
	b := &nftBuilder{}
	mac := field{"ether saddr", expr.PayloadBaseLLHeader, 6, 6}
	ip := field{"ip saddr", expr.PayloadBaseNetworkHeader, 12, 4}
	ip6 := field{"ip6 saddr", expr.PayloadBaseNetworkHeader, 8, 16}
	b.rule("prerouting").protocol("ip", unix.ETH_P_IP).in("senders", false, mac, ip).verdict("accept")
	// Not ICMPv6: neighbour discovery says more than who sends it.
	b.rule("prerouting").protocol("ip6", unix.ETH_P_IPV6).notICMP6().in("senders6", false, mac, ip6).verdict("accept")
	b.rule("prerouting").in("links", false).jump("sender")

	b.rule("sender").in("free", false).jump("alone")
	b.rule("sender").in("macs", true, mac).verdict("drop")
	// Behind a second VLAN tag nothing below would see a packet. The receiver takes off every tag that says VLAN 0, and then does.
	b.rule("sender").protocol("8021q", unix.ETH_P_8021Q).verdict("drop")
	b.rule("sender").protocol("8021ad", unix.ETH_P_8021AD).verdict("drop")
	// The kernel also believes ARP with the hardware type of IEEE 802, which the rules below would read in the same way but nft not.
	b.rule("sender").protocol("arp", unix.ETH_P_ARP).unless(field{"arp htype", expr.PayloadBaseNetworkHeader, 0, 2}, []byte{0, 1}, "1").verdict("drop")
	b.rule("sender").protocol("arp", unix.ETH_P_ARP).in("macs", true, field{"arp saddr ether", expr.PayloadBaseNetworkHeader, 8, 6}).verdict("drop")
	// 0.0.0.0 asks whether an address is free, and claims none.
	b.rule("sender").protocol("arp", unix.ETH_P_ARP).unless(field{"arp saddr ip", expr.PayloadBaseNetworkHeader, 14, 4}, make([]byte, 4), "0.0.0.0").
		in("addresses", true, field{"arp saddr ip", expr.PayloadBaseNetworkHeader, 14, 4}).verdict("drop")
	b.rule("sender").protocol("ip", unix.ETH_P_IP).in("addresses", true, ip).verdict("drop")
	b.rule("sender").icmp6("nd-router-advert", 134).verdict("drop")
	b.rule("sender").icmp6("nd-redirect", 137).verdict("drop")
	b.rule("sender").icmp6("nd-neighbor-advert", 136).in("targets6", true, targetField()).verdict("drop")
	b.rule("sender").protocol("ip6", unix.ETH_P_IPV6).unless(ip6, make([]byte, 16), "::").in("addresses6", true, ip6).verdict("drop")
	b.rule("sender").in("lonely", false).jump("alone")

	b.rule("alone").in("gateways", false, field{"ether daddr", expr.PayloadBaseLLHeader, 0, 6}).verdict("accept")
	b.rule("alone").protocol("arp", unix.ETH_P_ARP).in("gateways4", false, field{"arp daddr ip", expr.PayloadBaseNetworkHeader, 24, 4}).verdict("accept")
	b.rule("alone").icmp6("nd-neighbor-solicit", 135).in("gateways6", false, targetField()).verdict("accept")
	b.rule("alone").verdict("drop")
	return b.rules
}

// field is a part of a frame: how nft calls it, and where it is, in bytes.
type field struct {
	name        string
	base        expr.PayloadBase
	offset, len uint32
}

func targetField() field { return field{"@th,64,128", expr.PayloadBaseTransportHeader, 8, 16} }

// in looks the link that the frame came in by, and fields of it, up in a set. The parts of a key stand one behind the other in
// 32-bit registers: the name takes the first four, each field as many words as it has begun.
func (b *nftBuilder) in(set string, not bool, fields ...field) *nftBuilder {
	text := "iifname"
	exprs := []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1}}
	at := uint32(unix.NFT_REG32_00 + unix.IFNAMSIZ/4)
	for _, f := range fields {
		text += " . " + f.name
		exprs = append(exprs, &expr.Payload{DestRegister: at, Base: f.base, Offset: f.offset, Len: f.len})
		at += (f.len + 3) / 4
	}
	if not {
		text += " !="
	}
	return b.say(text+" @"+set, append(exprs, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: set, Invert: not})...)
}

// protocol is what the frame carries, also behind a VLAN tag, which the kernel has taken off and remembered.
func (b *nftBuilder) protocol(name string, number uint16) *nftBuilder {
	return b.say("meta protocol "+name, &expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(number >> 8), byte(number)}})
}

func (b *nftBuilder) notICMP6() *nftBuilder {
	return b.say("meta l4proto != ipv6-icmp", &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}})
}

func (b *nftBuilder) unless(f field, value []byte, text string) *nftBuilder {
	return b.say(f.name+" != "+text, &expr.Payload{DestRegister: 1, Base: f.base, Offset: f.offset, Len: f.len},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: value})
}

// icmp6 is a message of neighbour discovery, RFC 4861, wherever in the packet it is: the kernel has skipped extension headers.
func (b *nftBuilder) icmp6(name string, kind byte) *nftBuilder {
	return b.protocol("ip6", unix.ETH_P_IPV6).say("icmpv6 type "+name,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}})
}

func guardTable() nftTableOp {
	return nftTableOp{family: bridgeFamily(), sets: guardSets(), chains: guardChains(), rules: guardRules(),
		reason: "at the bridge's ports: a container sends with its own addresses only"}
}

// guardElements are an endpoint's: its link, and what it may say there.
func guardElements(e *Endpoint) (all []nftElement) {
	if e.Guard == nil {
		return nil
	}
	link := make([]byte, unix.IFNAMSIZ)
	copy(link, e.HostLink)
	add := func(set, text string, key []byte) {
		x := nftElement{family: bridgeFamily(), set: set, key: slices.Clone(link), text: fmt.Sprintf("%q", e.HostLink)}
		if key != nil {
			x.key, x.text = append(x.key, key...), x.text+" . "+text
		}
		all = append(all, x)
	}
	address := func(set, targets string, a netip.Addr) {
		if !a.IsValid() {
			return
		}
		if set != "" {
			add(set, a.String(), a.AsSlice())
		}
		if targets != "" {
			add(targets, fmt.Sprintf("0x%x", a.AsSlice()), a.AsSlice())
		}
	}
	padded := func(mac HardwareAddr) []byte { return append(slices.Clone(mac), 0, 0) }
	whole := func(set string, a netip.Addr) {
		if a.IsValid() {
			add(set, e.MAC.String()+" . "+a.String(), append(padded(e.MAC), a.AsSlice()...))
		}
	}
	add("links", "", nil)
	if e.Guard.Sender && !e.Guard.Alone {
		whole("senders", e.Address.Addr())
		whole("senders6", e.Address6.Addr())
	}
	if e.Guard.Sender {
		add("macs", e.MAC.String(), padded(e.MAC))
		address("addresses", "", e.Address.Addr())
		for _, a := range e.Extras.LinkLocalIPs {
			if a.Is4() {
				address("addresses", "", a)
			} else {
				address("addresses6", "targets6", a)
			}
		}
		if e.Address6.IsValid() {
			address("addresses6", "targets6", e.Address6.Addr())
			address("addresses6", "targets6", linkLocal(e.MAC))
		}
	}
	if e.Guard.Alone {
		mac := macFor(e.Guard.Gateway, e.Guard.Gateway6)
		if e.Guard.Sender {
			add("lonely", "", nil)
		} else {
			add("free", "", nil)
		}
		add("gateways", mac.String(), padded(mac))
		address("gateways4", "", e.Guard.Gateway)
		if e.Address6.IsValid() {
			address("", "gateways6", e.Guard.Gateway6)
			address("", "gateways6", linkLocal(mac))
		}
	}
	return all
}

// linkLocal is the address that an interface gives itself: fe80::, and its MAC as an EUI-64 (RFC 4291, appendix A).
func linkLocal(mac HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}

// guardLink puts an endpoint's elements into the sets. Those that are there already stay.
type guardLink struct{ elements []nftElement }

func (o guardLink) Command() string { return elementCommands("add", o.elements) }
func (o guardLink) Why() string {
	return "the container's link is held to the container's own addresses"
}

func (o guardLink) apply(context.Context, *kernel) error {
	err := changeSets(true, o.elements)
	if errors.Is(err, unix.ENOENT) {
		return &refused{"nft", err, "add element to the guard's sets"}
	}
	return wrap(err, "guard %s", linkOf(o.elements[0]))
}

// freeLink takes them out.
type freeLink struct{ elements []nftElement }

func (o freeLink) Command() string { return elementCommands("delete", o.elements) }
func (o freeLink) Why() string     { return "the link is gone: nothing is to be said about it" }

// apply takes them out together or, because somebody else has been at it, one by one.
func (o freeLink) apply(context.Context, *kernel) error {
	if changeSets(false, o.elements) == nil {
		return nil
	}
	var errs []error
	absent := 0
	for _, x := range o.elements {
		switch err := changeSets(false, []nftElement{x}); {
		case errors.Is(err, unix.ENOENT) || noBridgeFamily(err):
			absent++
		default:
			errs = append(errs, err)
		}
	}
	if absent == len(o.elements) {
		return plan.ErrNothing
	}
	return wrap(errors.Join(errs...), "forget link %s", linkOf(o.elements[0]))
}

func elementCommands(verb string, elements []nftElement) string {
	lines := make([]string, len(elements))
	for i, x := range elements {
		lines[i] = fmt.Sprintf("nft '%s element %s %s %s { %s }'", verb, x.family.name, nftTable, x.set, x.text)
	}
	return strings.Join(lines, "\n")
}

// linkOf is the link that an element of the guard speaks of.
func linkOf(x nftElement) string {
	name, _, _ := bytes.Cut(x.key[:unix.IFNAMSIZ], []byte{0})
	return string(name)
}

// guardElementsThere are the elements in the guard's sets, by link.
func guardElementsThere() (map[string][]nftElement, error) {
	all, err := elementsIn(bridgeFamily(), guardSets(), func(nftElement) bool { return true })
	by := map[string][]nftElement{}
	for _, x := range all {
		by[linkOf(x)] = append(by[linkOf(x)], x)
	}
	return by, err
}

// noBridgeFamily says that the kernel was built without nftables for bridges (CONFIG_NF_TABLES_BRIDGE).
func noBridgeFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}
