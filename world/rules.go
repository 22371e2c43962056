package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/mydocker/mydocker/network"
)

// The kernel has two places for rules: nftables, in which iptables-nft writes too, and the old iptables'. All of them see every packet.
// They are read by the programs that know them, iptables-save and nft, and understood as far as the questions go that are asked here.

// Backends of a rule.
const (
	IPTables = "iptables" // iptables-nft, or the only iptables there is
	Legacy   = "iptables-legacy"
	NFTables = "nft"
)

// Ruleset is what one namespace has.
type Ruleset struct {
	Chains []*Chain
	// Unread names what could not be read, and why: a program is missing.
	Unread []string
}

// Chain is a list of rules, and for a base chain where the kernel enters it.
type Chain struct {
	Backend  string
	Family   string // ip, ip6, inet, bridge, arp, netdev
	Table    string // filter, nat, raw, mangle, or nftables' own name
	Name     string
	Hook     string // prerouting, input, forward, output, postrouting; "" for a chain that is only jumped into
	Priority int    // at one hook, lower comes first
	NAT      bool   // asked only for the first packet of a connection
	Policy   string // ACCEPT, DROP; "" without a hook
	Packets  uint64 // of the old iptables: how many its policy has decided about
	Rules    []*Rule
}

// Place is how a chain is called: "nat PREROUTING", "ip6 nat PREROUTING", "ip mydocker forward".
func (c *Chain) Place() string {
	if c.Backend == NFTables || c.Family != "ip" {
		return c.Family + " " + c.Table + " " + c.Name
	}
	return c.Table + " " + c.Name
}

// Rule is one line of a ruleset, and what of it is understood.
type Rule struct {
	Chain    *Chain
	Position int    // from 1
	Handle   int    // nftables' number of it, 0 for others
	Text     string // as iptables-save or nft writes it, without the chain
	Comment  string
	Packets  uint64
	Bytes    uint64
	Owner    Owner
	Match    Match
	// Target is ACCEPT, DROP, REJECT, DNAT, SNAT, MASQUERADE, REDIRECT, RETURN, a chain's name after JUMP or GOTO, LOG and other names of
	// targets that do not decide; "" for a rule that only counts.
	Target string
	Jump   string // the chain that it leads into
	Goto   bool
	// To is where DNAT and SNAT lead.
	To Translation
	// Map are the entries of an nftables map that DNAT looks into.
	Map []MapEntry
}

// Translation is a target address, and a run of ports; the zero values mean "as it was".
type Translation struct {
	Addr             netip.Addr
	PortMin, PortMax uint16
	Shift            uint16 // the port of the packet that becomes PortMin; 0: all become PortMin
}

// MapEntry is a published port of the nftables backend.
type MapEntry struct {
	Addr    netip.Addr // invalid: any address of the host
	Proto   string
	Port    uint16
	To      netip.AddrPort
	Comment string
}

// Match is what a rule asks of a packet. What is not understood makes it Partial: such a rule may or may not match.
type Match struct {
	In, Out      IfMatch
	Src, Dst     AddrMatch
	Proto        string
	NotProto     bool
	SPort, DPort PortMatch
	States       []string // NEW, ESTABLISHED, RELATED, INVALID, DNAT, SNAT: one of them
	NotStates    bool
	DstType      string // LOCAL, BROADCAST, …
	NotDstType   bool
	SrcType      string
	NotSrcType   bool
	Astray       string // "yes": it asks for packets whose answer would leave by another link; "no": for the others; "" for neither
	Partial      bool
}

// IfMatch is a name of a link; a + at its end stands for anything.
type IfMatch struct {
	Names []string
	Not   bool
}

// AddrMatch is one of some networks.
type AddrMatch struct {
	Nets []netip.Prefix
	Not  bool
}

// PortMatch is one of some runs of ports.
type PortMatch struct {
	Ranges [][2]uint16
	Not    bool
}

type rulesCache struct {
	mu   sync.Mutex
	sets map[*Namespace]*Ruleset
	// holders are the processes that have sockets, by the sockets' inodes; nil: not read yet.
	holders map[uint64]Process
}

// Rules reads the rules of a namespace, once.
func (w *World) Rules(ctx context.Context, n *Namespace) (*Ruleset, error) {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	if r := w.cache.sets[n]; r != nil {
		return r, nil
	}
	r, err := readRules(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", n.Name(), err)
	}
	for _, c := range r.Chains {
		for _, rule := range c.Rules {
			rule.Owner = w.ruleOwner(rule)
		}
	}
	if w.cache.sets == nil {
		w.cache.sets = map[*Namespace]*Ruleset{}
	}
	w.cache.sets[n] = r
	return r, nil
}

// DNSTable leads a container's questions for names to mydocker's resolver (network/dnsredirect.go).
const DNSTable = "netdev mydocker-dns"

// Quiet says that a namespace has no rules, or only those with which mydocker leads names to its resolver: there is nothing to read.
func (n *Namespace) Quiet() bool {
	for _, t := range n.Tables {
		if t != DNSTable {
			return false
		}
	}
	return len(n.LegacyTables) == 0
}

