package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	nfnl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// watch is all that is open in one namespace while the probe is on its way.
type watch struct {
	space  *world.Namespace
	key    Key
	packet int               // a packet socket for all links
	events *nl.NetlinkSocket // what the kernel tells of marked packets
	owner  *nftables.Conn    // its table dies with it
}

// mark is one rule, or policy, that a marked packet met.
type mark struct {
	space   *world.Namespace
	id      uint32 // of the packet
	family  string
	table   string
	chain   string
	handle  uint64
	kind    uint32 // NFT_TRACETYPE_…
	verdict int32
	packet  *Addresses // where the kernel gives the headers: at each base chain
	flags   string
	answer  bool
	rule    *world.Rule
	hook    string // prerouting, …
}

// nfnetlink's and nf_tables' numbers, linux/netfilter/{nfnetlink,nf_tables}.h, that the libraries lack.
const (
	groupTrace  = 9
	msgTrace    = unix.NFNL_SUBSYS_NFTABLES<<8 | 17
	tableOwner  = 2 // NFT_TABLE_F_OWNER
	traceTable  = "mydocker-trace"
	tracePolicy = 1
	traceRule   = 3
)

func newWatch(n *world.Namespace, key Key) (w *watch, err error) {
	w = &watch{space: n, key: key, packet: -1}
	door := network.Sandbox{Name: n.Name(), Path: n.Path}
	err = door.Do(func() error {
		if w.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL))); err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		if err := unix.SetsockoptInt(w.packet, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		if n.Quiet() {
			return nil // no rules, nothing to mark
		}
		if w.events, err = nl.Subscribe(unix.NETLINK_NETFILTER, groupTrace); err != nil {
			return fmt.Errorf("listen to nftables: %w", err)
		}
		return w.markPackets()
	})
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watch) close() {
	if w.packet >= 0 {
		unix.Close(w.packet)
	}
	if w.events != nil {
		w.events.Close()
	}
	if w.owner != nil {
		w.owner.CloseLasting()
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// markPackets equals:
//
//	nft 'table inet mydocker-trace { flags owner; chain pre { type filter hook prerouting priority -350; udp sport ID meta nftrace set 1; … } }'
func (w *watch) markPackets() (err error) {
	var socket *nfnl.Conn
	keep := nftables.WithSockOptions(func(c *nfnl.Conn) error { socket = c; return nil })
	if w.owner, err = nftables.New(nftables.AsLasting(), keep); err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	if err := ownTable(socket); err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: traceTable}
	first := nftables.ChainPriority(-350) // before raw
	for name, hook := range map[string]*nftables.ChainHook{"pre": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput} {
		c := w.owner.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &first})
		for _, exprs := range markings(w.key) {
			w.owner.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: exprs})
		}
	}
	if err := w.owner.Flush(); err != nil {
		return fmt.Errorf("mark the probe by nftables: %w", err)
	}
	return nil
}

// ownTable makes the table as one that belongs to the socket. The library has no way to say so.
func ownTable(c *nfnl.Conn) error {
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
			Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attributes...)},
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

// collect takes what has come.
func (w *watch) collect() (frames []Frame, marks []mark, err error) {
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, m, _, from, err := unix.Recvmsg(w.packet, buf, oob, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			return nil, nil, fmt.Errorf("read packets: %w", err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		f, mine := parseFrame(slices.Clone(buf[:n]), w.key)
		if !ok || !mine {
			continue
		}
		f.Space, f.Out, f.Time = w.space, ll.Pkttype == unix.PACKET_OUTGOING, timestamp(oob[:m])
		for _, l := range w.space.Links {
			if l.Index == ll.Ifindex {
				f.Link = l
			}
		}
		frames = append(frames, f)
	}
	if w.events == nil {
		return frames, nil, nil
	}
	for {
		n, _, err := unix.Recvfrom(w.events.GetFd(), buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) { // ENOBUFS: some are lost, more may be there
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return frames, marks, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read what nftables tells: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, nil, fmt.Errorf("what nftables tells is not understood: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type == msgTrace {
				if one, ok := parseMark(m.Data, w.key); ok {
					one.space = w.space
					marks = append(marks, one)
				}
			}
		}
	}
}

// awaitClock waits until the kernel writes the time on packets as they pass. It begins to do so a moment after the first socket has asked
// for it (net_enable_timestamp); before, a packet has the time at which it is read, which is of no use for an order. So a packet of our
// own is sent over lo and left lying for a moment. Where lo is down, it is given some time.
func awaitClock() error {
	listener, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		time.Sleep(200 * time.Millisecond)
		return nil
	}
	defer listener.Close()
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) }); err != nil {
		return err
	}
	buf, oob := make([]byte, 16), make([]byte, 128)
	for range 50 {
		if _, err := listener.WriteToUDP([]byte("?"), listener.LocalAddr().(*net.UDPAddr)); err != nil {
			time.Sleep(200 * time.Millisecond) // lo is down, or a rule of this host forbids it
			return nil
		}
		sent := time.Now()
		time.Sleep(10 * time.Millisecond)
		if err := listener.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		_, n, _, _, err := listener.ReadMsgUDP(buf, oob)
		if err != nil {
			continue
		}
		if at := timestamp(oob[:n]); !at.IsZero() && at.Before(sent.Add(5*time.Millisecond)) {
			return nil
		}
	}
	return nil
}

// timestamp reads SCM_TIMESTAMPNS.
func timestamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Time{}
}

// parseMark reads NFT_MSG_TRACE: enum nft_trace_attributes.
func parseMark(data []byte, key Key) (m mark, ok bool) {
	if len(data) < 4 {
		return m, false
	}
	m.family = map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_INET: "inet", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_NETDEV: "netdev"}[data[0]]
	var network, transport []byte
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
		case 8:
			network = v
		case 9:
			transport = v
		case 16:
			m.verdict = int32(number(v))
		}
	}
	if network != nil {
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
