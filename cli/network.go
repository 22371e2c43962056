package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/network"
)

func networkGroup() *verb {
	return group("network", "Manage networks",
		connectVerb(),
		networkCreateVerb(),
		disconnectVerb(),
		inspectKind("network", "Display detailed information on one or more networks", "NETWORK [NETWORK...]", `Examples:
  $ mydocker network inspect br0
  $ mydocker network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' br0`),
		networkLsVerb(),
		networkPruneVerb(),
		networkPlanVerb(),
		networkRmVerb(),
		networkShapeVerb(),
		networkSyncVerb(),
	)
}

func networkCreateVerb() *verb {
	return &verb{
		name: "create", summary: "Create a network", usage: "[OPTIONS] NETWORK", rules: true, min: 1, max: 1,
		about: `The Linux bridge is called as the network where that is a possible name for a link. Without --subnet a free one is
chosen, which overlaps neither the host's routes nor another network. --opt com.docker.network.driver.mtu=BYTES is the MTU,
com.docker.network.bridge.name=LINK what the bridge is called, com.docker.network.bridge.enable_icc=false keeps containers
apart, com.docker.network.bridge.enable_ip_masquerade=false keeps their addresses, com.docker.network.bridge.host_binding_ipv4=IP
is where ports are published, mydocker.bridge.guard=false lets containers use others' addresses, and
mydocker.bridge.gso_max_size=BYTES, more than 65536, makes streams between containers faster and streams out of the
host slower.

Examples:
  $ mydocker network create br0
  $ mydocker network create --subnet 10.5.0.0/24 --gateway 10.5.0.254 lab
  $ mydocker network create --ipv4=false --ipv6 --subnet fd00:5::/64 six
  $ mydocker network create -o com.docker.network.driver.mtu=1400 small`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("attachable", "Accepted as in Docker; it means something to Swarm only"),
				listOf("aux-address", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
				strDefault("driver,d", "string", "bridge", "Driver to manage the Network"),
				listOf("gateway", "ipSlice", "IPv4 or IPv6 Gateway for the master subnet"),
				yes("dry-run", "Print the network as a shell script, and make nothing"),
				yes("internal", "Restrict external access to the network"),
				listOf("ip-range", "ipNetSlice", "Allocate container ip from a sub-range"),
				yesDefault("ipv4", true, "Enable or disable IPv4 address assignment"),
				yes("ipv6", "Enable IPv6 address assignment"),
				list("label", "Set metadata on a network"),
				listOf("opt,o", "map", "Set driver specific options"),
				listOf("subnet", "ipNetSlice", "Subnet in CIDR format that represents a network segment"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o, err := networkOptions(c)
			if err != nil {
				return s.bad(err)
			}
			if c.Bool("dry-run") {
				return s.planCreate(o)
			}
			s.warn(unknownOptions(o.Options))
			e, err := s.engine()
			if err != nil {
				return err
			}
			n, err := e.CreateNetwork(context.Background(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.streams.Out, n.ID)
			return err
		},
	}
}

// networkOptions reads the flags of `network create`. What the values mean is the network package's to judge, before any
// effect of its own.
func networkOptions(c *urfave.Context) (o network.CreateOptions, err error) {
	o = network.CreateOptions{Name: c.Args().First(), Driver: c.String("driver"), Internal: c.Bool("internal"),
		EnableIPv6: c.Bool("ipv6"), NoIPv4: !c.Bool("ipv4"), Attachable: c.Bool("attachable")}
	if o.Subnet, o.Subnet6, err = byFamily("subnet", c.StringSlice("subnet")); err != nil {
		return o, err
	}
	if o.Gateway, o.Gateway6, err = byFamily("gateway", c.StringSlice("gateway")); err != nil {
		return o, err
	}
	if o.IPRange, o.IPRange6, err = byFamily("ip-range", c.StringSlice("ip-range")); err != nil {
		return o, err
	}
	if o.AuxAddresses, err = keyValues("aux-address", c.StringSlice("aux-address")); err != nil {
		return o, err
	}
	if o.Options, err = keyValues("opt", c.StringSlice("opt")); err != nil {
		return o, err
	}
	o.Labels, err = parseLabels(c.StringSlice("label"))
	return o, err
}

// unknownOptions are the --opt that nothing here depends on. They are kept, as Docker keeps them, but the user is told.
func unknownOptions(options map[string]string) (warnings []string) {
	known := network.KnownOptions()
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if slices.Contains(known, key) {
			continue
		}
		text := "--opt " + key + " means nothing to mydocker and is only kept"
		if best := nearest(key, known); best != "" {
			text += " (did you mean " + best + "?)"
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// byFamily parts values into the IPv4 and the IPv6 one; there can be one of each.
func byFamily(flag string, values []string) (v4, v6 string, err error) {
	for _, v := range values {
		to := &v4
		if strings.Contains(v, ":") {
			to = &v6
		}
		if *to != "" {
			return "", "", fmt.Errorf("--%s: a network has one IPv4 and one IPv6 subnet; %s and %s are of one family", flag, *to, v)
		}
		if *to = v; v == "" {
			return "", "", fmt.Errorf("--%s: the value is empty", flag)
		}
	}
	return v4, v6, nil
}

// networkRow is what a template of `network ls` may name.
type networkRow struct {
	CreatedAt, Driver, ID, IPv4, IPv6, Internal, Labels, Name, Scope string

	labels map[string]string
	header bool
}

// Label is {{.Label "name"}}.
func (r networkRow) Label(name string) string {
	if r.header {
		return name[strings.LastIndexByte(name, '.')+1:]
	}
	return r.labels[name]
}

func networkLsVerb() *verb {
	return &verb{
		name: "ls", aliases: []string{"list"}, filters: "dangling driver id label label! name scope type", summary: "List networks", usage: "[OPTIONS]",
		about: `--filter takes driver, id, label, name, scope, type (builtin or custom) and dangling.

Examples:
  $ mydocker network ls
  $ mydocker network ls -q --filter type=custom`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				listOf("filter,f", "filter", `Provide filter values (e.g. "driver=bridge")`),
				str("format", "string", formatUsage),
				yes("no-trunc", "Do not truncate the output"),
				yes("quiet,q", "Only display network IDs"),
			}
		},
		run: networkLs,
	}
}

func networkLs(s *session, c *urfave.Context) error {
	f, err := s.readFilters(c)
	if err != nil {
		return s.bad(err)
	}
	dangling, onlyDangling, err := f.flag("dangling")
	if err != nil {
		return s.bad(err)
	}
	for _, t := range f["type"] {
		if t != "builtin" && t != "custom" {
			return s.bad(fmt.Errorf("invalid filter 'type=%s': builtin or custom is expected", t))
		}
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	networks, err := e.Networks().Networks()
	if err != nil {
		return err
	}
	var rows []networkRow
	for _, n := range networks {
		if !networkPasses(n, f) {
			continue
		}
		if onlyDangling {
			endpoints, err := e.Networks().Endpoints(n.ID)
			if err != nil {
				return err
			}
			if dangling != (len(endpoints) == 0 && !n.BuiltIn()) {
				continue
			}
		}
		rows = append(rows, networkToRow(n, !c.Bool("no-trunc")))
	}
	l := listing[networkRow]{
		header: networkRow{CreatedAt: "CREATED AT", Driver: "DRIVER", ID: "NETWORK ID", IPv4: "IPV4", IPv6: "IPV6", Internal: "INTERNAL",
			Labels: "LABELS", Name: "NAME", Scope: "SCOPE", header: true},
		table: `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`, quiet: "{{.ID}}", rawKey: "network_id",
		raw: "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
	}
	return l.print(s.streams.Out, s.format(c, func(c clientConfig) string { return c.NetworksFormat }), c.Bool("quiet"), rows)
}

// matches is how Docker reads a filter for names and ids: it is a regular expression, or text that is in it as it stands.
func matches(pattern, text string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(text) || strings.Contains(text, pattern)
}

func networkPasses(n *network.Network, f filters) bool {
	return f.any("name", func(v string) bool { return matches(v, n.Name) }) &&
		f.any("id", func(v string) bool { return matches(v, n.ID) }) &&
		f.any("driver", func(v string) bool { return n.Driver == v }) &&
		f.any("scope", func(v string) bool { return n.Scope == v }) &&
		f.any("type", func(v string) bool { return (v == "builtin") == n.BuiltIn() }) &&
		f.labels(n.Labels)
}

func networkToRow(n *network.Network, trunc bool) networkRow {
	row := networkRow{CreatedAt: n.Created.Local().Format("2006-01-02 15:04:05.999999999 -0700 MST"), Driver: n.Driver, ID: n.ID,
		IPv4: strconv.FormatBool(n.EnableIPv4()), IPv6: strconv.FormatBool(n.EnableIPv6), Internal: strconv.FormatBool(n.Internal), Labels: joinLabels(n.Labels),
		Name: n.Name, Scope: n.Scope, labels: n.Labels}
	if trunc {
		row.ID = shortID(n.ID)
	}
	return row
}

func networkRmVerb() *verb {
	return &verb{
		name: "rm", aliases: []string{"remove"}, summary: "Remove one or more networks",
		usage: "[OPTIONS] NETWORK [NETWORK...]", min: 1, max: -1, complete: "network",
		about: `Examples:
  $ mydocker network rm br0`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{yes("force,f", "Do not error if the network does not exist")}
		},
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.each(c.Args().Slice(), func(ref string) error {
				err := e.RemoveNetwork(context.Background(), ref)
				if c.Bool("force") && errors.Is(err, fs.ErrNotExist) {
					return nil // and nothing is said, as nothing was removed
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(s.streams.Out, ref)
				return err
			})
		},
	}
}
