package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// ipTables is the backend that learners can see with `iptables -t nat -nvL`. Starting the program costs more than what it
// does, so rules are added by one iptables-restore for all of them. Looking and the removal of single rules go through
// go-iptables. Which kernel interface is used, nft or legacy, is what `iptables` is on this host.
type ipTables struct {
	backend string
	v4, v6  *ipTool
}

// ipTool is the three programs of one address family.
type ipTool struct {
	name                   string // iptables, ip6tables
	restore, save, program string // paths
	v6                     bool
	legacy                 bool // the program speaks to x_tables, not to nf_tables
}

// errNoIptables says that the host has no iptables.
var errNoIptables = errors.New("iptables is not installed, and networks need it: apt-get install iptables")

func newIPTables(backend string) (*ipTables, error) {
	restore, err := findProgram(backend + "-restore")
	if err != nil {
		return nil, errNoIptables
	}
	dir, legacy := filepath.Dir(restore), isLegacy(restore)
	tool := func(name string) *ipTool {
		return &ipTool{
			name: name, v6: strings.HasPrefix(name, "ip6"), program: filepath.Join(dir, name), legacy: legacy,
			restore: filepath.Join(dir, name+"-restore"), save: filepath.Join(dir, name+"-save"),
		}
	}
	return &ipTables{backend, tool(backend), tool("ip6" + strings.TrimPrefix(backend, "ip"))}, nil
}

