package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	nfnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// markPackets equals:
//
//	nft 'table inet mydocker-trace { flags owner; chain pre { type filter hook prerouting priority -350; udp sport ID meta nftrace set 1; … } }'
//
// and the same at the ports of bridges, family bridge, where a guard may stand before any rule of inet is asked; there also for the
// question who has an address, without whose answer no packet leaves.
func (w *watch) markPackets() (err error) {
	var socket *nfnl.Conn
	keep := nftables.WithSockOptions(func(c *nfnl.Conn) error { socket = c; return nil })
	if w.owner, err = nftables.New(nftables.AsLasting(), keep); err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge} {
		err := ownTable(socket, family)
		if family == nftables.TableFamilyBridge && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)) {
			break // the kernel has no rules for bridges: nobody can have set any
		}
		if err != nil {
			return err
		}
		w.addMarkings(family)
	}
	if err := w.owner.Flush(); err != nil {
		return fmt.Errorf("mark the probe by nftables: %w", err)
	}
	return nil
}

func (w *watch) addMarkings(family nftables.TableFamily) {
	table := &nftables.Table{Family: family, Name: traceTable}
	first := nftables.ChainPriority(-350) // before raw, and before the bridge's guard
	hooks := map[string]*nftables.ChainHook{"pre": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput}
	marks := markings(w.key)
	if family == nftables.TableFamilyBridge {
		hooks = map[string]*nftables.ChainHook{"pre": nftables.ChainHookPrerouting}
		marks = append(marks, questions()...)
	}
	for name, hook := range hooks {
		c := w.owner.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &first})
		for _, exprs := range marks {
			w.owner.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: exprs})
		}
	}
}

// ownTable makes the table as one that belongs to the socket. The library has no way to say so.
func ownTable(c *nfnl.Conn, family nftables.TableFamily) error {
	attributes, err := nfnl.MarshalAttributes([]nfnl.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: []byte(traceTable + "\x00")},
		{Type: unix.NFTA_TABLE_FLAGS, Data: []byte{0, 0, 0, tableOwner}},
	})
	if err != nil {
		return err
	}
	batch := []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES}
	_, err = c.SendMessages([]nfnl.Message{
		{Header: nfnl.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: nfnl.Request}, Data: batch},
		{Header: nfnl.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, Flags: nfnl.Request | nfnl.Acknowledge | nfnl.Create},
			Data: append([]byte{byte(family), 0, 0, 0}, attributes...)},
		{Header: nfnl.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: nfnl.Request}, Data: batch},
	})
	if err == nil {
		_, err = c.Receive()
	}
	if err != nil {
		return fmt.Errorf("make an nftables table that dies with this process (Linux 5.12 can): %w", err)
	}
	return nil
}

// markings are the rules that know the probe and its answer by where the key stands in the transport header: source and destination port,
// or the echo's number.
func markings(k Key) [][]expr.Any {
	switch k.Proto {
	case "tcp":
		return [][]expr.Any{markIf(k, unix.IPPROTO_TCP, 0), markIf(k, unix.IPPROTO_TCP, 2)}
	case "udp":
		return [][]expr.Any{markIf(k, unix.IPPROTO_UDP, 0), markIf(k, unix.IPPROTO_UDP, 2)}
	}
	return [][]expr.Any{markIf(k, unix.IPPROTO_ICMP, 4), markIf(k, unix.IPPROTO_ICMPV6, 4)}
}

func markIf(k Key, proto byte, offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, k.ID)},
		&expr.Immediate{Register: 1, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1},
	}
}

// questions are: meta protocol arp meta nftrace set 1; icmpv6 type nd-neighbor-solicit meta nftrace set 1
func questions() [][]expr.Any {
	set := []expr.Any{&expr.Immediate{Register: 1, Data: []byte{1}}, &expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1}}
	arp := []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x08, 0x06}}}
	neighbour := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x86, 0xdd}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{solicit}},
	}
	return [][]expr.Any{slices.Concat(arp, set), slices.Concat(neighbour, set)}
}

// parseMark reads NFT_MSG_TRACE: enum nft_trace_attributes.
func parseMark(data []byte, key Key) (m mark, ok bool) {
	if len(data) < 4 {
		return m, false
	}
	m.family = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_INET: "inet", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_NETDEV: "netdev"}[data[0]]
	var link, network, transport []byte
	for kind, v := range attributes(data[4:]) {
		switch kind {
		case 1:
			m.table = text(v)
		case 2:
			m.chain = text(v)
		case 3:
			m.handle = number(v)
		case 4:
			m.kind = uint32(number(v))
		case 5:
			m.verdict = verdict(v)
		case 6:
			m.id = uint32(number(v))
		case 7:
			link = v
		case 8:
			network = v
		case 9:
			transport = v
		case 16:
			m.verdict = int32(number(v))
		}
	}
	if who, asked := parseQuestion(link, network, transport); asked {
		m.packet, m.flags = &who, Asking
	} else if network != nil {
		var f Frame
		if f.parseIP(append(slices.Clone(network), transport...), key) {
			m.packet, m.flags, m.answer = &f.Packet, f.Flags, f.Answer
		}
	}
	return m, m.table != traceTable
}

func text(v []byte) string {
	for i, b := range v {
		if b == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

func number(v []byte) (n uint64) {
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	return n
}

// verdict is NFTA_VERDICT_CODE of a nested attribute.
func verdict(v []byte) int32 {
	for kind, value := range attributes(v) {
		if kind == unix.NFTA_VERDICT_CODE {
			return int32(number(value))
		}
	}
	return -1
}

// attributes are netlink's (netlink(7)): length and type of two bytes each, the value, and up to three bytes to the next word.
func attributes(data []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= 4 {
			length := int(binary.NativeEndian.Uint16(data))
			if length < 4 || length > len(data) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(data[2:])&0x3fff, data[4:length]) { // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
				return
			}
			data = data[min((length+3)&^3, len(data)):]
		}
	}
}
