package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What `nft -j list table` prints is described in libnftables-json(5).

type nftObject struct {
	Chain *struct {
		Family, Table, Name string
		Type, Hook, Policy  string
		Prio                int
	}
	Rule *struct {
		Family, Table, Chain string
		Handle               int
		Comment              string
		Expr                 []map[string]json.RawMessage
	}
	Map *nftSet
	Set *nftSet
}

type nftSet struct {
	Family, Table, Name string
	Elem                []json.RawMessage
}

// nftReader keeps what is needed of one table.
type nftReader struct {
	ruleset *Ruleset
	chains  map[string]*Chain
	sets    map[string]*nftSet
	words   map[int]string // a rule's handle -> its text
}

// addNFT reads one table: document is its JSON, and text what nft prints for people, with handles.
func (r *Ruleset) addNFT(document, text []byte) error {
	var list struct{ Nftables []nftObject }
	if err := json.Unmarshal(document, &list); err != nil {
		return fmt.Errorf("the JSON of nft is not understood: %w", err)
	}
	n := nftReader{ruleset: r, chains: map[string]*Chain{}, sets: map[string]*nftSet{}, words: ruleTexts(string(text))}
	for _, o := range list.Nftables {
		switch {
		case o.Chain != nil:
			c := &Chain{Backend: NFTables, Family: o.Chain.Family, Table: o.Chain.Table, Name: o.Chain.Name, Hook: o.Chain.Hook,
				Priority: o.Chain.Prio, NAT: o.Chain.Type == "nat", Policy: strings.ToUpper(o.Chain.Policy)}
			n.chains[c.Name] = c
			r.Chains = append(r.Chains, c)
		case o.Map != nil:
			n.sets[o.Map.Name] = o.Map
		case o.Set != nil:
			n.sets[o.Set.Name] = o.Set
		}
	}
	for _, o := range list.Nftables {
		if o.Rule == nil || n.chains[o.Rule.Chain] == nil {
			continue
		}
		c := n.chains[o.Rule.Chain]
		rule := &Rule{Chain: c, Position: len(c.Rules) + 1, Handle: o.Rule.Handle, Comment: o.Rule.Comment, Text: n.words[o.Rule.Handle]}
		for _, expr := range o.Rule.Expr {
			for kind, value := range expr {
				n.expression(rule, kind, value)
			}
		}
		c.Rules = append(c.Rules, rule)
	}
	return nil
}

// ruleTexts finds "… # handle 7" lines.
func ruleTexts(text string) map[int]string {
	found := map[int]string{}
	handle := regexp.MustCompile(`^(.*) # handle (\d+)$`)
	for line := range strings.Lines(text) {
		if m := handle.FindStringSubmatch(strings.TrimSpace(line)); m != nil && !strings.HasSuffix(m[1], "{") {
			number, err := strconv.Atoi(m[2])
			if err == nil {
				found[number] = m[1]
			}
		}
	}
	return found
}

func (n *nftReader) expression(r *Rule, kind string, value json.RawMessage) {
	switch kind {
	case "match":
		if !n.match(r, value) {
			r.Match.Partial = true
		}
	case "counter":
		var c struct{ Packets, Bytes uint64 }
		if json.Unmarshal(value, &c) == nil {
			r.Packets, r.Bytes = c.Packets, c.Bytes
		}
	case "accept", "drop", "reject", "masquerade", "return", "queue":
		r.Target = strings.ToUpper(kind)
	case "redirect", "dnat", "snat":
		r.Target = strings.ToUpper(kind)
		n.translation(r, value)
	case "jump", "goto":
		var j struct{ Target string }
		if json.Unmarshal(value, &j) == nil {
			r.Target, r.Jump, r.Goto = j.Target, j.Target, kind == "goto"
		}
	case "log", "mangle", "notrack", "ct helper", "ct timeout", "flow", "set":
		if r.Target == "" {
			r.Target = strings.ToUpper(kind)
		}
	case "limit", "vmap", "quota", "xt", "meter", "ct count", "last":
		r.Match.Partial = true
		if kind == "vmap" {
			n.verdictMap(r, value)
		}
	default:
		r.Match.Partial = true
	}
}