// findProgram looks where system programs are, and then in PATH. PATH comes second because root's does not always lead to
// /usr/sbin, and because it is the longer way.
func findProgram(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

func (t *ipTables) Name() string { return t.backend }

// iptablesBatch is rules that are put in place by one run of iptables-restore: within a table all of them or none.
type iptablesBatch struct {
	tool   *ipTool
	tables []tableChange
	checks []string // conditions in table nat: if one does not hold, nothing is done
	reason string
}

// tableChange is commands for one table: -N, -F, -A, -I, -D, -X.
type tableChange struct {
	table    string
	commands []string
}

// Command is the commands one by one.
func (o iptablesBatch) Command() string {
	var lines []string
	for _, t := range o.tables {
		for _, c := range t.commands {
			line := o.tool.name + " " + c
			if t.table != "filter" {
				line = o.tool.name + " -t " + t.table + " " + c
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
func (o iptablesBatch) Why() string { return o.reason }

// script is what iptables-restore reads.
func (o iptablesBatch) script() []byte {
	var b bytes.Buffer
	for _, t := range o.tables {
		fmt.Fprintf(&b, "*%s\n", t.table)
		if t.table == "nat" {
			for _, c := range o.checks {
				fmt.Fprintf(&b, "-C %s\n", c)
			}
		}
		for _, c := range t.commands {
			fmt.Fprintln(&b, c)
		}
		fmt.Fprintln(&b, "COMMIT")
	}
	return b.Bytes()
}

func (o iptablesBatch) apply(ctx context.Context, _ *kernel) error {
	script, err := memoryFile("rules", o.script())
	if err != nil {
		return err
	}
	defer script.Close()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, o.tool.restore, "--noflush", "--wait")
	cmd.Stdin, cmd.Stderr = script, &stderr
	if err := cmd.Run(); err != nil {
		return &refused{o.tool.name, err, firstLine(stderr.String())}
	}
	return nil
}

// memoryFile is a file without a name that holds the data: a program can read it as its input without anybody feeding a pipe.
func memoryFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(data, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// refused says that iptables-restore has put nothing in place: a chain of ours may be gone.
type refused struct {
	tool string
	err  error
	why  string
}

func (e *refused) Error() string { return fmt.Sprintf("%s-restore: %v: %s", e.tool, e.err, e.why) }
func (e *refused) Unwrap() error { return e.err }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// Publish costs one exec however many ports there are. With the legacy flavour, which reads the whole table in any case, it
// also checks that our chain is hooked in, and fails if somebody has emptied the tables: the caller then puts our
// chains back and tries again. With nft, checking would read every rule of the table: Intact asks the kernel.
func (t *ipTables) Publish(e *Endpoint) (ops []operation) {
	for _, tool := range []*ipTool{t.v4, t.v6} {
		if rules := portRules(e, tool.v6); len(rules) > 0 {
			ops = append(ops, tool.publish(rules))
		}
	}
	return ops
}

func (t *ipTool) publish(rules []string) operation {
	change := tableChange{table: "nat"}
	for _, r := range rules {
		change.commands = append(change.commands, "-I MYDOCKER 1 "+r)
	}
	o := iptablesBatch{tool: t, tables: []tableChange{change}, reason: "who asks for the host's port is led to the container"}
	for _, h := range portHooks(t.v6) {
		if !t.legacy {
			break
		}
		o.checks = append(o.checks, h.chain+" "+h.rule)
	}
	return o
}

// Mend knows rules by their comments, which name port and endpoint: how iptables writes the rest differs between its versions.
func (t *ipTables) Mend(e *Endpoint, there portsThere) (ops []operation) {
	for _, tool := range []*ipTool{t.v4, t.v6} {
		want, have := portRules(e, tool.v6), there.rules[tool.v6]
		if old := without(have, want, commentOf); len(old) > 0 {
			ops = append(ops, deletePortRules{tool: tool, rules: old})
		}
		if missing := without(want, have, commentOf); len(missing) > 0 {
			ops = append(ops, tool.publish(missing))
		}
	}
	return ops
}

// Rename adds the new rules before it takes the old ones away.
func (t *ipTables) Rename(e *Endpoint, there portsThere) []operation {
	ops := t.Mend(e, there)
	slices.Reverse(ops)
	return ops
}

// Withdraw takes the rules back as they were added, by one exec.
func (t *ipTables) Withdraw(e *Endpoint) (ops []operation) {
	for _, tool := range []*ipTool{t.v4, t.v6} {
		if rules := portRules(e, tool.v6); len(rules) > 0 {
			ops = append(ops, deletePortRules{tool: tool, rules: rules, endpoint: short(e.ID)})
		}
	}
	return ops
}

// Unpublish finds the rules by the endpoints' ids in their comments, whatever else they say.
func (t *ipTables) Unpublish(_ context.Context, endpoints ...string) (ops []operation, err error) {
	for _, tool := range t.tools() {
		rules, err := tool.portRulesThere()
		if err != nil {
			return nil, err
		}
		gone := slices.DeleteFunc(rules, func(r string) bool { return !slices.Contains(endpoints, endpointOf(r)) })
		if len(gone) > 0 {
			ops = append(ops, deletePortRules{tool: tool, rules: gone})
		}
	}
	return ops, nil
}

// Published reads the ids in the comments.
func (t *ipTables) Published(context.Context) (map[string]portsThere, error) {
	ids := map[string]portsThere{}
	for _, tool := range t.tools() {
		rules, err := tool.portRulesThere()
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			id := endpointOf(r)
			if id == "" {
				continue
			}
			if ids[id].rules == nil {
				ids[id] = portsThere{rules: map[bool][]string{}}
			}
			ids[id].rules[tool.v6] = append(ids[id].rules[tool.v6], r)
		}
	}
	return ids, nil
}

// Fresh is the difference to nothing.
func (t *ipTables) Fresh(networks ...*Network) (ops []operation) {
	for _, tool := range []*ipTool{t.v4, t.v6} {
		if tables := diffRules(savedRules{}, networkRules(networks, tool.v6)); len(tables) > 0 {
			ops = append(ops, iptablesBatch{tool: tool, tables: tables, reason: "chains of our own, and the ways that lead into them"})
		}
	}
	return ops
}

// tools are those of the families that the host has. Without the program for IPv6, of which some distributions make a package of its own,
// there can be no rule of ours.
func (t *ipTables) tools() []*ipTool {
	if !hasIPv6() || t.CheckIPv6() != nil {
		return []*ipTool{t.v4}
	}
	return []*ipTool{t.v4, t.v6}
}

// CheckIPv6 looks for the program.
func (t *ipTables) CheckIPv6() error {
	if unix.Access(t.v6.restore, unix.X_OK) == nil {
		return nil
	}
	return fmt.Errorf("%s is not installed, and networks with IPv6 need it: install it, or leave the rules to nftables with --firewall nftables", t.v6.name)
}

// open is go-iptables for this family.
func (t *ipTool) open() (*goiptables.IPTables, error) {
	proto := goiptables.ProtocolIPv4
	if t.v6 {
		proto = goiptables.ProtocolIPv6
	}
	return goiptables.New(goiptables.IPFamily(proto), goiptables.Path(t.program))
}

// portRulesThere are the rules in the chain of the published ports, without the leading "-A MYDOCKER ".
func (t *ipTool) portRulesThere() ([]string, error) {
	ipt, err := t.open()
	if err != nil {
		return nil, err
	}
	there, err := ipt.ChainExists("nat", "MYDOCKER")
	if err != nil || !there {
		return nil, err
	}
	lines, err := ipt.List("nat", "MYDOCKER")
	var rules []string
	for _, l := range lines {
		if r, ok := strings.CutPrefix(l, "-A MYDOCKER "); ok {
			rules = append(rules, r)
		}
	}
	return rules, err
}

// commentOf is a rule's comment if it is one of ours, without what all of ours begin with.
func commentOf(rule string) string {
	_, rest, _ := strings.Cut(rule, `--comment "`+commentMark)
	text, _, closed := strings.Cut(rest, `"`)
	if !closed {
		return ""
	}
	return text
}

// endpointOf is the last word of a port rule's comment: the first 12 digits of the endpoint's id.
func endpointOf(rule string) string {
	text := commentOf(rule)
	id := text[strings.LastIndex(text, " ")+1:]
	if len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}

// deletePortRules removes rules of published ports. All at once if they are all there; otherwise, because somebody else is
// removing them too, one by one.
type deletePortRules struct {
	tool     *ipTool
	rules    []string
	endpoint string // not "": the rules are what they were when they were added, and are looked for if they are not there
}

func (o deletePortRules) batch() iptablesBatch {
	change := tableChange{table: "nat"}
	for _, r := range o.rules {
		change.commands = append(change.commands, "-D MYDOCKER "+r)
	}
	return iptablesBatch{tool: o.tool, tables: []tableChange{change}}
}

func (o deletePortRules) Command() string { return o.batch().Command() }
func (o deletePortRules) Why() string     { return "the host's ports are its own again" }

func (o deletePortRules) apply(ctx context.Context, k *kernel) error {
	if o.batch().apply(ctx, k) == nil {
		return nil
	}
	ipt, err := o.tool.open()
	if err != nil {
		return err
	}
	rules := o.rules
	if o.endpoint != "" {
		there, err := o.tool.portRulesThere()
		if err != nil {
			return err
		}
		rules = slices.DeleteFunc(there, func(r string) bool { return endpointOf(r) != o.endpoint })
	}
	if len(rules) == 0 {
		return plan.ErrNothing
	}
	var errs []error
	for _, r := range rules {
		errs = append(errs, ipt.DeleteIfExists("nat", "MYDOCKER", splitRule(r)...))
	}
	return errors.Join(errs...)
}

// splitRule takes a rule apart into arguments. Only a comment is ever quoted, and it has no quote in it.
func splitRule(rule string) []string {
	var args []string
	for i, part := range strings.Split(rule, `"`) {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}
