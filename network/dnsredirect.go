package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Port 53 on 127.0.0.11 is a fiction: the container may run a name server of its own on port 53 of all addresses, so the
// resolver's sockets have other ports, and the port numbers are rewritten on the way. Not by NAT: that would make the
// kernel follow every connection of the container. On loopback, rewriting the number in each packet is enough. The hook is where
// packets come in by lo (NF_NETDEV_INGRESS, Linux 4.2): what goes out by eth0 meets no rule of ours in the container.

// redirectTable is in the family of nftables whose hooks belong to a device.
const redirectTable, redirectFamily = "mydocker-dns", nftables.TableFamilyNetdev

// redirectScript is the rules in nft's words.
func redirectScript(udpPort, tcpPort string) string {
	s := "table netdev " + redirectTable + " {\n\tchain in {\n\t\ttype filter hook ingress device \"lo\" priority filter\n"
	for _, p := range [][2]string{{"udp", udpPort}, {"tcp", tcpPort}} {
		s += fmt.Sprintf("\t\tip daddr %s %s dport 53 %s dport set %s\n", EmbeddedResolver, p[0], p[0], p[1])
		s += fmt.Sprintf("\t\tip saddr %s %s sport %s %s sport set 53\n", EmbeddedResolver, p[0], p[1], p[0])
	}
	return s + "\t}\n}\n"
}

// redirectDNS puts the rules into the namespace of the calling thread, in place of those of a resolver before.
func redirectDNS(udpPort, tcpPort uint16) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	table := &nftables.Table{Family: redirectFamily, Name: redirectTable}
	if old, err := c.ListTableOfFamily(table.Name, table.Family); err == nil && old != nil {
		c.DelTable(table) // not always: taking a table away makes the kernel wait for everybody who reads rules
	}
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Device: "lo",
	})
	const source, destination = 12, 16 // in the IPv4 header: RFC 791, 3.1
	for _, p := range []struct {
		proto    byte
		port     uint16
		checksum uint32 // where it stands in the header
	}{{unix.IPPROTO_UDP, udpPort, 6}, {unix.IPPROTO_TCP, tcpPort, 16}} {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rewritePort(destination, p.proto, 2, 53, p.port, p.checksum)})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rewritePort(source, p.proto, 0, p.port, 53, p.checksum)})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("lead port 53 to the resolver: %w", err)
	}
	return nil
}

// rewritePort: if the address at that offset of the IP header is 127.0.0.11 and the port at that offset of the transport header
// is from, make it to, and mend the checksum.
func rewritePort(address uint32, proto byte, portOffset uint32, from, to uint16, checksum uint32) []expr.Any {
	resolver := netip.MustParseAddr(EmbeddedResolver).As4()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, // this hook sees everything that lo carries
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(unix.ETH_P_IP)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: resolver[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(from)},
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, to)},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: checksum,
		},
	}
}