// ReadRules reads the rules as they are now, their counters too. Their owners are not looked for.
func ReadRules(ctx context.Context, n *Namespace) (*Ruleset, error) {
	r, err := readRules(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", n.Name(), err)
	}
	return r, nil
}

func readRules(ctx context.Context, n *Namespace) (*Ruleset, error) {
	r := &Ruleset{}
	for _, family := range []string{"ip", "ip6"} {
		if n.hasIPTablesNFT(family) {
			program := family + "tables-save"
			text, err := n.output(ctx, program, "-c")
			if err := r.note(program, err, func() error { return r.addIPTables(text, IPTables, family) }); err != nil {
				return nil, err
			}
		}
		if n.hasLegacy(family) {
			text, program, err := n.legacySave(ctx, family)
			if err := r.note(program, err, func() error { return r.addIPTables(text, Legacy, family) }); err != nil {
				return nil, err
			}
		}
	}
	for _, table := range n.nativeTables() {
		text, err := n.output(ctx, "nft", append([]string{"-j", "list", "table"}, strings.Fields(table)...)...)
		var words []byte
		if err == nil {
			words, err = n.output(ctx, "nft", append([]string{"-a", "list", "table"}, strings.Fields(table)...)...)
		}
		if err := r.note("nft", err, func() error { return r.addNFT(text, words) }); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// note turns a missing program into a remark: the rest can still be judged.
func (r *Ruleset) note(program string, err error, use func() error) error {
	if errors.Is(err, exec.ErrNotFound) {
		if text := program + " is not installed"; !slices.Contains(r.Unread, text) {
			r.Unread = append(r.Unread, text)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return use()
}

// hasIPTablesNFT: iptables-nft calls its tables as iptables does.
func (n *Namespace) hasIPTablesNFT(family string) bool {
	return slices.ContainsFunc(n.Tables, func(t string) bool { return isIPTablesTable(t) && strings.HasPrefix(t, family+" ") })
}

func isIPTablesTable(t string) bool {
	family, name, _ := strings.Cut(t, " ")
	return (family == "ip" || family == "ip6") && slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, name)
}

func (n *Namespace) nativeTables() []string {
	return slices.DeleteFunc(slices.Clone(n.Tables), func(t string) bool { return isIPTablesTable(t) || t == DNSTable })
}

func (n *Namespace) hasLegacy(family string) bool {
	return slices.ContainsFunc(n.LegacyTables, func(t string) bool { return strings.HasPrefix(t, family+" ") })
}

// legacySave reads the old tables: by iptables-legacy-save, or by iptables-save where that is the old one. iptables-nft's program
// would not show them.
func (n *Namespace) legacySave(ctx context.Context, family string) (text []byte, program string, err error) {
	program = family + "tables-legacy-save"
	text, err = n.output(ctx, program, "-c")
	if !errors.Is(err, exec.ErrNotFound) {
		return text, program, err
	}
	short := family + "tables-save"
	version, versionErr := n.output(ctx, short, "-V")
	if versionErr != nil || bytes.Contains(version, []byte("nf_tables")) {
		return nil, program, err
	}
	text, err = n.output(ctx, short, "-c")
	return text, short, err
}

// output runs a program in the namespace. It equals: ip netns exec NAME PROGRAM ARGS.
func (n *Namespace) output(ctx context.Context, program string, args ...string) (out []byte, err error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, exec.ErrNotFound)
	}
	door := network.Sandbox{Name: n.Name(), Path: n.Path}
	err = door.Do(func() error { // a child has the network namespace of the thread that starts it
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Stderr = &stderr
		var err error
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
		}
		return nil
	})
	return out, err
}

// ruleOwner knows our rules by their comments, and by the names of our chains.
func (w *World) ruleOwner(r *Rule) Owner {
	if rest, ok := strings.CutPrefix(r.Comment, "mydocker "); ok {
		name, _, _ := strings.Cut(rest, ":")
		if n := w.Network(name); n != nil && strings.Contains(rest, ": ") {
			return Owner{"network", n.ID, n.Name}
		}
		name, _, _ = strings.Cut(rest, " ")
		if c := w.Container(name); c != nil {
			return Owner{"container", c.ID, c.Name}
		}
		if !strings.Contains(rest, " ") { // the mark of a version of the rules, and nobody's name
			return Owner{Kind: "mydocker"}
		}
		return Owner{Kind: "mydocker", Name: name}
	}
	if r.Chain.Backend == NFTables && (r.Chain.Table == "mydocker" && r.Chain.Name != "user" || r.Chain.Table == "mydocker-dns") ||
		strings.HasPrefix(r.Chain.Name, "MYDOCKER") && r.Chain.Name != "MYDOCKER-USER" || strings.HasPrefix(r.Jump, "MYDOCKER") {
		for _, n := range w.Networks {
			if n.Bridge != "" && (slices.Contains(r.Match.In.Names, n.Bridge) || slices.Contains(r.Match.Out.Names, n.Bridge)) {
				return Owner{"network", n.ID, n.Name}
			}
		}
		return Owner{Kind: "mydocker"}
	}
	return Owner{}
}
