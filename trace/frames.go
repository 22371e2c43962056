package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/world"
)

// Addresses are a packet's, as they are at one place.
type Addresses struct{ Src, Dst netip.AddrPort }

func (a Addresses) String() string {
	if a.Src.Port() == 0 && a.Dst.Port() == 0 {
		return a.Src.Addr().String() + " > " + a.Dst.Addr().String()
	}
	return a.Src.String() + " > " + a.Dst.String()
}

// Frame is one packet at one link.
type Frame struct {
	Space  *world.Namespace
	Link   *world.Link // nil: a link that is new
	Out    bool        // it leaves by the link
	Time   time.Time
	Data   []byte // from the Ethernet header on
	Answer bool   // it goes back
	Flags  string // of TCP: SYN, SYN ACK, RST; of ICMP: echo, reply, unreachable
	Packet Addresses
}

// parseFrame understands the probe and its answer; other packets, and the rest of a TCP connection, are not ours.
func parseFrame(data []byte, key Key) (f Frame, ok bool) {
	if len(data) < 14 {
		return f, false
	}
	if kind := binary.BigEndian.Uint16(data[12:]); kind != unix.ETH_P_IP && kind != unix.ETH_P_IPV6 {
		return f, false
	}
	f.Data = data
	return f, f.parseIP(data[14:], key)
}

// header is what IPv4 and IPv6 say in front of a packet.
type header struct {
	src, dst netip.Addr
	proto    string
	l4       []byte
}

// parseHeader reads the header of IPv4 (RFC 791) or IPv6 (RFC 8200).
func parseHeader(ip []byte) (h header, ok bool) {
	if len(ip) < 20 {
		return h, false
	}
	names := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmp"}
	switch ip[0] >> 4 {
	case 4:
		at := int(ip[0]&15) * 4
		if at < 20 || len(ip) < at+8 {
			return h, false
		}
		return header{netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), names[ip[9]], ip[at:]}, true
	case 6:
		if len(ip) < 48 {
			return h, false
		}
		next, l4 := ip[6], ip[40:]
		for next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_ROUTING || next == unix.IPPROTO_DSTOPTS { // headers that only say more
			size := 8 + int(l4[1])*8
			if len(l4) < size+8 {
				return h, false
			}
			next, l4 = l4[0], l4[size:]
		}
		return header{netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), names[next], l4}, true
	}
	return h, false
}

// parseIP reads the headers of IP, TCP, UDP and ICMP.
func (f *Frame) parseIP(ip []byte, key Key) bool {
	h, ok := parseHeader(ip)
	if !ok {
		return false
	}
	src, dst, proto, l4 := h.src, h.dst, h.proto, h.l4
	if proto == "icmp" {
		return f.parseICMP(l4, src, dst, key)
	}
	if proto != key.Proto || proto == "tcp" && len(l4) < 14 {
		return false
	}
	sport, dport := binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	if sport != key.ID && dport != key.ID {
		return false
	}
	f.Answer = dport == key.ID
	f.Packet = Addresses{netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)}
	if proto == "tcp" {
		f.Flags = tcpFlags(l4[13])
		return strings.Contains(f.Flags, "SYN") || strings.Contains(f.Flags, "RST")
	}
	return true
}

func (f *Frame) parseICMP(l4 []byte, src, dst netip.Addr, key Key) bool {
	f.Packet = Addresses{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
	kind, name := l4[0], "ICMP"
	if src.Is6() { // RFC 4443 has other numbers for the same things: here they get those of IPv4, as far as there are any
		name = "ICMPv6"
		kind = map[byte]byte{128: 8, 129: 0, 1: 3, 2: 3, 3: 11}[l4[0]]
		if l4[0] < 1 || l4[0] > 3 && l4[0] != 128 && l4[0] != 129 {
			return false
		}
	}
	switch kind {
	case 8, 0:
		f.Answer, f.Flags = kind == 0, map[byte]string{8: "echo", 0: "reply"}[kind]
		return key.Proto == "icmp" && binary.BigEndian.Uint16(l4[4:]) == key.ID
	case 3, 11: // an error, with the start of the packet that it is about
		var about Frame
		if !about.parseIP(l4[8:], key) && !about.quoted(l4[8:], key) {
			return false
		}
		f.Answer, f.Flags = true, fmt.Sprintf("%s %d/%d", name, l4[0], l4[1])
		return true
	}
	return false
}

// quoted: an ICMP error quotes only eight bytes behind the IP header.
func (f *Frame) quoted(ip []byte, key Key) bool {
	if len(ip) < 24 {
		return false
	}
	at := int(ip[0]&15) * 4
	if ip[0]>>4 == 6 {
		at = 40
	}
	return len(ip) >= at+4 && (binary.BigEndian.Uint16(ip[at:]) == key.ID || binary.BigEndian.Uint16(ip[at+2:]) == key.ID)
}

func tcpFlags(b byte) string {
	var names []string
	for _, f := range []struct {
		bit  byte
		name string
	}{{2, "SYN"}, {4, "RST"}, {16, "ACK"}, {1, "FIN"}} {
		if b&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, " ")
}

// Asking are the flags of a question who has an address.
const Asking = "who has"

// solicit is the type of IPv6's question, RFC 4861, 4.3.
const solicit = 135

// parseQuestion reads the question of ARP (RFC 826) or of IPv6: who asks, and for whom. link is the Ethernet header.
func parseQuestion(link, network, transport []byte) (a Addresses, ok bool) {
	if len(link) < 14 {
		return a, false
	}
	at := func(src, dst netip.Addr) Addresses {
		return Addresses{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
	}
	switch binary.BigEndian.Uint16(link[12:]) {
	case unix.ETH_P_ARP:
		if len(network) < 28 || network[7] != 1 {
			return a, false
		}
		return at(netip.AddrFrom4([4]byte(network[14:18])), netip.AddrFrom4([4]byte(network[24:28]))), true
	case unix.ETH_P_IPV6:
		if len(network) < 40 || network[6] != unix.IPPROTO_ICMPV6 || len(transport) < 8 || transport[0] != solicit {
			return a, false
		}
		target := netip.AddrFrom16([16]byte(network[24:40])) // a group of neighbours
		if len(transport) >= 24 {
			target = netip.AddrFrom16([16]byte(transport[8:24]))
		}
		return at(netip.AddrFrom16([16]byte(network[8:24])), target), true
	}
	return a, false
}
