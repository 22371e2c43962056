package network

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What the netlink library has no words for: deleting flows by a filter, and counting them. The numbers are those of
// linux/netfilter/nfnetlink_conntrack.h (enum ctattr_type, ctattr_filter, ctattr_stats_global, cntl_msg_types); the bits say which
// fields of a tuple count (CTA_FILTER_F_… in the kernel's net/netfilter/nf_internals.h, fixed since Linux 5.8).
const (
	ctaFilter             = 25
	ctaFilterOrigFlags    = 1
	ctaFilterReplyFlags   = 2
	filterIPSource        = 1 << 0
	filterProtocol        = 1 << 3
	filterDestinationPort = 1 << 5

	getStats           = 5
	statsGlobalEntries = 1

	maxFilters = 16 // each is a walk through the kernel's table; beyond, one list of all is cheaper
)

// sourceFilter describes the flows whose answers come from an IPv4 address.
func sourceFilter(a netip.Addr) []*nl.RtAttr {
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_REPLY, nil)
	tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(nl.CTA_IP_V4_SRC, a.AsSlice())
	return []*nl.RtAttr{tuple, filterFlags(ctaFilterReplyFlags, filterIPSource)}
}

// udpFilter describes the flows that began with a datagram to a port.
func udpFilter(port uint16) []*nl.RtAttr {
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
	protocol := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	protocol.AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_UDP})
	protocol.AddRtAttr(nl.CTA_PROTO_DST_PORT, binary.BigEndian.AppendUint16(nil, port))
	return []*nl.RtAttr{tuple, filterFlags(ctaFilterOrigFlags, filterProtocol|filterDestinationPort)}
}

func filterFlags(side int, fields uint32) *nl.RtAttr {
	f := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	f.AddRtAttr(side, binary.NativeEndian.AppendUint32(nil, fields))
	return f
}

// flushFlows deletes the flows that a filter describes. EINVAL: the kernel knows no filter here. It then takes the tuple for
// the whole name of one flow, finds it incomplete, and has deleted nothing.
func flushFlows(filters [][]*nl.RtAttr, family netlink.InetFamily) error {
	for _, f := range filters {
		req := conntrackRequest(nl.IPCTNL_MSG_CT_DELETE, family, unix.NLM_F_ACK)
		for _, a := range f {
			req.AddData(a)
		}
		if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// countFlows is the number of flows that the kernel remembers for this network namespace.
func countFlows() (int, error) {
	answers, err := conntrackRequest(getStats, unix.AF_UNSPEC, unix.NLM_F_ACK).Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return 0, err
	}
	for _, answer := range answers {
		attrs, err := nl.ParseRouteAttr(answer[nl.SizeofNfgenmsg:])
		if err != nil {
			return 0, err
		}
		for _, a := range attrs {
			if a.Attr.Type&nl.NLA_TYPE_MASK == statsGlobalEntries && len(a.Value) == 4 {
				return int(binary.BigEndian.Uint32(a.Value)), nil
			}
		}
	}
	return 0, errors.New("the kernel does not count its connections")
}

func conntrackRequest(operation int, family netlink.InetFamily, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(netlink.ConntrackTable)<<8|operation, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: nl.NFNETLINK_V0})
	return req
}
