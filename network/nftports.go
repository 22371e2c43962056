package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// nftElement is one published port: an element of a map.
type nftElement struct {
	family   nftFamily
	set      string
	text     string // as nft writes it
	key, val []byte
	comment  string // container, publication, start of the endpoint's id
}

// nftElements are an endpoint's published ports.
func nftElements(e *Endpoint) []nftElement {
	var all []nftElement
	for _, f := range nftFamilies() {
		to := e.Address.Addr()
		if f.v6 {
			to = e.Address6.Addr()
		}
		for _, p := range e.Ports {
			if !to.IsValid() || p.HostIP.IsValid() && p.HostIP.Is6() != f.v6 || !e.ruled(p) {
				continue
			}
			for i := range p.Count {
				all = append(all, newElement(f, e, p, to, p.HostPort+i, p.ContainerPort+i))
			}
		}
	}
	return all
}

func newElement(f nftFamily, e *Endpoint, p PortMapping, to netip.Addr, port, inner uint16) nftElement {
	proto := map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}[p.Proto]
	x := nftElement{family: f, comment: commentMark + e.ContainerName + " " + p.String() + " " + short(e.ID)}
	x.set, x.key = nftKey(p, proto, port)
	x.val = append(binary.BigEndian.AppendUint16(to.AsSlice(), inner), 0, 0)
	x.text = fmt.Sprintf("%s . %d comment %q : %s . %d", p.Proto, port, x.comment, to, inner)
	if x.set == "addresses" {
		x.text = p.HostIP.String() + " . " + x.text
	}
	return x
}

// keyText is a published port's key as nft writes it: what the kernel lists has no text.
func (x nftElement) keyText() string {
	ports := x.key[len(x.key)-8:]
	proto := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}[ports[0]]
	text := fmt.Sprintf("%s . %d", proto, binary.BigEndian.Uint16(ports[4:]))
	if ip, ok := netip.AddrFromSlice(x.key[:len(x.key)-8]); ok {
		text = ip.String() + " . " + text
	}
	return text
}

// place is what two elements cannot share.
func (x nftElement) place() string { return x.family.name + " " + x.set + " " + string(x.key) }

// fewElements is up to how many elements asking for each is cheaper than listing a map that may hold thousands.
const fewElements = 100

// placesTaken are those of the elements whose place is taken, by a comment that is wanted.
func placesTaken(elements []nftElement, wanted func(mine nftElement, comment string) bool) (taken []nftElement, err error) {
	if len(elements) > fewElements {
		mine := make(map[string]nftElement, len(elements))
		for _, x := range elements {
			mine[x.place()] = x
		}
		return elementsThere(func(x nftElement) bool { m, there := mine[x.place()]; return there && wanted(m, x.comment) })
	}
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	defer s.Close()
	for _, x := range elements {
		comment, there, err := elementThere(s, x)
		if err != nil {
			return nil, err
		}
		if there && wanted(x, comment) {
			taken = append(taken, x)
		}
	}
	return taken, nil
}

// nftPublish puts an endpoint's ports into the maps, in place of an old container's that have not been removed yet.
type nftPublish struct{ elements []nftElement }

func (o nftPublish) Command() string {
	var lines []string
	for _, x := range o.elements {
		lines = append(lines, fmt.Sprintf("nft 'add element %s %s %s { %s }'", x.family.name, nftTable, x.set, x.text))
	}
	return strings.Join(lines, "\n")
}
func (o nftPublish) Why() string { return "who asks for the host's port is led to the container" }

func (o nftPublish) apply(context.Context, *kernel) error {
	err := changeElements(nil, o.elements)
	if errors.Is(err, unix.EEXIST) {
		var old []nftElement
		if old, err = placesTaken(o.elements, func(nftElement, string) bool { return true }); err == nil {
			err = changeElements(old, o.elements)
		}
	}
	if errors.Is(err, unix.ENOENT) { // table or map: somebody has flushed the rules
		return &refused{"nft", err, "add element"}
	}
	return wrap(err, "publish ports by nftables")
}

// nftUnpublish takes elements out.
type nftUnpublish struct{ elements []nftElement }

func (o nftUnpublish) Command() string {
	var lines []string
	for _, x := range o.elements {
		lines = append(lines, fmt.Sprintf("nft 'delete element %s %s %s { %s }' # %s", x.family.name, nftTable, x.set, x.keyText(), x.comment))
	}
	return strings.Join(lines, "\n")
}
func (o nftUnpublish) Why() string { return "the host's ports are its own again" }

// apply takes those out that are still the endpoint's: a next container may have the port already.
func (o nftUnpublish) apply(context.Context, *kernel) error {
	there, err := placesTaken(o.elements, func(mine nftElement, comment string) bool { return mine.comment == comment })
	if err != nil {
		return err
	}
	if len(there) == 0 {
		return plan.ErrNothing
	}
	return removeElements(there)
}

// removeElements takes elements out together or, because somebody else is at it too, one by one.
func removeElements(elements []nftElement) error {
	if changeElements(elements, nil) == nil {
		return nil
	}
	var errs []error
	for _, x := range elements {
		if err := changeElements([]nftElement{x}, nil); !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// changeElements is one transaction, and so one message to the kernel, which must find room in the socket's buffer.
func changeElements(gone, come []nftElement) error {
	room := 1024 * (len(gone) + len(come))
	c, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		if room < 1<<17 { // less than any default
			return nil
		}
		return errors.Join(c.SetWriteBuffer(room), c.SetReadBuffer(room)) // the kernel acknowledges every part
	}))
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	err = eachSet(gone, func(s *nftables.Set, elements []nftables.SetElement) error { return c.SetDeleteElements(s, elements) })
	if err == nil {
		err = eachSet(come, func(s *nftables.Set, elements []nftables.SetElement) error { return c.SetAddElements(s, elements) })
	}
	if err != nil {
		return err
	}
	return c.Flush()
}

