package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// nftRule is a rule twice: in nft's words, and as what the kernel is told. A test gives the words to nft and compares.
type nftRule struct {
	chain, text string
	exprs       []expr.Any
}

// nftChain is a chain and where packets meet it: the same places, in the same order, as with iptables.
type nftChain struct {
	name, text string
	kind       nftables.ChainType
	hook       *nftables.ChainHook
	priority   *nftables.ChainPriority
}

func nftChains() []nftChain {
	return []nftChain{
		{"raw", "type filter hook prerouting priority raw; ", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw},
		{"publish", "", "", nil, nil},
		{"prerouting", "type nat hook prerouting priority dstnat; ", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest},
		{"output", "type nat hook output priority -100; ", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest},
		{"postrouting", "type nat hook postrouting priority srcnat; ", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource},
		{"user", "", "", nil, nil},
		{"forward", "type filter hook forward priority filter; ", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter},
	}
}

func (c nftChain) chain(t *nftables.Table) *nftables.Chain {
	return &nftables.Chain{Name: c.name, Table: t, Type: c.kind, Hooknum: c.hook, Priority: c.priority}
}

// nftMap is a map or, without data, a set.
type nftMap struct {
	name, text string
	key, data  nftables.SetDatatype
	size       uint32 // for how many elements there is room; 0: it grows
}

func (s nftMap) kind() string {
	if s.data.Name == "" {
		return "set"
	}
	return "map"
}

// nftMaps are those of published ports: "ports" for all addresses of the host, "addresses" for one of them.
func nftMaps(f nftFamily) []nftMap {
	data := nftables.MustConcatSetType(f.address, nftables.TypeInetService)
	a := f.address.Name
	return []nftMap{
		{name: "ports", text: "type inet_proto . inet_service : " + a + " . inet_service", key: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService), data: data},
		{name: "addresses", text: "type " + a + " . inet_proto . inet_service : " + a + " . inet_service", key: nftables.MustConcatSetType(f.address, nftables.TypeInetProto, nftables.TypeInetService), data: data},
	}
}

func (s nftMap) set(t *nftables.Table) *nftables.Set {
	x := &nftables.Set{Table: t, Name: s.name, IsMap: s.data.Name != "", Concatenation: strings.Contains(s.key.Name, " . "), KeyType: s.key, DataType: s.data, Size: s.size}
	if s.key.Name == nftables.TypeIFName.Name {
		x.KeyByteOrder = binaryutil.NativeEndian // nft would show the names as empty: it reads a lone name from its last byte on
	}
	return x
}

// nftNetworkRules are the rules for these networks in one family; rules.go says why each is there.
func nftNetworkRules(networks []*Network, f nftFamily) []nftRule {
	b := &nftBuilder{f: f}
	var mine []*Network
	for _, n := range networks {
		if n.speaks(f.v6) {
			mine = append(mine, n)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	if f.v6 {
		onLink := netip.MustParsePrefix("fe80::/10")
		b.rule("prerouting").notFromNet(onLink).notTo(f.loopback).toLocal().jump("publish")
		b.rule("output").notFromNet(onLink).notTo(f.loopback).toLocal().jump("publish")
	} else {
		b.rule("prerouting").notTo(f.loopback).toLocal().jump("publish")
		b.rule("output").toLocal().jump("publish")
	}
	b.rule("publish").dnat("addresses", true)
	b.rule("publish").dnat("ports", false)
	b.rule("forward").jump("user")
	if !f.v6 {
		b.rule("raw").notFrom("lo").toNet(f.loopback).verdict("drop")
		b.rule("raw").notFrom("lo").fromNet(f.loopback).verdict("drop")
	}
	for _, n := range mine {
		if f.v6 {
			b.rule("raw").from(n.Bridge).fromElsewhere().verdict("drop")
		}
		if n.Internal {
			b.rule("forward").from(n.Bridge).to(n.Bridge).verdict(within(n))
			b.rule("forward").to(n.Bridge).verdict("drop")
			b.rule("forward").from(n.Bridge).verdict("drop")
		}
	}
	for _, n := range mine {
		if !n.Internal {
			b.rule("forward").to(n.Bridge).answers().verdict("accept")
			b.rule("forward").to(n.Bridge).published().verdict("accept")
			b.rule("forward").from(n.Bridge).to(n.Bridge).verdict(within(n))
			b.rule("forward").to(n.Bridge).verdict("drop")
		}
	}
	for _, n := range mine {
		if n.Internal {
			continue
		}
		b.rule("forward").from(n.Bridge).verdict("accept")
		subnets := n.subnets()
		if f.v6 {
			subnets = []netip.Prefix{n.Subnet6}
		}
		for _, subnet := range subnets {
			if n.Options[OptMasquerade] != "false" {
				b.rule("postrouting").notOut(n.Bridge).fromNet(subnet).masquerade()
			}
			b.rule("postrouting").to(n.Bridge).fromNet(subnet).published().masquerade()
		}
		if !f.v6 {
			b.rule("postrouting").to(n.Bridge).fromNet(f.loopback).published().masquerade()
		}
	}
	return b.rules
}

func within(n *Network) string {
	if n.Options[OptICC] == "false" {
		return "drop"
	}
	return "accept"
}

// nftBuilder writes rules in both languages at once.
type nftBuilder struct {
	f     nftFamily
	rules []nftRule
}

func (b *nftBuilder) rule(chain string) *nftBuilder {
	b.rules = append(b.rules, nftRule{chain: chain})
	return b
}

func (b *nftBuilder) say(text string, exprs ...expr.Any) *nftBuilder {
	r := &b.rules[len(b.rules)-1]
	if r.text != "" {
		r.text += " "
	}
	r.text += text
	r.exprs = append(r.exprs, exprs...)
	return b
}

func (b *nftBuilder) link(key expr.MetaKey, op expr.CmpOp, text, name string) *nftBuilder {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return b.say(fmt.Sprintf("%s %q", text, name), &expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: padded})
}

func (b *nftBuilder) from(link string) *nftBuilder {
	return b.link(expr.MetaKeyIIFNAME, expr.CmpOpEq, "iifname", link)
}
func (b *nftBuilder) notFrom(link string) *nftBuilder {
	return b.link(expr.MetaKeyIIFNAME, expr.CmpOpNeq, "iifname !=", link)
}
func (b *nftBuilder) to(link string) *nftBuilder {
	return b.link(expr.MetaKeyOIFNAME, expr.CmpOpEq, "oifname", link)
}
func (b *nftBuilder) notOut(link string) *nftBuilder {
	return b.link(expr.MetaKeyOIFNAME, expr.CmpOpNeq, "oifname !=", link)
}

// network compares an address of the packet with a subnet.
func (b *nftBuilder) network(field string, offset4, offset6 uint32, op expr.CmpOp, p netip.Prefix) *nftBuilder {
	offset, length := offset4, uint32(4)
	if b.f.v6 {
		offset, length = offset6, 16
	}
	mask := ipNet(p).Mask
	text := fmt.Sprintf("%s %s ", b.f.name, field)
	if op == expr.CmpOpNeq {
		text += "!= "
	}
	if p.IsSingleIP() {
		text += p.Addr().String()
	} else {
		text += p.String()
	}
	exprs := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}}
	if !p.IsSingleIP() {
		exprs = append(exprs, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)})
	}
	return b.say(text, append(exprs, &expr.Cmp{Op: op, Register: 1, Data: p.Addr().AsSlice()})...)
}

