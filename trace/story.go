package trace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/world"
)

// Trace is what was seen of one probe.
type Trace struct {
	Request *Request
	Key     Key
	Outcome string // Answered, Refused, Silence, NotSent
	SendErr error  // what the sender was told
	Frames  []Frame
	Steps   []Step

	world *world.World
	marks []mark
	risen map[any]bool // of the old iptables: rules, and chains with a policy, whose counters rose
	death *death
}

// Step is one thing that happened to the packet, or to its answer.
type Step struct {
	Kind    string // "out", "in": at a link; "rule", "policy": in a chain; "counter": the same of the old iptables
	Answer  bool
	Space   string
	Link    string
	Master  string // of the link: a bridge
	Chain   string // "nat PREROUTING"
	Rule    string
	Owner   string // "container web", "network br0", "mydocker"; "" for somebody else's
	Verdict string // ACCEPT, DROP, DNAT, jump MYDOCKER
	Packet  Addresses
	Before  Addresses // not zero: somebody has translated it since the step before
	Flags   string
}

// Dropped is the step that ended the packet's way by a rule or a policy, nil when none did.
func (t *Trace) Dropped() *Step {
	for i := range t.Steps {
		if v := t.Steps[i].Verdict; v == "DROP" || v == "REJECT" {
			return &t.Steps[i]
		}
	}
	return nil
}

// Last is the last place where it, or its answer, was seen.
func (t *Trace) Last() *Step {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		if t.Steps[i].Kind == "in" || t.Steps[i].Kind == "out" {
			return &t.Steps[i]
		}
	}
	return nil
}

// tell puts frames and marks into one order. The kernel's clock orders the frames; a mark has no time, but is met between the link that
// a packet came in by and the one that it leaves by.
func (t *Trace) tell() {
	slices.SortStableFunc(t.Frames, func(a, b Frame) int { return a.Time.Compare(b.Time) })
	queues, order := t.queues()
	seen := map[string]bool{}
	for _, f := range t.Frames {
		link, master := "?", ""
		if f.Link != nil {
			if link = f.Link.Name; f.Link.Master != nil {
				master = f.Link.Master.Name
			}
		}
		key := fmt.Sprint(f.Space.Inode, link, f.Out, f.Packet, f.Flags)
		if seen[key] {
			continue // sent once more, because nobody answered
		}
		seen[key] = true
		step := Step{Kind: "in", Answer: f.Answer, Space: f.Space.Name(), Link: link, Master: master, Packet: f.Packet, Flags: f.Flags}
		q := queues[queueKey(f.Space, f.Answer, f.Flags)]
		if f.Out {
			step.Kind = "out"
			t.meet(q, f.Link, "output", "postrouting")
			t.legacyOut(f)
			t.Steps = append(t.Steps, step)
			continue
		}
		t.Steps = append(t.Steps, step)
		t.legacyIn(f)
		switch {
		case master == "":
			t.meet(q, nil)
		case f.Space.Sysctl(bridgeNF(f.Packet)) == "1":
			t.meet(q, nil, "prerouting") // a bridge asks these when a packet comes in by a port, and they are not asked again behind it
		}
	}
	for _, key := range order { // of packets that no further link has seen
		t.meet(queues[key], nil)
	}
	t.translations()
}

// bridgeNF is the setting that hands packets from port to port to the rules of a family.
func bridgeNF(p Addresses) string {
	if p.Src.Addr().Is6() {
		return "net/bridge/bridge-nf-call-ip6tables"
	}
	return "net/bridge/bridge-nf-call-iptables"
}

// queue is what a packet meets in one namespace, in this order, as far as it has not been told yet.
type queue struct{ marks []mark }

func queueKey(n *world.Namespace, answer bool, flags string) string {
	return fmt.Sprint(n.Inode, answer, flags)
}

// queues puts the marks of one packet together. The kernel gives it a number, which may change between two hooks, and its headers where
// it enters a base chain. A packet that is sent again meets the same rules: once is enough.
func (t *Trace) queues() (queues map[string]*queue, order []string) {
	type number struct {
		space *world.Namespace
		id    uint32
	}
	queues = map[string]*queue{}
	heads, again, known := map[number]mark{}, map[number]bool{}, map[string]bool{}
	for _, m := range t.marks {
		n := number{m.space, m.id}
		if m.packet != nil {
			key := fmt.Sprint(m.space.Inode, m.family, m.table, m.chain, *m.packet, m.flags)
			again[n] = known[key]
			known[key] = true
			heads[n] = m
		}
		h, ok := heads[n]
		if ok && h.flags == Asking && !t.asks(h.packet.Src.Addr()) { // somebody else's question
			continue
		}
		if !ok || again[n] || t.Key.Proto == "tcp" && h.flags != "" && h.flags != Asking && !strings.Contains(h.flags, "SYN") && !strings.Contains(h.flags, "RST") {
			continue
		}
		m.packet, m.flags, m.answer = h.packet, h.flags, h.answer
		if m.hook == "" { // in a chain that was jumped into
			m.hook = h.hook
		}
		key := queueKey(m.space, m.answer, m.flags)
		if queues[key] == nil {
			queues[key] = &queue{}
			order = append(order, key)
		}
		queues[key].marks = append(queues[key].marks, m)
	}
	return queues, order
}

