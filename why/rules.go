package why

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// findRules finds rules by their text, as iptables-save or nft writes it or as a command that made it, or by a part of the text that
// is more than a word; by what they do, MASQUERADE; a chain by its name.
func findRules(ctx context.Context, q *Question) (answers []Answer, err error) {
	want := newPattern(q.Thing)
	m := newMakers()
	for _, n := range q.World.Namespaces {
		if n.Quiet() {
			continue
		}
		set, err := q.World.Rules(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, c := range set.Chains {
			if want.isChain(c) {
				answers = append(answers, q.chain(m, n, c))
			}
			for _, r := range c.Rules {
				if want.fits(r) {
					answers = append(answers, q.rule(m, n, r))
				}
			}
		}
	}
	return answers, nil
}

// pattern is what is looked for.
type pattern struct {
	table, chain string
	words        []string
	whole        bool // the words are a whole rule
}

// newPattern reads "iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE", "-A FORWARD …", "nat MYDOCKER", or a part of a rule.
func newPattern(text string) (p pattern) {
	words := strings.Fields(strings.ReplaceAll(text, `"`, ""))
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case i <= 1 && len(p.words) == 0 && (w == "iptables" || w == "ip6tables" || w == "sudo" || w == "nft"), w == "-w", w == "--wait":
		case (w == "-t" || w == "--table") && i+1 < len(words):
			p.table = words[i+1]
			i++
		case (w == "-A" || w == "-I" || w == "-D" || w == "--append" || w == "--insert") && i+1 < len(words):
			p.chain, p.whole = words[i+1], true
			i++
			if i+1 < len(words) && strings.Trim(words[i+1], "0123456789") == "" {
				i++ // -I CHAIN 1
			}
		default:
			p.words = append(p.words, w)
		}
	}
	return p
}

func (p pattern) isChain(c *world.Chain) bool {
	return !p.whole && (len(p.words) == 1 && p.words[0] == c.Name || len(p.words) >= 2 && strings.Join(p.words, " ") == c.Place())
}

func (p pattern) fits(r *world.Rule) bool {
	if p.table != "" && p.table != r.Chain.Table || p.chain != "" && p.chain != r.Chain.Name || len(p.words) == 0 {
		return false
	}
	if !p.whole && len(p.words) < 2 {
		return p.words[0] == r.Comment || p.words[0] == r.Target // any other single word could be anything
	}
	have := strings.Fields(strings.ReplaceAll(r.Text, `"`, ""))
	if p.whole || len(p.words) >= 4 { // the kernel shows more than was typed ("-m tcp"), and in another order: all words must be there
		return sameRule(p.words, have)
	}
	return strings.Contains(" "+strings.Join(have, " ")+" ", " "+strings.Join(p.words, " ")+" ")
}

