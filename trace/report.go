package trace

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// Show prints the way. With ask, each decision is asked for before it is shown: a is accept, d is drop, t is translate; what is not
// one of them counts as no answer. right and all say how many answers were good.
func (t *Trace) Show(out io.Writer, texts *lang.Catalogue, ask io.Reader) (right, all int) {
	var in *bufio.Reader
	if ask != nil {
		in = bufio.NewReader(ask)
	}
	fmt.Fprintln(out, texts.Text("trace.probe", "proto", t.Request.Proto, "from", t.Request.FromName, "to", t.Request.ToName, "address", t.target()))
	answer := false
	counted := false
	for _, s := range t.Steps {
		counted = counted || s.Kind == "counter"
		if s.Answer && !answer {
			answer = true
			fmt.Fprintln(out, texts.Text("trace.back"))
		}
		if in != nil && s.question() {
			all++
			fmt.Fprint(out, "  ", texts.Text("trace.ask", "space", s.Space, "chain", s.Chain, "packet", s.Packet))
			line, _ := in.ReadString('\n') // the end of the input is no answer
			if good := s.guess(strings.ToLower(strings.TrimSpace(line))); good {
				right++
				fmt.Fprintln(out, texts.Text("trace.right"))
			} else {
				fmt.Fprintln(out, texts.Text("trace.wrong"))
			}
		}
		if s.Before != (Addresses{}) {
			fmt.Fprintln(out, "              ", texts.Text("trace.translated", "before", s.Before, "after", s.Packet))
		}
		fmt.Fprintln(out, s.line(texts))
	}
	if counted {
		fmt.Fprintln(out, texts.Text("trace.counters"))
	}
	fmt.Fprintln(out, t.Result(texts))
	if in != nil {
		fmt.Fprintln(out, texts.Text("trace.score", "right", right, "all", all))
	}
	return right, all
}

func (t *Trace) target() string {
	if t.Request.Proto == "icmp" {
		return t.Request.To.Addr().String()
	}
	return t.Request.To.String()
}

// line is a step: who, what, and with which addresses.
func (s Step) line(texts *lang.Catalogue) string {
	switch s.Kind {
	case "in", "out":
		link := s.Link
		if s.Master != "" {
			link = texts.Text("trace.port", "link", s.Link, "bridge", s.Master)
		}
		where := texts.Text("trace."+s.Kind, "link", link)
		return fmt.Sprintf("  %s %s %s%s", lang.Pad(s.Space, 10), lang.Pad(where, 38), s.Packet, brackets(s.Flags))
	case "policy":
		return fmt.Sprintf("  %s   %s: %s", lang.Pad(s.Space, 10), s.Chain, texts.Text("trace.policy", "verdict", s.Verdict))
	}
	owner := texts.Owner(s.Owner)
	if owner == "" {
		owner = texts.Text("trace.by-hand")
	}
	rule := s.Rule
	if rule == "" {
		rule = "?"
	}
	if s.Kind == "counter" {
		owner = texts.Text("trace.counter", "owner", owner)
	}
	if s.Verdict == strings.Replace(rule, "-j", "jump", 1) { // the rule says no more
		return fmt.Sprintf("  %s   %s: %s  (%s)", lang.Pad(s.Space, 10), s.Chain, s.Verdict, owner)
	}
	return fmt.Sprintf("  %s   %s: %s  (%s)\n               %s", lang.Pad(s.Space, 10), s.Chain, s.Verdict, owner, rule)
}

func brackets(flags string) string {
	if flags == "" {
		return ""
	}
	return " [" + flags + "]"
}

// question: a decision that somebody can foresee.
func (s Step) question() bool {
	return s.Kind == "policy" || (s.Kind == "rule" || s.Kind == "counter") && !strings.HasPrefix(s.Verdict, "jump") && s.Verdict != "RETURN"
}

// guess compares an answer with what happened.
func (s Step) guess(answer string) bool {
	want := "a"
	switch s.Verdict {
	case "DROP", "REJECT":
		want = "d"
	case "DNAT", "SNAT", "MASQUERADE", "REDIRECT":
		want = "t"
	}
	return answer != "" && answer[:1] == want
}