// verdictMap: what it decides is not understood; that it may is.
func (n *nftReader) verdictMap(r *Rule, _ json.RawMessage) { r.Target = "VMAP" }

// match understands `left op right` for the fields that decide where packets of containers go.
func (n *nftReader) match(r *Rule, value json.RawMessage) bool {
	var m struct {
		Op    string
		Left  map[string]json.RawMessage
		Right json.RawMessage
	}
	if json.Unmarshal(value, &m) != nil || m.Op != "==" && m.Op != "!=" && m.Op != "in" {
		return false
	}
	values, ok := n.values(m.Right)
	if !ok {
		return false
	}
	not := m.Op == "!="
	for kind, raw := range m.Left {
		var f struct {
			Key, Protocol, Field, Result string
			Flags                        []string
		}
		if json.Unmarshal(raw, &f) != nil {
			return false
		}
		return r.Match.set(kind, f.Protocol, f.Key+f.Field+f.Result+strings.Join(f.Flags, ","), values, not)
	}
	return false
}

// set notes one comparison.
func (m *Match) set(kind, proto, field string, values []string, not bool) bool {
	switch kind + " " + field {
	case "meta iifname", "meta iif":
		m.In = IfMatch{wildcards(values), not}
	case "meta oifname", "meta oif":
		m.Out = IfMatch{wildcards(values), not}
	case "meta l4proto", "payload protocol", "payload nexthdr":
		if len(values) != 1 {
			return false
		}
		m.Proto, m.NotProto = protoName(values[0]), not
	case "payload saddr":
		return addrs(&m.Src, values, not)
	case "payload daddr":
		return addrs(&m.Dst, values, not)
	case "payload sport", "payload dport":
		if proto != "th" {
			m.Proto = proto
		}
		to := &m.SPort
		if field == "dport" {
			to = &m.DPort
		}
		return ports(to, values, not)
	case "ct state":
		m.States, m.NotStates = append(m.States, upper(values)...), not
	case "ct status":
		m.States, m.NotStates = append(m.States, upper(values)...), not
		for _, v := range values {
			if v != "dnat" && v != "snat" {
				return false
			}
		}
	case "fib typedaddr":
		m.DstType, m.NotDstType = strings.ToUpper(values[0]), not
	case "fib typesaddr":
		m.SrcType, m.NotSrcType = strings.ToUpper(values[0]), not
	case "meta nfproto":
		return true // the packets that are asked about here are of the chain's family
	default:
		return false
	}
	return true
}

func wildcards(names []string) []string {
	for i, name := range names {
		if rest, ok := strings.CutSuffix(name, "*"); ok {
			names[i] = rest + "+"
		}
	}
	return names
}

func upper(values []string) (all []string) {
	for _, v := range values {
		all = append(all, strings.ToUpper(v))
	}
	return all
}

func protoName(s string) string {
	switch s {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	}
	return s
}

func addrs(to *AddrMatch, values []string, not bool) bool {
	to.Not = not
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return false
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		to.Nets = append(to.Nets, p.Masked())
	}
	return true
}

func ports(to *PortMatch, values []string, not bool) bool {
	to.Not = not
	for _, v := range values {
		first, last, isRange := strings.Cut(v, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		until, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil {
			return false
		}
		to.Ranges = append(to.Ranges, [2]uint16{uint16(from), uint16(until)})
	}
	return true
}

// values flattens a right-hand side: a word, a number, {"prefix":…}, {"range":[a,b]}, {"set":[…]}, ["a","b"], "@set".
func (n *nftReader) values(raw json.RawMessage) ([]string, bool) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	return n.flatten(v)
}