// eachSet hands elements on by their sets, 100 at a time: the length of a list has 16 bits.
func eachSet(elements []nftElement, do func(*nftables.Set, []nftables.SetElement) error) error {
	for len(elements) > 0 {
		first := elements[0]
		var some []nftables.SetElement
		for len(some) < 100 && len(some) < len(elements) {
			x := elements[len(some)]
			if x.family.name != first.family.name || x.set != first.set {
				break
			}
			some = append(some, nftables.SetElement{Key: x.key, Val: x.val, Comment: x.comment})
		}
		if err := do(first.mapOf(), some); err != nil {
			return err
		}
		elements = elements[len(some):]
	}
	return nil
}

func (x nftElement) mapOf() *nftables.Set {
	sets := nftMaps
	if x.family.table == nftables.TableFamilyBridge {
		sets = func(nftFamily) []nftMap { return guardSets() }
	}
	for _, s := range sets(x.family) {
		if s.name == x.set {
			return s.set(x.family.tableOf())
		}
	}
	return nil
}

// elementsThere are the published ports that are wanted.
func elementsThere(wanted func(nftElement) bool) (all []nftElement, err error) {
	for _, f := range nftFamilies() {
		some, err := elementsIn(f, nftMaps(f), wanted)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// elementsIn are those in some sets of our table; of a set that is not there, none.
func elementsIn(f nftFamily, sets []nftMap, wanted func(nftElement) bool) (all []nftElement, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	for _, s := range sets {
		there, err := c.GetSetElements(s.set(f.tableOf()))
		if err != nil && (errors.Is(err, unix.ENOENT) || strings.HasSuffix(err.Error(), unix.ENOENT.Error())) { // the library does not wrap it
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list nftables %s %s: %w", s.kind(), s.name, err)
		}
		for _, e := range there {
			if x := (nftElement{family: f, set: s.name, key: e.Key, val: e.Val, comment: e.Comment}); wanted(x) {
				all = append(all, x)
			}
		}
	}
	return all, nil
}

// nftMapsThere names the maps in our table, none if there is no table. The library's errors do not tell "absent" from others.
func nftMapsThere(c *nftables.Conn, f nftFamily) ([]string, error) {
	tables, err := c.ListTablesOfFamily(f.table)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == nftTable }) {
		return nil, nil
	}
	sets, err := c.GetSets(f.tableOf())
	if err != nil {
		return nil, fmt.Errorf("list nftables maps: %w", err)
	}
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
	}
	return names, nil
}

func (x nftElement) endpoint() string { return x.comment[strings.LastIndex(x.comment, " ")+1:] }

// Publish is one transaction however many ports there are.
func (t *nfTables) Publish(e *Endpoint) []operation {
	if elements := nftElements(e); len(elements) > 0 {
		return []operation{nftPublish{elements}}
	}
	return nil
}

// Withdraw takes an endpoint's elements out.
func (t *nfTables) Withdraw(e *Endpoint) []operation {
	if elements := nftElements(e); len(elements) > 0 {
		return []operation{nftUnpublish{elements}}
	}
	return nil
}

// Unpublish finds the elements by the endpoints' ids in their comments.
func (t *nfTables) Unpublish(_ context.Context, endpoints ...string) ([]operation, error) {
	gone, err := elementsThere(func(x nftElement) bool { return slices.Contains(endpoints, x.endpoint()) })
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	return []operation{nftUnpublish{gone}}, nil
}

// Published reads the ids in the comments.
func (t *nfTables) Published(context.Context) (map[string]portsThere, error) {
	ids := map[string]portsThere{}
	all, err := elementsThere(func(nftElement) bool { return true })
	for _, x := range all {
		p := ids[x.endpoint()]
		p.elements = append(p.elements, x)
		ids[x.endpoint()] = p
	}
	return ids, err
}

// Mend knows elements by all of their content.
func (t *nfTables) Mend(e *Endpoint, there portsThere) (ops []operation) {
	content := func(x nftElement) string { return x.place() + " " + string(x.val) + x.comment }
	want := nftElements(e)
	if old := without(there.elements, want, content); len(old) > 0 {
		ops = append(ops, nftUnpublish{old})
	}
	if missing := without(want, there.elements, content); len(missing) > 0 {
		ops = append(ops, nftPublish{missing})
	}
	return ops
}

// Rename is one transaction: the kernel takes the same key and value with another comment for nothing new.
func (t *nfTables) Rename(e *Endpoint, there portsThere) []operation {
	if len(t.Mend(e, there)) == 0 {
		return nil
	}
	return []operation{nftRename{there.elements, nftElements(e)}}
}

type nftRename struct{ old, now []nftElement }

func (o nftRename) Command() string {
	var parts []string
	for _, x := range o.old {
		parts = append(parts, fmt.Sprintf("delete element %s %s %s { %s }", x.family.name, nftTable, x.set, x.keyText()))
	}
	for _, x := range o.now {
		parts = append(parts, fmt.Sprintf("add element %s %s %s { %s }", x.family.name, nftTable, x.set, x.text))
	}
	return "nft '" + strings.Join(parts, "; ") + "'"
}
func (o nftRename) Why() string { return "the rule's comment names the container as it is called now" }

func (o nftRename) apply(context.Context, *kernel) error {
	err := changeElements(o.old, o.now)
	if errors.Is(err, unix.ENOENT) {
		return &refused{"nft", err, "rename element"}
	}
	return wrap(err, "rename published ports by nftables")
}
