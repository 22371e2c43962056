package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// nfTables is the backend that needs no program: tables of our own, one transaction for each change, and published ports in
// maps, so that a packet pays the same for one published port as for ten thousand.
type nfTables struct {
	// behind says whether networks with the other backend have their rules at the beginning of iptables' FORWARD, of that flavour.
	behind func(f nftFamily, legacy bool) (bool, error)
}

const nftTable = "mydocker"

func (t *nfTables) Name() string { return FirewallNFTables }

// family is what differs between IPv4 and IPv6.
type nftFamily struct {
	v6       bool
	table    nftables.TableFamily
	name     string // as nft writes it
	address  nftables.SetDatatype
	loopback netip.Prefix
}

func nftFamilies() []nftFamily {
	return []nftFamily{
		{false, nftables.TableFamilyIPv4, "ip", nftables.TypeIPAddr, netip.MustParsePrefix("127.0.0.0/8")},
		{true, nftables.TableFamilyIPv6, "ip6", nftables.TypeIP6Addr, netip.MustParsePrefix("::1/128")},
	}
}

func (f nftFamily) tableOf() *nftables.Table {
	return &nftables.Table{Family: f.table, Name: nftTable}
}

// nftTableOp makes a table of ours what it should be, in one transaction. Our chains are emptied and filled anew; the user's chain
// and the elements of the sets are left as they are.
type nftTableOp struct {
	family nftFamily
	sets   []nftMap
	chains []nftChain
	rules  []nftRule // none: the table goes
	reason string
}

// nftNetworks is the table of one family for these networks.
func nftNetworks(f nftFamily, networks []*Network) nftTableOp {
	o := nftTableOp{family: f, sets: nftMaps(f), chains: nftChains(), rules: nftNetworkRules(networks, f)}
	o.reason = "a table of our own, with chains where packets pass and maps of the published ports"
	if len(o.rules) == 0 {
		o.reason = "no network is left: our table goes"
	}
	return o
}

func (o nftTableOp) Why() string { return o.reason }

// Command is one call of nft, and so one transaction.
func (o nftTableOp) Command() string {
	if len(o.rules) == 0 {
		return fmt.Sprintf("nft delete table %s %s", o.family.name, nftTable)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nft 'table %s %s {\n", o.family.name, nftTable)
	for _, s := range o.sets {
		size := ""
		if s.size > 0 {
			size = fmt.Sprintf(" size %d;", s.size)
		}
		fmt.Fprintf(&b, "\t%s %s { %s;%s }\n", s.kind(), s.name, s.text, size)
	}
	for _, c := range o.chains {
		fmt.Fprintf(&b, "\tchain %s { %s}\n", c.name, c.text)
	}
	b.WriteString("}\n")
	for _, c := range o.chains {
		if c.name != "user" {
			fmt.Fprintf(&b, "flush chain %s %s %s\n", o.family.name, nftTable, c.name)
		}
	}
	for i, r := range o.rules {
		mark := ""
		if i == 0 {
			mark = fmt.Sprintf(" comment %q", nftMark(o.rules))
		}
		fmt.Fprintf(&b, "add rule %s %s %s %s%s\n", o.family.name, nftTable, r.chain, r.text, mark)
	}
	return strings.TrimSpace(b.String()) + "'"
}

func (o nftTableOp) apply(context.Context, *kernel) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	table := o.family.tableOf()
	if len(o.rules) == 0 {
		c.DelTable(table)
		err := c.Flush()
		if errors.Is(err, unix.ENOENT) {
			return plan.ErrNothing
		}
		return wrap(err, "delete nftables table %s %s", o.family.name, nftTable)
	}
	present, err := nftMapsThere(c, o.family)
	if err != nil {
		return err
	}
	c.AddTable(table)
	for _, s := range o.sets {
		if slices.Contains(present, s.name) { // with its elements
			continue
		}
		if err := c.AddSet(s.set(table), nil); err != nil {
			return err
		}
	}
	chains := map[string]*nftables.Chain{}
	for _, spec := range o.chains {
		chains[spec.name] = c.AddChain(spec.chain(table))
		if spec.name != "user" {
			c.FlushChain(chains[spec.name])
		}
	}
	for i, r := range o.rules {
		var mark []byte
		if i == 0 {
			mark = userdata.AppendString(nil, userdata.TypeComment, nftMark(o.rules))
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chains[r.chain], Exprs: r.exprs, UserData: mark})
	}
	return wrap(c.Flush(), "write nftables table %s %s", o.family.name, nftTable)
}