// Result says how it ended, and where.
func (t *Trace) Result(texts *lang.Catalogue) string {
	if d := t.Dropped(); d != nil && t.Outcome != Answered {
		by := d.Rule
		if by == "" {
			by = d.Verdict
		}
		return texts.Text("trace.dropped", "space", d.Space, "chain", d.Chain, "rule", by) + t.guard(texts, d)
	}
	if t.death != nil {
		return t.death.text(texts, t.size())
	}
	last := t.Last()
	switch t.Outcome {
	case Answered:
		if t.Request.Proto == "tcp" {
			return texts.Text("trace.connected", "to", t.Request.ToName)
		}
		return texts.Text("trace.answered", "to", t.Request.ToName)
	case Refused:
		who := t.Request.ToName
		for _, s := range t.Steps {
			if s.Answer && s.Kind == "out" {
				who = s.Space
				break
			}
		}
		if t.untranslated() && who == t.world.Host.Name() {
			return texts.Text("trace.refused-here", "space", who, "port", t.Request.To.Port())
		}
		return texts.Text("trace.refused", "space", who)
	case NotSent:
		return texts.Text("trace.not-sent", "error", t.SendErr)
	}
	if last == nil {
		if t.SendErr != nil {
			return texts.Text("trace.not-sent", "error", t.SendErr)
		}
		return texts.Text("trace.unseen", "from", t.Request.FromName)
	}
	if !last.Answer && last.Kind == "in" && t.Request.ToSpace != nil && last.Space == t.Request.ToSpace.Name() {
		return texts.Text("trace.no-answer", "space", last.Space)
	}
	return texts.Text("trace.lost-"+last.Kind, "space", last.Space, "link", last.Link)
}

// guard says what the guard at the ports of mydocker's bridges wants, when it is what has dropped the packet. Its rules have no comments.
func (t *Trace) guard(texts *lang.Catalogue, d *Step) string {
	who := t.Request.FromName
	if d.Answer || !t.Request.From.Owns(d.Packet.Src.Addr()) {
		who = t.Request.ToName
	}
	switch d.Chain {
	case "bridge mydocker sender":
		return "\n" + texts.Text("trace.guard-sender", "who", who, "address", d.Packet.Src.Addr())
	case "bridge mydocker alone":
		return "\n" + texts.Text("trace.guard-alone", "who", who, "address", d.Packet.Dst.Addr())
	}
	return ""
}

// untranslated: it was for a port of the host, and nothing led it on.
func (t *Trace) untranslated() bool {
	for _, s := range t.Steps {
		if !s.Answer && s.Packet.Dst.IsValid() && s.Packet.Dst != t.Request.To {
			return false
		}
	}
	return t.Request.ToSpace == t.world.Host && t.Request.Proto != "icmp"
}

// text is the sentence about a death that no rule has caused.
func (d *death) text(texts *lang.Catalogue, size int) string {
	switch d.cause {
	case "no-route":
		return texts.Text("trace.death-no-route", "space", d.space, "address", d.address)
	case "no-neighbour":
		return texts.Text("trace.death-no-neighbour", "space", d.space, "address", d.address, "link", d.link)
	case "macvlan":
		return texts.Text("trace.death-macvlan", "space", d.space, "address", d.address, "link", d.link)
	case "too-big":
		if d.mtu == 0 {
			return texts.Text("trace.death-too-big", "space", d.space, "size", size)
		}
		return texts.Text("trace.death-narrow", "space", d.space, "size", size, "link", d.link, "mtu", d.mtu)
	case "prohibited":
		return texts.Text("trace.death-prohibited", "space", d.space)
	case "loop":
		return texts.Text("trace.death-loop", "space", d.space)
	case "rp-filter":
		return texts.Text("trace.death-rp-filter", "space", d.space, "link", d.link, "source", d.source, "setting", d.setting)
	case "not-forwarding":
		return texts.Text("trace.death-not-forwarding", "space", d.space, "link", d.link, "setting", d.setting)
	}
	return texts.Text("trace.death-peer-down", "space", d.space, "link", d.link, "far", d.far)
}