// sameRule compares what was typed with what is shown: each typed word stands there, with or without the /32 of a single address.
func sameRule(typed, shown []string) bool {
	left := slices.Clone(shown)
	for _, w := range typed {
		i := slices.IndexFunc(left, func(have string) bool { return have == w || have == w+"/32" || have == w+"/128" })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

func (q *Question) rule(m *makers, n *world.Namespace, r *world.Rule) Answer {
	a := Answer{Kind: KindRule, Name: r.Chain.Place() + ": " + r.Text, Where: n.Name(), Look: inNamespace(n, lookAt(r.Chain))}
	if a.ours(r.Owner) {
		if r.Comment != "" {
			a.Evidence = append(a.Evidence, q.Texts.Text("why.evidence.comment", "comment", r.Comment))
		} else {
			a.Evidence = append(a.Evidence, q.Texts.Text("why.evidence.chain", "chain", r.Chain.Place()))
		}
	} else {
		maker, evidence := q.ruleMaker(m, r)
		a.other(maker, evidence)
		if maker.ID == "hand" && r.Chain.Backend != world.NFTables {
			a.Undo = inNamespace(n, fmt.Sprintf("iptables -t %s -D %s %d", r.Chain.Table, r.Chain.Name, r.Position))
		}
	}
	a.Purpose = q.rulePurpose(n, r)
	return a
}

// lookAt is the command that shows a chain.
func lookAt(c *world.Chain) string {
	if c.Backend == world.NFTables {
		return fmt.Sprintf("nft list chain %s %s %s", c.Family, c.Table, c.Name)
	}
	program := "iptables"
	if c.Family == "ip6" {
		program = "ip6tables"
	}
	if c.Backend == world.Legacy {
		program += "-legacy"
	}
	return fmt.Sprintf("%s -t %s -nvL %s --line-numbers", program, c.Table, c.Name)
}

// ruleMaker tells who made a rule that does not say that it is ours: by the chain it is in or leads into, its comment, and the links it
// names.
func (q *Question) ruleMaker(m *makers, r *world.Rule) (Maker, string) {
	t := q.Texts
	for _, name := range []string{r.Chain.Table, r.Chain.Name, r.Jump} {
		if maker, ok := m.rules.find(name); ok && name != "" && r.Chain.Name != "MYDOCKER-USER" && r.Chain.Name != "DOCKER-USER" {
			return maker, t.Text("why.evidence.chain", "chain", name)
		}
	}
	if maker, ok := commentMaker(r.Comment); ok {
		return maker, t.Text("why.evidence.comment", "comment", r.Comment)
	}
	for _, name := range slices.Concat(r.Match.In.Names, r.Match.Out.Names) {
		if maker, ok := m.links.find(name); ok && r.Chain.Name != "DOCKER-USER" {
			return maker, t.Text("why.evidence.link", "link", name)
		}
	}
	return Maker{"hand"}, t.Text("why.evidence.no-comment")
}

// commentMaker knows programs that say in a comment who they are.
func commentMaker(comment string) (Maker, bool) {
	for _, k := range []struct{ maker, part string }{
		{"kubernetes", "kubernetes "}, {"kubernetes", "kube-"}, {"kubernetes", "cali:"}, {"kubernetes", "flanneld"}, {"kubernetes", "cilium"},
		{"cni", `name: "`}, {"cni", "dnat name:"}, {"lxc", "generated for LXD network"}, {"lxc", "generated for Incus network"}, {"lxc", "managed by lxd"},
	} {
		if strings.Contains(comment, k.part) {
			return Maker{k.maker}, true
		}
	}
	return Maker{}, false
}

// rulePurpose says what a rule does.
func (q *Question) rulePurpose(n *world.Namespace, r *world.Rule) (list []string) {
	t := q.Texts
	outBridge := ""
	for _, name := range r.Match.Out.Names {
		if l := n.Link(name); !r.Match.Out.Not && l != nil && l.Kind == "bridge" {
			outBridge = name
		}
	}
	switch {
	case r.Target == "DNAT":
		list = append(list, t.Text("why.purpose.dnat"))
		if r.To.Addr.IsValid() {
			for _, other := range q.World.Namespaces {
				if other != n && other.Owns(r.To.Addr) && !r.To.Addr.IsLoopback() {
					list = append(list, t.Text("why.purpose.dnat-to", "address", r.To.Addr, "place", place(other.Name(), t)))
				}
			}
		}
	case r.Target == "MASQUERADE" && outBridge != "":
		list = append(list, t.Text("why.purpose.hairpin", "bridge", outBridge))
	case r.Target == "MASQUERADE" || r.Target == "SNAT":
		list = append(list, t.Text("why.purpose.snat"))
	case r.Target == "REDIRECT":
		list = append(list, t.Text("why.purpose.redirect"))
	case r.Jump != "":
		list = append(list, t.Text("why.purpose.jump", "chain", r.Jump))
	case r.Target == "ACCEPT" || r.Target == "RETURN" || r.Target == "DROP" || r.Target == "REJECT":
		list = append(list, t.Text("why.purpose."+strings.ToLower(r.Target)))
	default:
		list = append(list, t.Text("why.purpose.target", "target", r.Target))
	}
	if slices.Contains(r.Match.States, "ESTABLISHED") {
		list = append(list, t.Text("why.purpose.established"))
	}
	if r.Packets > 0 {
		list = append(list, t.Text("why.purpose.met", "packets", r.Packets))
	} else {
		list = append(list, t.Text("why.purpose.unmet"))
	}
	return list
}

func (q *Question) chain(m *makers, n *world.Namespace, c *world.Chain) Answer {
	t := q.Texts
	a := Answer{Kind: KindRule, Name: c.Place(), Where: n.Name(), Look: inNamespace(n, lookAt(c))}
	maker, ok := m.rules.find(c.Name)
	if !ok {
		maker, ok = m.rules.find(c.Table)
	}
	switch {
	case ok:
		a.other(maker, t.Text("why.evidence.chain", "chain", c.Place()))
	case c.Hook != "" && c.Backend != world.NFTables:
		a.other(Maker{"kernel"}, t.Text("why.evidence.base"))
	default:
		a.other(Maker{"hand"}, t.Text("why.evidence.nothing"))
	}
	if c.Hook != "" {
		a.Purpose = append(a.Purpose, t.Text("why.purpose.base", "hook", c.Hook, "policy", c.Policy))
	} else {
		a.Purpose = append(a.Purpose, t.Text("why.purpose.chain"))
	}
	if c.Name == "MYDOCKER-USER" || c.Name == "DOCKER-USER" {
		a.Purpose = append(a.Purpose, t.Text("why.purpose.user-chain"))
	}
	a.Purpose = append(a.Purpose, t.Text("why.purpose.rules", "count", len(c.Rules)))
	return a
}
