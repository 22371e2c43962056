// Package trace sends one real packet and tells its way: interface by interface, hook by hook, with the rules that decided, the
// addresses before and after each translation, the answer's way, and where it died.
//
// It looks at three places at once. A packet socket in each namespace on the way sees every link (packet(7)). A table of nftables, which
// the kernel takes away when the socket that made it closes, however that happens (NFT_TABLE_F_OWNER), marks the probe and its answer
// with `meta nftrace`, and the kernel then reports every rule that they meet, those of iptables-nft too. For the old iptables the
// counters of its rules are compared.
//
// What it is not: it does not see inside other machines, and of a packet that the kernel drops between two hooks (no route, reverse path
// filter) it sees only that it went no further.
package trace

import (
	"context"
	"fmt"
	"time"

	"github.com/mydocker/mydocker/world"
)

// Run sends the probe and collects what was seen of it. What it adds to the kernel is gone when it returns, or dies.
func Run(ctx context.Context, w *world.World, r *Request) (*Trace, error) {
	t := &Trace{Request: r, world: w}
	spaces := t.spaces()
	before, err := t.legacyCounters(ctx, spaces)
	if err != nil {
		return nil, err
	}
	drops := kernelCounters(spaces)
	p, err := newProbe(r)
	if err != nil {
		return nil, err
	}
	defer p.close()
	t.Key = p.key
	var watches []*watch
	defer func() {
		for _, one := range watches {
			one.close()
		}
	}()
	for _, n := range spaces {
		one, err := newWatch(n, p.key)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", n.Name(), err)
		}
		watches = append(watches, one)
	}
	if err := awaitClock(); err != nil {
		return nil, err
	}
	t.Outcome, t.SendErr = p.send(r.Patience)
	time.Sleep(60 * time.Millisecond) // what is on its way to our sockets
	for _, one := range watches {
		frames, marks, err := one.collect()
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", one.space.Name(), err)
		}
		t.Frames, t.marks = append(t.Frames, frames...), append(t.marks, marks...)
	}
	if err := t.resolveRules(ctx); err != nil {
		return nil, err
	}
	after, err := t.legacyCounters(ctx, spaces)
	if err != nil {
		return nil, err
	}
	t.compareCounters(before, after)
	t.tell()
	if t.Outcome != Answered {
		t.findDeath(drops, kernelCounters(spaces))
	}
	return t, nil
}

// spaces are the namespaces that the packet can come through: those of both ends, the host's, and what is beyond it.
func (t *Trace) spaces() (all []*world.Namespace) {
	out, _ := beyond(t.world, t.Request.Six())
	seen := map[*world.Namespace]bool{}
	for _, n := range []*world.Namespace{t.Request.From, t.world.Host, t.Request.ToSpace, out} {
		if n != nil && !seen[n] {
			seen[n] = true
			all = append(all, n)
		}
	}
	// A published port leads to a container that nobody has named.
	for _, c := range t.world.Containers {
		if n := c.Namespace; n != nil && !seen[n] && t.leadsTo(c) {
			seen[n] = true
			all = append(all, n)
		}
	}
	if rules, err := t.world.Rules(context.Background(), t.world.Host); err == nil {
		for _, n := range t.world.Namespaces {
			if !seen[n] && translated(rules, n, t.Request.To.Port()) {
				seen[n] = true
				all = append(all, n)
			}
		}
	}
	return all
}

// translated says whether a rule leads the port to an address of the namespace.
func translated(rules *world.Ruleset, n *world.Namespace, port uint16) bool {
	for _, c := range rules.Chains {
		for _, r := range c.Rules {
			if r.Target == "DNAT" && r.To.Addr.IsValid() && n.Owns(r.To.Addr) {
				for _, p := range r.Match.DPort.Ranges {
					if port >= p[0] && port <= p[1] {
						return true
					}
				}
			}
		}
	}
	return false
}

func (t *Trace) leadsTo(c *world.Container) bool {
	for _, e := range c.Endpoints {
		for _, m := range e.Ports {
			if port := t.Request.To.Port(); port >= m.HostPort && port-m.HostPort < max(m.Count, 1) {
				return true
			}
		}
	}
	return false
}
