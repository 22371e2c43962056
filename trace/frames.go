package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

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
	if len(data) < 14 || binary.BigEndian.Uint16(data[12:]) != 0x0800 {
		return f, false
	}
	f.Data = data
	return f, f.parseIP(data[14:], key)
}

// parseIP reads the headers of IPv4 (RFC 791), TCP, UDP and ICMP.
func (f *Frame) parseIP(ip []byte, key Key) bool {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return false
	}
	at := int(ip[0]&15) * 4
	if at < 20 || len(ip) < at+8 {
		return false
	}
	src, dst := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	l4 := ip[at:]
	proto := map[byte]string{6: "tcp", 17: "udp", 1: "icmp"}[ip[9]]
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
	switch l4[0] {
	case 8, 0:
		f.Answer, f.Flags = l4[0] == 0, map[byte]string{8: "echo", 0: "reply"}[l4[0]]
		return key.Proto == "icmp" && binary.BigEndian.Uint16(l4[4:]) == key.ID
	case 3, 11: // an error, with the start of the packet that it is about
		var about Frame
		if !about.parseIP(l4[8:], key) && !about.quoted(l4[8:], key) {
			return false
		}
		f.Answer, f.Flags = true, fmt.Sprintf("ICMP %d/%d", l4[0], l4[1])
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
