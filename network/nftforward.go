package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// What a chain of ours accepts, another chain at the same hook can still drop: to accept is to end one chain, to drop is to end
// the packet's life. The one chain that programs commonly close is iptables' FORWARD (ufw, Docker, an administrator's
// `iptables -P FORWARD DROP`). Where it is there, our bridges are let through at its beginning; our own chains have
// their say before or after it. iptables shows these rules as -i BRIDGE -j ACCEPT and -o BRIDGE -j ACCEPT.

// nftPass is these rules for all networks of one family.
type nftPass struct {
	family  nftFamily
	bridges []string
	behind  bool // the rules of networks with the iptables backend, which are the first there
}

func (o nftPass) Why() string {
	if len(o.bridges) == 0 {
		return "iptables' FORWARD is as it was"
	}
	return "iptables' FORWARD, which may drop what our own chains accept, leaves our bridges to them"
}

func (o nftPass) Command() string {
	var lines []string
	where := fmt.Sprintf("insert rule %s filter FORWARD", o.family.name)
	if o.behind {
		where = fmt.Sprintf("add rule %s filter FORWARD index 0", o.family.name) // which is behind the first
	}
	for _, r := range slices.Backward(o.rules()) {
		lines = append(lines, fmt.Sprintf("nft '%s %s comment %q'", where, r.text, r.chain))
	}
	if len(lines) == 0 {
		return fmt.Sprintf("nft -a list chain %s filter FORWARD | sed -n 's/.*comment \"%s.*handle /delete rule %s filter FORWARD handle /p' | nft -f -",
			o.family.name, strings.TrimSpace(commentMark), o.family.name)
	}
	return strings.Join(lines, "\n")
}

// rules are two for each bridge, with their comment in place of the chain.
func (o nftPass) rules() []nftRule {
	b := &nftBuilder{f: o.family}
	for _, link := range o.bridges {
		mark := commentMark + link + ": decided in table " + nftTable
		b.rule(mark).from(link).say("counter", &expr.Counter{}).verdict("accept")
		b.rule(mark).to(link).say("counter", &expr.Counter{}).verdict("accept")
	}
	return b.rules
}

// nftForwardChain is iptables' FORWARD, nil if there is none.
func nftForwardChain(c *nftables.Conn, f nftFamily) (*nftables.Chain, error) {
	chains, err := c.ListChainsOfTableFamily(f.table)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == "filter" && ch.Name == "FORWARD" && ch.Hooknum != nil {
			return ch, nil
		}
	}
	return nil, nil
}

// ownHook is where the rules of networks with the iptables backend begin, -1 if there are none. What they drop must be dropped
// before our bridges are let through.
func ownHook(rules []*nftables.Rule) int {
	return slices.IndexFunc(rules, func(r *nftables.Rule) bool {
		return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
			v, ok := e.(*expr.Verdict)
			return ok && v.Chain == forwardChain.name
		})
	})
}

// apply writes ours anew, before all others'.
func (o nftPass) apply(context.Context, *kernel) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	chain, err := nftForwardChain(c, o.family)
	if err != nil {
		return err
	}
	if chain == nil {
		return plan.ErrNothing
	}
	there, err := c.GetRules(chain.Table, chain)
	if err != nil {
		return fmt.Errorf("list the rules of FORWARD: %w", err)
	}
	for _, r := range there {
		if strings.HasPrefix(nftComment(r), commentMark) {
			if err := c.DelRule(&nftables.Rule{Table: chain.Table, Chain: chain, Handle: r.Handle}); err != nil {
				return err
			}
		}
	}
	for _, r := range slices.Backward(o.rules()) {
		rule := &nftables.Rule{Table: chain.Table, Chain: chain, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.chain)}
		if own := ownHook(there); own >= 0 {
			rule.Position = there[own].Handle
			c.AddRule(rule)
		} else {
			c.InsertRule(rule)
		}
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOENT) { // somebody was faster
		err = nil
	}
	return wrap(err, "write into iptables' FORWARD")
}

func nftComment(r *nftables.Rule) string {
	text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return text
}

// done says whether the rules are there, before all others'. Where iptables has no FORWARD there is nothing that could drop, unless
// those who are before us make it anew.
func (o nftPass) done(c *nftables.Conn) (bool, error) {
	chain, err := nftForwardChain(c, o.family)
	if err != nil || chain == nil {
		return !o.behind || len(o.bridges) == 0, err
	}
	there, err := c.GetRules(chain.Table, chain)
	if err != nil {
		return false, fmt.Errorf("list the rules of FORWARD: %w", err)
	}
	var ours []string
	before := ownHook(there) + 1
	for i, r := range there {
		if text := nftComment(r); strings.HasPrefix(text, commentMark) {
			if i != before+len(ours) {
				return false, nil
			}
			ours = append(ours, text)
		}
	}
	var want []string
	for _, r := range o.rules() {
		want = append(want, r.chain)
	}
	return slices.Equal(ours, want), nil
}

// nftPassFor is what the networks of one family need.
func nftPassFor(f nftFamily, networks []*Network, behind bool) nftPass {
	o := nftPass{family: f, behind: behind}
	for _, n := range networks {
		if n.speaks(f.v6) {
			o.bridges = append(o.bridges, n.Bridge)
		}
	}
	return o
}

// hooksForward says whether networks that are in the kernel have, or should have, rules in iptables' FORWARD.
func (m *Manager) hooksForward(f nftFamily, legacy bool) (bool, error) {
	live, err := m.liveNetworks()
	if err != nil {
		return false, err
	}
	return m.hookedBy(f, live, legacy), nil
}

// hookedBy is that of these networks, by their backends. The legacy flavour of iptables has a FORWARD of its own.
func (m *Manager) hookedBy(f nftFamily, networks map[string][]*Network, legacy bool) bool {
	for name, of := range networks {
		fw, err := m.firewall(name)
		if err != nil {
			continue // nobody can make rules with a program that is not there
		}
		if t, ok := fw.(*ipTables); ok && t.v4.legacy == legacy && len(networkRules(of, f.v6).hooks) > 0 {
			return true
		}
	}
	return false
}
