package world

import (
	"encoding/json"
	"fmt"
	"regexp"
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
