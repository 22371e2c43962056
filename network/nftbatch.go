package network

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Every container has its elements in the guard's sets, so this is on the way of every start. The library for nftables takes
// half a millisecond for what is one message and its answer: the message is made here by hand, as for veth pairs.

// changeSets adds elements to sets, or deletes them, in one transaction. It equals: nft 'add element bridge mydocker SET { … }; …'
func changeSets(add bool, elements []nftElement) error {
	kind := uint16(unix.NFT_MSG_NEWSETELEM)
	if !add {
		kind = unix.NFT_MSG_DELSETELEM
	}
	var batch []byte
	batch = nfMessage(batch, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFNL_SUBSYS_NFTABLES)
	for _, x := range elements {
		list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
		key := list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil)
		key.AddRtAttr(unix.NFTA_DATA_VALUE, x.key)
		batch = nfMessage(batch, unix.NFNL_SUBSYS_NFTABLES<<8|kind, uint8(x.family.table), 0,
			nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(nftTable)), nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(x.set)), list)
	}
	batch = nfMessage(batch, unix.NFNL_MSG_BATCH_END, 0, unix.NFNL_SUBSYS_NFTABLES)
	return nfExchange(batch, len(elements))
}

// nfMessage appends a message of nfnetlink: netlink's header, its own (family, version 0, resource), attributes. A begin or end
// of a batch is not acknowledged, everything between is.
func nfMessage(to []byte, kind uint16, family uint8, resource uint16, attributes ...*nl.RtAttr) []byte {
	flags := uint16(unix.NLM_F_REQUEST)
	if kind >= unix.NLMSG_MIN_TYPE+2 && resource == 0 {
		flags |= unix.NLM_F_ACK | unix.NLM_F_CREATE
	}
	start := len(to)
	to = binary.NativeEndian.AppendUint32(to, 0)
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = binary.NativeEndian.AppendUint16(to, flags)
	to = append(to, 0, 0, 0, 0, 0, 0, 0, 0, family, 0)
	to = binary.BigEndian.AppendUint16(to, resource)
	for _, a := range attributes {
		to = append(to, a.Serialize()...)
		for len(to)%4 != 0 {
			to = append(to, 0)
		}
	}
	binary.NativeEndian.PutUint32(to[start:], uint32(len(to)-start))
	return to
}

// nfExchange sends a batch and reads its acknowledgements. The first error is the reason why nothing was done.
func nfExchange(batch []byte, acks int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("speak to netfilter: %w", err)
	}
	buf := make([]byte, 8192)
	for acks > 0 {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("hear netfilter: %w", err)
		}
		for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN+4; acks-- {
			length := int(binary.NativeEndian.Uint32(b))
			if binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR || length < unix.NLMSG_HDRLEN+4 {
				return fmt.Errorf("netfilter answers with a message of type %d", binary.NativeEndian.Uint16(b[4:]))
			}
			if code := int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); code != 0 {
				return unix.Errno(-code)
			}
			b = b[min(len(b), (length+3)&^3):]
		}
	}
	return nil
}

// elementThere asks for one element by its key, and gives the comment that it has. It equals nft get element. The kernel
// finds it at once, however many there are.
func elementThere(s *nl.NetlinkSocket, x nftElement) (comment string, there bool, err error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: s}}
	req.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(x.family.table), Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(nftTable)))
	req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(x.set)))
	list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	key := list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil)
	key.AddRtAttr(unix.NFTA_DATA_VALUE, x.key)
	req.AddData(list)
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.ENOENT) { // the element, or the whole map
		return "", false, nil
	}
	if err != nil || len(answers) == 0 {
		return "", false, fmt.Errorf("look up an element of nftables map %s: %w", x.set, cmp.Or(err, error(unix.EBADMSG)))
	}
	text := answers[0][nl.SizeofNfgenmsg:]
	for _, kind := range []uint16{unix.NFTA_SET_ELEM_LIST_ELEMENTS, unix.NFTA_LIST_ELEM, unix.NFTA_SET_ELEM_USERDATA} {
		if text, err = attribute(text, kind); err != nil {
			return "", false, err
		}
	}
	comment, _ = userdata.GetString(text, userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
	return comment, true, nil
}

// attribute is the content of the first attribute of that kind; none is no content.
func attribute(of []byte, kind uint16) ([]byte, error) {
	all, err := nl.ParseRouteAttr(of)
	for _, a := range all {
		if a.Attr.Type&^unix.NLA_F_NESTED == kind {
			return a.Value, nil
		}
	}
	return nil, err
}