func (b *nftBuilder) toNet(p netip.Prefix) *nftBuilder {
	return b.network("daddr", 16, 24, expr.CmpOpEq, p)
}
func (b *nftBuilder) notTo(p netip.Prefix) *nftBuilder {
	return b.network("daddr", 16, 24, expr.CmpOpNeq, p)
}
func (b *nftBuilder) fromNet(p netip.Prefix) *nftBuilder {
	return b.network("saddr", 12, 8, expr.CmpOpEq, p)
}

func (b *nftBuilder) notFromNet(p netip.Prefix) *nftBuilder {
	return b.network("saddr", 12, 8, expr.CmpOpNeq, p)
}

func (b *nftBuilder) toLocal() *nftBuilder {
	return b.say("fib daddr type local",
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
}

// fromElsewhere asks for the way back to the sender: it does not lead to the link that the packet came in by.
func (b *nftBuilder) fromElsewhere() *nftBuilder {
	return b.say("fib saddr . iif oif missing", &expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true, FlagPRESENT: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)})
}

// bits asks for any of some bits of what is known about the connection.
func (b *nftBuilder) bits(key expr.CtKey, mask uint32, text string) *nftBuilder {
	return b.say(text, &expr.Ct{Register: 1, Key: key},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

func (b *nftBuilder) answers() *nftBuilder {
	return b.bits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED, "ct state established,related")
}

// published: IPS_DST_NAT, include/uapi/linux/netfilter/nf_conntrack_common.h.
func (b *nftBuilder) published() *nftBuilder {
	return b.bits(expr.CtKeySTATUS, 1<<5, "ct status dnat")
}

func (b *nftBuilder) jump(chain string) {
	b.say("jump "+chain, &expr.Verdict{Kind: expr.VerdictJump, Chain: chain})
}

func (b *nftBuilder) verdict(v string) {
	kind := expr.VerdictDrop
	if v == "accept" {
		kind = expr.VerdictAccept
	}
	b.say(v, &expr.Verdict{Kind: kind})
}

func (b *nftBuilder) masquerade() { b.say("masquerade", &expr.Masq{}) }

// dnat looks the packet up in a map, by protocol and port and, in the map of single addresses, by the host's address. Parts of
// a key stand one behind the other in 32-bit registers, of which register 1 is the first four.
func (b *nftBuilder) dnat(name string, byAddress bool) {
	const first = unix.NFT_REG32_00
	words := uint32(b.f.address.Bytes / 4)
	at := uint32(first)
	key := "meta l4proto . th dport"
	var exprs []expr.Any
	if byAddress {
		key = b.f.name + " daddr . " + key
		offset := uint32(16)
		if b.f.v6 {
			offset = 24
		}
		exprs = append(exprs, &expr.Payload{DestRegister: at, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4 * words})
		at += words
	}
	family := uint32(unix.NFPROTO_IPV4)
	if b.f.v6 {
		family = unix.NFPROTO_IPV6
	}
	exprs = append(exprs,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: at},
		&expr.Payload{DestRegister: at + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: first, DestRegister: first, IsDestRegSet: true, SetName: name},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: first, RegProtoMin: first + words})
	b.say(fmt.Sprintf("dnat %s to %s map @%s", b.f.name, key, name), exprs...)
}

// nftKey is a map's key for a port, each part filled up to four bytes.
func nftKey(p PortMapping, proto byte, port uint16) (name string, key []byte) {
	name = "ports"
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		name, key = "addresses", p.HostIP.AsSlice()
	}
	key = append(key, proto, 0, 0, 0)
	return name, append(binary.BigEndian.AppendUint16(key, port), 0, 0)
}
