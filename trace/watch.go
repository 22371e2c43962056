package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
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
