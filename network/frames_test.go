package network

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// packetSocket sees and sends whole frames on a box's link.
func packetSocket(t *testing.T, where doer, link string) (fd int, address *unix.SockaddrLinklayer) {
	t.Helper()
	err := where.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
			return err
		}
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		address = &unix.SockaddrLinklayer{Ifindex: i.Index, Protocol: htons(unix.ETH_P_ALL)}
		return unix.Bind(fd, address)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, address
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// arrives says which frames come out at the other box, all of which should: it has patience, and ends with the last of them.
func arrives(t *testing.T, from, to box, frames map[string][]byte) map[string]bool {
	t.Helper()
	return crossing(t, from, to, frames, time.Minute)
}

// slips is for frames of which none should come out, so that all of the time passes.
func slips(t *testing.T, from, to box, frames map[string][]byte) map[string]bool {
	t.Helper()
	return crossing(t, from, to, frames, 300*time.Millisecond)
}

// crossing sends frames from one box and says which of them come out at the other within a time.
func crossing(t *testing.T, from, to box, frames map[string][]byte, patience time.Duration) map[string]bool {
	t.Helper()
	out, at := packetSocket(t, from, "eth0")
	in, _ := packetSocket(t, to, "eth0")
	for what, f := range frames {
		if err := unix.Sendto(out, f, 0, at); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	seen := map[string]bool{}
	buf := make([]byte, 2048)
	tv := unix.NsecToTimeval(int64(100 * time.Millisecond))
	unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	for deadline := time.Now().Add(patience); len(seen) < len(frames); {
		n, sender, err := unix.Recvfrom(in, buf, 0)
		if err != nil {
			if time.Now().After(deadline) { // what has come is read first, however late it has become
				break
			}
			continue
		}
		if l, ok := sender.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		for what, f := range frames {
			if bytes.Equal(buf[:min(n, len(f))], f) || len(f) > 18 && (f[12] == 0x81 || f[12] == 0x88) && bytes.Contains(buf[:n], f[18:]) {
				seen[what] = true
			}
		}
	}
	return seen
}

// frame is an Ethernet frame.
func frame(to, from HardwareAddr, kind uint16, payload []byte) []byte {
	f := append(append(bytes.Clone(to), from...), byte(kind>>8), byte(kind))
	return append(f, payload...)
}

func arp(hardware, op uint16, mac HardwareAddr, ip netip.Addr, toMAC HardwareAddr, toIP netip.Addr) []byte {
	b := []byte{byte(hardware >> 8), byte(hardware), 8, 0, 6, 4, byte(op >> 8), byte(op)}
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, toMAC...), toIP.AsSlice()...)
}

// datagram is IPv4 and UDP without a checksum of its own; mark makes each different.
func datagram(from, to netip.Addr, mark string) []byte {
	udp := append([]byte{0, 7, 0, 9, 0, byte(8 + len(mark)), 0, 0}, mark...)
	h := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], checksum(h, 0))
	return append(h, udp...)
}

func ipv6Packet(from, to netip.Addr, next byte, payload []byte) []byte {
	h := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, 255}
	return append(append(append(h, from.AsSlice()...), to.AsSlice()...), payload...)
}

// discovery is a message of neighbour discovery about an address, with the link-layer address option.
func discovery(kind byte, from, to, target netip.Addr, mac HardwareAddr) []byte {
	m := append([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, target.AsSlice()...)
	if kind == 134 { // router advertisement: hop limit 64, no flags, 1800 s
		m = []byte{kind, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	}
	option := byte(2)
	if kind == 134 || kind == 135 {
		option = 1
	}
	m = append(append(m, option, 1), mac...)
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, 0, byte(len(m)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(m[2:], checksum(append(pseudo, m...), 0))
	return m
}

func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