// asks says whether it is an address of one of the two ends.
func (t *Trace) asks(a netip.Addr) bool {
	return t.Request.From.Owns(a) || t.Request.ToSpace != nil && t.Request.ToSpace.Owns(a)
}

// meet tells of what is in the queue. hooks restrict it to marks of these hooks: always, or, where link is given, if that is lo, on
// which a packet first leaves and then comes in.
func (t *Trace) meet(q *queue, link *world.Link, hooks ...string) {
	if link != nil && !link.Loopback {
		hooks = nil
	}
	for q != nil && len(q.marks) > 0 {
		m := q.marks[0]
		if len(hooks) > 0 && !slices.Contains(hooks, m.hook) {
			return
		}
		q.marks = q.marks[1:]
		s := Step{Kind: "rule", Answer: m.answer, Space: m.space.Name(), Chain: m.place(), Packet: *m.packet, Flags: m.flags, Verdict: verdictName(m.verdict)}
		switch {
		case m.kind == tracePolicy:
			s.Kind = "policy"
		case m.kind != traceRule || m.verdict == -1: // the end of a chain that was jumped into; a rule that only counts
			continue
		}
		if m.family == "bridge" && s.Verdict != "DROP" { // the guard of the bridge has many rules, of which one matters
			continue
		}
		if m.rule != nil {
			s.Rule, s.Owner = m.rule.Text, owner(m.rule, m.packet.Dst, t.Request.Proto)
			switch m.rule.Target {
			case "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "REJECT":
				s.Verdict = m.rule.Target
			}
			if m.rule.Jump != "" {
				s.Verdict = "jump " + m.rule.Jump
			}
		}
		t.Steps = append(t.Steps, s)
	}
}

// owner is whose the rule is; of a map, whose the entry is that a packet to this address finds.
func owner(r *world.Rule, to netip.AddrPort, proto string) string {
	for _, e := range r.Map {
		words := strings.Fields(e.Comment)
		if e.Port == to.Port() && e.Proto == proto && (!e.Addr.IsValid() || e.Addr == to.Addr()) && len(words) > 1 && words[0] == "mydocker" {
			return "container " + words[1]
		}
	}
	return r.Owner.String()
}

// place is the chain as its users call it.
func (m *mark) place() string {
	if m.rule != nil {
		return m.rule.Chain.Place()
	}
	if m.family == "ip" && slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, m.table) {
		return m.table + " " + m.chain
	}
	return m.family + " " + m.table + " " + m.chain
}

func verdictName(v int32) string {
	switch v {
	case 0:
		return "DROP"
	case 1:
		return "ACCEPT"
	case 3:
		return "QUEUE"
	case -5:
		return "RETURN"
	case -3, -4:
		return "jump"
	}
	return ""
}

// translations notes where a packet's addresses became others.
func (t *Trace) translations() {
	now := map[string]Addresses{}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.Packet == (Addresses{}) {
			continue
		}
		key := fmt.Sprint(s.Answer, s.Flags)
		if before, ok := now[key]; ok && before != s.Packet {
			s.Before = before
		}
		now[key] = s.Packet
	}
}

// resolveRules finds the rule of each mark. nftables knows a rule by its handle; iptables-save does not print handles, but the order
// of a chain's rules is the same.
func (t *Trace) resolveRules(ctx context.Context) error {
	type chainKey struct {
		space                *world.Namespace
		family, table, chain string
	}
	handles := map[chainKey][]uint64{}
	for i := range t.marks {
		m := &t.marks[i]
		rules, err := t.world.Rules(ctx, m.space)
		if err != nil {
			return err
		}
		for _, c := range rules.Chains {
			if c.Backend != world.Legacy && c.Family == m.family && c.Table == m.table && c.Name == m.chain {
				m.hook = c.Hook
			}
		}
		if m.kind != traceRule {
			continue
		}
		key := chainKey{m.space, m.family, m.table, m.chain}
		if _, ok := handles[key]; !ok {
			if handles[key], err = ruleHandles(m); err != nil {
				return err
			}
		}
		position := slices.Index(handles[key], m.handle)
		for _, c := range rules.Chains {
			if c.Backend == world.Legacy || c.Family != m.family || c.Table != m.table || c.Name != m.chain || position < 0 {
				continue
			}
			if position < len(c.Rules) {
				m.rule = c.Rules[position]
			}
		}
	}
	return nil
}

func ruleHandles(m *mark) (handles []uint64, err error) {
	at, err := netns.GetFromPath(m.space.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.space.Path, err)
	}
	defer at.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(at)))
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	family := map[string]nftables.TableFamily{"ip": nftables.TableFamilyIPv4, "ip6": nftables.TableFamilyIPv6, "inet": nftables.TableFamilyINet, "bridge": nftables.TableFamilyBridge, "netdev": nftables.TableFamilyNetdev}[m.family]
	table := &nftables.Table{Name: m.table, Family: family}
	rules, err := c.GetRules(table, &nftables.Chain{Name: m.chain, Table: table})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the rules of %s %s: %w", m.table, m.chain, err)
	}
	for _, r := range rules {
		handles = append(handles, r.Handle)
	}
	return handles, nil
}
