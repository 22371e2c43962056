package network

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Networks compares what iptables-save shows with what should be there.
func (t *ipTables) Networks(ctx context.Context, networks []*Network) (ops []operation, err error) {
	for _, tool := range t.tools() {
		current, err := tool.current(ctx)
		if err != nil {
			return nil, err
		}
		tables := diffRules(current, networkRules(networks, tool.v6))
		if len(tables) == 0 {
			continue
		}
		reason := "chains of our own, and the ways that lead into them"
		if len(networks) == 0 {
			reason = "no network is left: our chains go"
		}
		ops = append(ops, iptablesBatch{tool: tool, tables: tables, reason: reason})
	}
	return ops, nil
}

// savedRules is what iptables-save shows: chains with their rules, without the leading "-A CHAIN ".
type savedRules map[chain][]string

func (t *ipTool) current(ctx context.Context) (savedRules, error) {
	cmd := exec.CommandContext(ctx, t.save)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s-save: %w: %s", t.name, err, firstLine(stderr.String()))
	}
	return parseSave(stdout.String()), nil
}

func parseSave(text string) savedRules {
	current := savedRules{}
	table := ""
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			c := chain{table, name}
			current[c] = current[c][:len(current[c]):len(current[c])]
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[3:], " ")
			c := chain{table, name}
			current[c] = append(current[c], rule)
		}
	}
	return current
}

// diffRules are the commands that turn the current rules into the wanted ones, touching nobody else's: fill, then hook;
// unhook, then empty. raw and filter come before nat, so that nothing is published before it is guarded.
func diffRules(current savedRules, want ruleset) []tableChange {
	var changes []tableChange
	for _, table := range []string{"raw", "filter", "nat"} {
		d := differ{current: current, want: want, table: table}
		if len(want.hooks) > 0 {
			d.makeChains()
			d.fillChains()
			d.addShared()
			d.addHooks()
			d.removeShared()
		} else {
			d.removeHooks()
			d.removeShared()
			d.removeChains()
		}
		if len(d.commands) > 0 {
			changes = append(changes, tableChange{table, d.commands})
		}
	}
	return changes
}

type differ struct {
	current  savedRules
	want     ruleset
	table    string
	commands []string
}

func (d *differ) say(format string, args ...any) {
	d.commands = append(d.commands, fmt.Sprintf(format, args...))
}

func (d *differ) has(c chain) bool { _, ok := d.current[c]; return ok }

func (d *differ) makeChains() {
	for _, c := range d.want.chains {
		if c.table == d.table && !d.has(c) {
			d.say("-N %s", c.name)
		}
	}
}

// fillChains mends chains. The order of rules matters, too: where it is another, or rules both came and went, a chain is written anew.
func (d *differ) fillChains() {
	for _, c := range d.want.chains {
		rules, decided := d.want.rules[c]
		if c.table != d.table || !decided || slices.Equal(d.current[c], rules) {
			continue
		}
		if d.takeOut(c, rules) || d.putIn(c, rules) {
			continue
		}
		d.say("-F %s", c.name)
		for _, r := range rules {
			d.say("-A %s %s", c.name, r)
		}
	}
}

// takeOut removes rules of somebody else's, if without them the chain is what is wanted.
func (d *differ) takeOut(c chain, want []string) bool {
	var theirs, ours []string
	for _, r := range d.current[c] {
		if slices.Contains(want, r) {
			ours = append(ours, r)
		} else {
			theirs = append(theirs, r)
		}
	}
	if !slices.Equal(ours, want) {
		return false
	}
	for _, r := range theirs {
		d.say("-D %s %s", c.name, r)
	}
	return true
}

// putIn adds rules that are missing, if with them the chain is what is wanted.
func (d *differ) putIn(c chain, want []string) bool {
	left := d.current[c]
	var commands []string
	for i, r := range want {
		switch {
		case len(left) > 0 && left[0] == r:
			left = left[1:]
		case len(left) > 0:
			commands = append(commands, fmt.Sprintf("-I %s %d %s", c.name, i+1, r))
		default:
			commands = append(commands, fmt.Sprintf("-A %s %s", c.name, r))
		}
	}
	if len(left) > 0 {
		return false
	}
	d.commands = append(d.commands, commands...)
	return true
}

func (d *differ) addShared() {
	for _, h := range d.want.shared {
		if h.table == d.table && !slices.Contains(d.current[chain{h.table, h.chain}], h.rule) {
			d.say("-A %s %s", h.chain, h.rule)
		}
	}
}

func (d *differ) addHooks() {
	for _, h := range d.want.hooks {
		if h.table != d.table || slices.Contains(d.current[chain{h.table, h.chain}], h.rule) {
			continue
		}
		if h.first {
			d.say("-I %s 1 %s", h.chain, h.rule)
		} else {
			d.say("-A %s %s", h.chain, h.rule)
		}
	}
}

// removeShared removes rules with our comment that nobody wants any more.
func (d *differ) removeShared() {
	if d.table != "nat" {
		return
	}
	var keep []string
	for _, h := range d.want.shared {
		keep = append(keep, h.rule)
	}
	for _, r := range d.current[chain{"nat", "POSTROUTING"}] {
		if strings.Contains(r, `--comment "`+commentMark) && !slices.Contains(keep, r) {
			d.say("-D POSTROUTING %s", r)
		}
	}
}

// removeHooks removes every jump into our chains that stands in a chain that is not ours.
func (d *differ) removeHooks() {
	var names []string
	own := map[chain]bool{}
	for _, c := range ownChains() {
		own[c] = true
		if c.table == d.table {
			names = append(names, c.name)
		}
	}
	for _, c := range sortedChains(d.current) {
		if c.table != d.table || own[c] {
			continue
		}
		for _, r := range d.current[c] {
			if target := r[strings.LastIndex(r, " ")+1:]; slices.Contains(names, target) {
				d.say("-D %s %s", c.name, r)
			}
		}
	}
}

// removeChains empties and deletes our chains. What the user has written into MYDOCKER-USER stays, and so does the chain.
func (d *differ) removeChains() {
	var gone []string
	for _, c := range ownChains() {
		if c.table != d.table || !d.has(c) || c == userChain && len(d.current[c]) > 0 {
			continue
		}
		if len(d.current[c]) > 0 {
			d.say("-F %s", c.name)
		}
		gone = append(gone, c.name)
	}
	for _, name := range gone {
		d.say("-X %s", name)
	}
}

func sortedChains(rules savedRules) []chain {
	var all []chain
	for c := range rules {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b chain) int { return strings.Compare(a.table+" "+a.name, b.table+" "+b.name) })
	return all
}
