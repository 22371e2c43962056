package world

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// addIPTables reads what `iptables-save -c` prints:
//
//	*nat
//	:PREROUTING ACCEPT [0:0]
//	[12:720] -A PREROUTING -m addrtype --dst-type LOCAL -j MYDOCKER
//	COMMIT
func (r *Ruleset) addIPTables(text []byte, backend, family string) error {
	table := ""
	chains := map[string]*Chain{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = line[1:]
			clear(chains)
		case line[0] == ':':
			f := strings.Fields(line[1:])
			if len(f) < 2 {
				return fmt.Errorf("chain %q of %s-save is not understood", line, family)
			}
			c := iptablesChain(backend, family, table, f[0], f[1])
			if len(f) > 2 {
				c.Packets, _ = counted(f[2])
			}
			chains[f[0]] = c
			r.Chains = append(r.Chains, c)
		default:
			if err := addIPTablesRule(chains, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// iptablesChain knows where the kernel enters the built-in chains: enum nf_ip_hook_priorities, linux/netfilter_ipv4.h.
func iptablesChain(backend, family, table, name, policy string) *Chain {
	c := &Chain{Backend: backend, Family: family, Table: table, Name: name, NAT: table == "nat"}
	hooks := map[string]string{"PREROUTING": "prerouting", "INPUT": "input", "FORWARD": "forward", "OUTPUT": "output", "POSTROUTING": "postrouting"}
	if policy == "-" {
		return c
	}
	c.Policy, c.Hook = policy, hooks[name]
	c.Priority = map[string]int{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}[table]
	if table == "nat" && (c.Hook == "postrouting" || c.Hook == "input") {
		c.Priority = 100
	}
	return c
}

func addIPTablesRule(chains map[string]*Chain, line string) error {
	words := splitWords(line)
	rule := &Rule{}
	if len(words) > 0 && strings.HasPrefix(words[0], "[") {
		rule.Packets, rule.Bytes = counted(words[0])
		words = words[1:]
		_, line, _ = strings.Cut(line, " ")
	}
	if len(words) < 2 || words[0] != "-A" || chains[words[1]] == nil {
		return fmt.Errorf("line %q of iptables-save is not understood", line)
	}
	c := chains[words[1]]
	rule.Chain, rule.Text = c, strings.TrimPrefix(line, "-A "+words[1]+" ")
	rule.Position = len(c.Rules) + 1
	parseIPTablesRule(rule, words[2:])
	c.Rules = append(c.Rules, rule)
	return nil
}

// counted reads [PACKETS:BYTES].
func counted(word string) (packets, bytes uint64) {
	before, after, _ := strings.Cut(strings.Trim(word, "[]"), ":")
	packets, _ = strconv.ParseUint(before, 10, 64)
	bytes, _ = strconv.ParseUint(after, 10, 64)
	return packets, bytes
}

// splitWords parts a line at spaces, except between double quotes, in which a backslash takes the next character as it is.
func splitWords(line string) (words []string) {
	var word strings.Builder
	quoted, open := false, false
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\\' && quoted && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case ch == '"':
			quoted, open = !quoted, true
		case ch == ' ' && !quoted:
			if open || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(ch)
		}
	}
	if open || word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// parseIPTablesRule understands the matches that decide where packets of containers go; others make the rule Partial.
func parseIPTablesRule(r *Rule, words []string) {
	not := false
	next := func(i *int) string {
		if *i+1 >= len(words) {
			r.Match.Partial = true
			return ""
		}
		*i++
		return words[*i]
	}
	for i := 0; i < len(words); i++ {
		m := &r.Match
		if not = words[i] == "!" || not; words[i] == "!" {
			continue
		}
		switch words[i] {
		case "-i", "--in-interface":
			m.In = IfMatch{[]string{next(&i)}, not}
		case "-o", "--out-interface":
			m.Out = IfMatch{[]string{next(&i)}, not}
		case "-s", "--source":
			m.Src = r.addrMatch(next(&i), not)
		case "-d", "--destination":
			m.Dst = r.addrMatch(next(&i), not)
		case "-p", "--protocol":
			m.Proto, m.NotProto = next(&i), not
		case "--dport", "--dports", "--destination-port":
			m.DPort = r.portMatch(next(&i), not)
		case "--sport", "--sports", "--source-port":
			m.SPort = r.portMatch(next(&i), not)
		case "--ctstate", "--state":
			m.States, m.NotStates = strings.Split(next(&i), ","), not
		case "--dst-type":
			m.DstType, m.NotDstType = next(&i), not
		case "--src-type":
			m.SrcType, m.NotSrcType = next(&i), not
		case "--invert":
			m.Astray = "yes"
		case "--loose", "--validmark", "--accept-local", "--random", "--random-fully", "--persistent": // what we ask about passes anyway
		case "--comment":
			r.Comment = next(&i)
		case "-m":
			m.extension(next(&i))
		case "-j", "--jump", "-g", "--goto":
			r.Goto = words[i] == "-g" || words[i] == "--goto"
			r.Target = next(&i)
		case "--to-destination", "--to-source":
			r.To = parseTranslation(next(&i))
		case "--to-ports":
			r.To = parseTranslation(":" + next(&i))
		case "--reject-with", "--log-prefix", "--log-level":
			next(&i)
		default:
			m.Partial = m.Partial || r.Target == ""
		}
		not = false
	}
	if r.Target != "" && !isTarget(r.Target) {
		r.Jump = r.Target
	}
}

// extension notes a module of matches: those whose options are understood, and others.
func (m *Match) extension(name string) {
	switch name {
	case "rpfilter":
		m.Astray = "no"
	case "tcp", "udp", "sctp", "conntrack", "state", "addrtype", "comment", "multiport":
	default:
		m.Partial = true
	}
}

func decides(target string) bool {
	switch target {
	case "ACCEPT", "DROP", "REJECT", "QUEUE", "NFQUEUE", "RETURN", "DNAT", "SNAT", "MASQUERADE", "REDIRECT":
		return true
	}
	return false
}

// isTarget tells the extensions of iptables-extensions(8) from chains.
func isTarget(name string) bool {
	switch name {
	case "LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "CT", "NOTRACK", "TCPMSS", "TTL", "HL", "TOS", "DSCP", "CHECKSUM", "CLASSIFY", "ULOG",
		"NETMAP", "TPROXY", "SET", "AUDIT", "SECMARK", "CONNSECMARK", "TEE", "HMARK", "RATEEST", "IDLETIMER", "LED", "SYNPROXY", "ECN", "CLUSTERIP":
		return true
	}
	return decides(name)
}

func (r *Rule) addrMatch(text string, not bool) AddrMatch {
	m := AddrMatch{Not: not}
	for one := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(one)
		if err != nil {
			a, err := netip.ParseAddr(one)
			if err != nil {
				r.Match.Partial = true
				continue
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		m.Nets = append(m.Nets, p.Masked())
	}
	return m
}

func (r *Rule) portMatch(text string, not bool) PortMatch {
	m := PortMatch{Not: not}
	for one := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(one, ":")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		to, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil {
			r.Match.Partial = true
			continue
		}
		m.Ranges = append(m.Ranges, [2]uint16{uint16(from), uint16(to)})
	}
	return m
}

// parseTranslation reads 172.18.0.2, 172.18.0.2:80, [fd00::2]:80, 172.18.0.2:8000-8010/9000. The last is a run of ports that begins with
// the host's port 9000.
func parseTranslation(s string) (t Translation) {
	s, base, hasBase := strings.Cut(s, "/")
	host, ports := s, ""
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, ports, _ = strings.Cut(rest, "]")
		ports = strings.TrimPrefix(ports, ":")
	} else if strings.Count(s, ":") == 1 {
		host, ports, _ = strings.Cut(s, ":")
	}
	first, _, _ := strings.Cut(host, "-")
	t.Addr, _ = netip.ParseAddr(first)
	low, high, isRange := strings.Cut(ports, "-")
	if n, err := strconv.ParseUint(low, 10, 16); err == nil {
		t.PortMin, t.PortMax = uint16(n), uint16(n)
	}
	if n, err := strconv.ParseUint(high, 10, 16); err == nil && isRange {
		t.PortMax = uint16(n)
	}
	if n, err := strconv.ParseUint(base, 10, 16); err == nil && hasBase {
		t.Shift = uint16(n)
	}
	return t
}
