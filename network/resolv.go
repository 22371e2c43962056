package network

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// EmbeddedResolver is where a container on a user-defined network finds its resolver.
const EmbeddedResolver = "127.0.0.11"

// ResolvOptions are what /etc/resolv.conf inside a container says.
type ResolvOptions struct {
	Host     []byte   // the host's file: see HostResolvConf
	Servers  []string // --dns: instead of the host's
	Search   []string // --dns-search: instead of the host's; "." means none
	Options  []string // --dns-option: instead of the host's
	Embedded bool     // the resolver at 127.0.0.11 serves this container
	// HostNetwork says that the container shares the host's network namespace: the host's loopback is its own.
	HostNetwork bool
	IPv6        bool // the container can reach IPv6 servers
}

// HostResolvConf reads the host's resolv.conf. Where that only names systemd-resolved's stub at 127.0.0.53, which no
// container can reach, it is the file in which systemd-resolved lists the true servers (systemd-resolved.service(8)).
func HostResolvConf() ([]byte, error) { return resolvConfBelow("/etc") }

func resolvConfBelow(etc string) ([]byte, error) {
	data, err := state.ReadFile(filepath.Join(etc, "resolv.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if servers := parseResolv(data).servers; len(servers) == 1 && servers[0] == "127.0.0.53" {
		real, err := state.ReadFile("/run/systemd/resolve/resolv.conf")
		if err == nil {
			return real, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return data, nil
}

// resolvConf is a parsed resolv.conf(5).
type resolvConf struct{ servers, search, options []string }

func parseResolv(data []byte) resolvConf {
	var c resolvConf
	for _, line := range strings.Split(string(data), "\n") {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			c.servers = append(c.servers, f[1])
		case "search", "domain": // the last one counts
			c.search = f[1:]
		case "options":
			c.options = append(c.options, f[1:]...)
		}
	}
	return c
}

// settle is what holds for the container: what was asked for, else what the host says without what cannot be reached from
// inside, else public servers, as Docker has it.
func (o ResolvOptions) settle() (resolvConf, error) {
	c := parseResolv(o.Host)
	if len(o.Servers) > 0 {
		for _, s := range o.Servers {
			if _, err := netip.ParseAddr(s); err != nil {
				return c, fmt.Errorf("%q is not the IP address of a name server", s)
			}
		}
		c.servers = o.Servers
	} else if !o.HostNetwork {
		c.servers = slices.DeleteFunc(c.servers, func(s string) bool {
			a, err := netip.ParseAddr(s)
			return err != nil || a.IsLoopback() && !o.Embedded || a.Is6() && !o.IPv6 && !o.Embedded
		})
		if len(c.servers) == 0 {
			c.servers = []string{"8.8.8.8", "8.8.4.4"}
		}
	}
	if len(o.Search) > 0 {
		c.search = slices.DeleteFunc(slices.Clone(o.Search), func(s string) bool { return s == "." })
	}
	if len(o.Options) > 0 {
		c.options = o.Options
	}
	return c, nil
}

// Upstreams are the servers that the embedded resolver asks: at most three, as resolv.conf(5) has it. One on a loopback
// address is the host's own, which the resolver can reach; o.Embedded must be set.
func Upstreams(o ResolvOptions) ([]netip.Addr, error) {
	c, err := o.settle()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, s := range c.servers {
		if a, err := netip.ParseAddr(s); err == nil && len(all) < 3 {
			all = append(all, a)
		}
	}
	return all, nil
}

// ResolvConf is the text of /etc/resolv.conf.
func ResolvConf(o ResolvOptions) ([]byte, error) {
	c, err := o.settle()
	if err != nil {
		return nil, err
	}
	if o.Embedded {
		c.servers = []string{EmbeddedResolver}
		// Names without a dot are asked for as they are: container names.
		if !slices.ContainsFunc(c.options, func(s string) bool { return strings.HasPrefix(s, "ndots:") }) {
			c.options = append(slices.Clone(c.options), "ndots:0")
		}
	}
	var b bytes.Buffer
	for _, s := range c.servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(c.search) > 0 {
		b.WriteString("search " + strings.Join(c.search, " ") + "\n")
	}
	if len(c.options) > 0 {
		b.WriteString("options " + strings.Join(c.options, " ") + "\n")
	}
	return b.Bytes(), nil
}