// nftMark is a sum of the rules, which the first of them carries as its comment: by it and by their number they are known
// to be those that are wanted.
func nftMark(rules []nftRule) string {
	var all strings.Builder
	for _, r := range rules {
		all.WriteString(r.chain + " " + r.text + "\n")
	}
	sum := sha256.Sum256([]byte(all.String()))
	return commentMark + hex.EncodeToString(sum[:6])
}

// Networks compares the mark and the number of rules in each chain.
func (t *nfTables) Networks(_ context.Context, networks []*Network) (ops []operation, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	for _, f := range nftFamilies() {
		want := nftNetworks(f, networks)
		same, err := want.done(c)
		if err != nil {
			return nil, err
		}
		if !same {
			if want, err = want.lacking(c); err != nil {
				return nil, err
			}
			ops = append(ops, want)
		}
		behind, err := t.behind(f, false)
		if err != nil {
			return nil, err
		}
		pass := nftPassFor(f, networks, behind)
		if same, err = pass.done(c); err != nil {
			return nil, err
		}
		if !same {
			ops = append(ops, pass)
		}
		if behind, err = t.behind(f, true); err != nil {
			return nil, err
		}
		legacy, err := legacyPass(f, networks, behind)
		if err != nil {
			return nil, err
		}
		ops = append(ops, legacy...)
	}
	return ops, nil
}

// CheckIPv6 has nothing to say: the kernel has both families or none.
func (t *nfTables) CheckIPv6() error { return nil }

// Fresh is the rules of these networks.
func (t *nfTables) Fresh(networks ...*Network) (ops []operation) {
	for _, f := range nftFamilies() {
		if o := nftNetworks(f, networks); len(o.rules) > 0 {
			ops = append(ops, o)
		}
	}
	return ops
}

// lacking leaves out the sets that are there: nft would refuse to make them once more, as it marks sets in another way than the library.
func (o nftTableOp) lacking(c *nftables.Conn) (nftTableOp, error) {
	present, err := nftMapsThere(c, o.family)
	o.sets = slices.DeleteFunc(slices.Clone(o.sets), func(s nftMap) bool { return slices.Contains(present, s.name) })
	return o, err
}

// done says whether the kernel has it already.
func (o nftTableOp) done(c *nftables.Conn) (bool, error) {
	chains, err := c.ListChainsOfTableFamily(o.family.table)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	var own []string
	for _, ch := range chains {
		if ch.Table.Name == nftTable {
			own = append(own, ch.Name)
		}
	}
	if len(o.rules) == 0 {
		return len(own) == 0, nil
	}
	want := map[string]int{}
	for _, r := range o.rules {
		want[r.chain]++
	}
	for _, spec := range o.chains {
		if !slices.Contains(own, spec.name) {
			return false, nil
		}
		if spec.name == "user" {
			continue
		}
		there, err := c.GetRules(o.family.tableOf(), &nftables.Chain{Name: spec.name})
		if err != nil {
			return false, fmt.Errorf("list nftables rules: %w", err)
		}
		if len(there) != want[spec.name] {
			return false, nil
		}
		if spec.name == o.rules[0].chain {
			if mark, _ := userdata.GetString(there[0].UserData, userdata.TypeComment); mark != nftMark(o.rules) {
				return false, nil
			}
		}
	}
	return true, nil
}

// Intact looks for the hook that leads to the published ports, and for the chain that guards the way in. It is asked at every
// start, so it asks the kernel directly, as the other backend does.
func (t *nfTables) Intact(n *Network) bool {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return false
	}
	defer s.Close()
	hooked := func(family uint8) bool {
		return nftJumps(s, family, nftTable, "prerouting", "publish") && nftJumps(s, family, nftTable, "forward", "user")
	}
	return (!n.EnableIPv4() || hooked(unix.AF_INET)) && (!n.EnableIPv6 || hooked(unix.AF_INET6))
}