func (n *nftReader) flatten(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "@"); ok {
			return n.elements(name)
		}
		return []string{v}, true
	case float64:
		return []string{strconv.Itoa(int(v))}, true
	case []any:
		return n.flattenAll(v)
	case map[string]any:
		if p, ok := v["prefix"].(map[string]any); ok {
			addr, _ := p["addr"].(string)
			bits, _ := p["len"].(float64)
			return []string{fmt.Sprintf("%s/%d", addr, int(bits))}, true
		}
		if r, ok := v["range"].([]any); ok && len(r) == 2 {
			ends, ok := n.flattenAll(r)
			return []string{strings.Join(ends, "-")}, ok && len(ends) == 2
		}
		if s, ok := v["set"].([]any); ok {
			return n.flattenAll(s)
		}
		if e, ok := v["elem"].(map[string]any); ok {
			return n.flatten(e["val"])
		}
		if c, ok := v["concat"].([]any); ok {
			return n.flattenAll(c)
		}
	}
	return nil, false
}

func (n *nftReader) flattenAll(list []any) (all []string, ok bool) {
	for _, one := range list {
		some, ok := n.flatten(one)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}

func (n *nftReader) elements(set string) (all []string, ok bool) {
	s := n.sets[set]
	if s == nil {
		return nil, false
	}
	for _, raw := range s.Elem {
		some, ok := n.values(raw)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}

// translation reads where dnat, snat and redirect lead: an address and a port, or a map of them.
func (n *nftReader) translation(r *Rule, value json.RawMessage) {
	var t struct {
		Addr json.RawMessage
		Port json.RawMessage
	}
	if json.Unmarshal(value, &t) != nil {
		return // redirect without a port is null
	}
	var byMap struct {
		Map struct{ Data json.RawMessage }
	}
	if json.Unmarshal(t.Addr, &byMap) == nil && byMap.Map.Data != nil {
		var name string
		if json.Unmarshal(byMap.Map.Data, &name) == nil && n.sets[strings.TrimPrefix(name, "@")] != nil {
			r.Map = n.mapEntries(n.sets[strings.TrimPrefix(name, "@")])
			return
		}
		r.Match.Partial = true
		return
	}
	if v, ok := n.values(t.Addr); ok && len(v) == 1 {
		r.To.Addr, _ = netip.ParseAddr(v[0])
	}
	if v, ok := n.values(t.Port); ok && len(v) == 1 {
		var m PortMatch
		if ports(&m, v, false) && len(m.Ranges) == 1 {
			r.To.PortMin, r.To.PortMax = m.Ranges[0][0], m.Ranges[0][1]
		}
	}
}

// mapEntries reads [[key, value], …] with keys "proto . port" or "address . proto . port".
func (n *nftReader) mapEntries(s *nftSet) (all []MapEntry) {
	for _, raw := range s.Elem {
		var pair []json.RawMessage
		if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
			continue
		}
		key, okKey := n.values(pair[0])
		value, okValue := n.values(pair[1])
		if !okKey || !okValue || len(key) < 2 || len(value) != 2 {
			continue
		}
		var e MapEntry
		if len(key) == 3 {
			e.Addr, _ = netip.ParseAddr(key[0])
			key = key[1:]
		}
		port, errPort := strconv.ParseUint(key[1], 10, 16)
		to, errTo := netip.ParseAddr(value[0])
		toPort, errToPort := strconv.ParseUint(value[1], 10, 16)
		if errPort != nil || errTo != nil || errToPort != nil {
			continue
		}
		e.Proto, e.Port, e.To = protoName(key[0]), uint16(port), netip.AddrPortFrom(to, uint16(toPort))
		var elem struct{ Elem struct{ Comment string } }
		if json.Unmarshal(pair[0], &elem) == nil {
			e.Comment = elem.Elem.Comment
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b MapEntry) int { return int(a.Port) - int(b.Port) })
	return all
}
