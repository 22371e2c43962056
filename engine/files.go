package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/network"
)

// The three files that a container's network needs are kept beside its definition and bind-mounted over the image's. They are
// written in place, never replaced: a bind mount holds on to the file, not to its name.
var networkFiles = [...]string{"hosts", "hostname", "resolv.conf"}

// networkFileMounts lists the bind mounts, without those that the user mounts over. Who joins another container's network
// gets that container's files.
func (e *Engine) networkFileMounts(d *Definition) []specs.Mount {
	owner := d.ID
	if id, ok := strings.CutPrefix(d.Options.Network, modeContainer); ok {
		owner = id
	}
	taken := map[string]bool{}
	for _, m := range d.Options.Mounts {
		taken[m.Target] = true
	}
	var list []specs.Mount
	for _, name := range networkFiles {
		if target := "/etc/" + name; !taken[target] {
			list = append(list, specs.Mount{Destination: target, Type: "bind", Source: e.path(owner, name), Options: []string{"rbind", "rw", "rprivate"}})
		}
	}
	return list
}

// createNetworkFiles makes the files, so that they can be mounted before their content is known.
func (e *Engine) createNetworkFiles(d *Definition) error {
	if strings.HasPrefix(d.Options.Network, modeContainer) {
		return nil
	}
	for _, name := range networkFiles {
		f, err := os.OpenFile(e.path(d.ID, name), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// writeNetworkFiles fills them when the addresses are known.
func (e *Engine) writeNetworkFiles(d *Definition, attached []*network.Endpoint) error {
	o := &d.Options
	if strings.HasPrefix(o.Network, modeContainer) {
		return nil
	}
	hosts, err := e.hostsFile(d, attached)
	if err != nil {
		return err
	}
	resolv, err := e.resolvConf(d, attached)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"hosts": hosts, "hostname": []byte(o.Hostname + "\n"), "resolv.conf": resolv} {
		if err := os.WriteFile(e.path(d.ID, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) hostsFile(d *Definition, attached []*network.Endpoint) ([]byte, error) {
	o := &d.Options
	if o.Network == modeHost {
		text, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, x := range o.ExtraHosts {
			name, addr, _ := strings.Cut(x, ":")
			text = append(text, addr+"\t"+name+"\n"...)
		}
		return text, nil
	}
	h := network.HostsOptions{Hostname: o.Hostname, Domainname: o.Domainname, IPv6: true}
	var gateway netip.Addr
	for _, ep := range attached {
		for _, a := range []netip.Prefix{ep.Address, ep.Address6} {
			if a.IsValid() {
				h.Addresses = append(h.Addresses, a.Addr().String())
			}
		}
		if !gateway.IsValid() {
			gateway = ep.Gateway
		}
	}
	for _, x := range o.ExtraHosts {
		name, addr, ok := strings.Cut(x, ":")
		if !ok {
			return nil, fmt.Errorf("invalid --add-host %q: NAME:ADDRESS is expected", x)
		}
		if addr == "host-gateway" {
			if !gateway.IsValid() {
				return nil, fmt.Errorf("--add-host %s: the container has no gateway on network %s", x, o.Network)
			}
			addr = gateway.String()
		}
		h.Extra = append(h.Extra, name+":"+addr)
	}
	return network.HostsFile(h), nil
}

func (e *Engine) resolvConf(d *Definition, attached []*network.Endpoint) ([]byte, error) {
	o := &d.Options
	host, err := hostResolvConf()
	if err != nil {
		return nil, err
	}
	if o.Network == modeHost && len(o.DNS)+len(o.DNSSearch)+len(o.DNSOptions) == 0 {
		return host, nil
	}
	return network.ResolvConf(network.ResolvOptions{Host: host, Servers: o.DNS, Search: o.DNSSearch, Options: o.DNSOptions})
}

// hostResolvConf is the host's resolver configuration. Where systemd-resolved stands in between (127.0.0.53, which means
// something else inside a container), its own list of servers is taken.
func hostResolvConf() ([]byte, error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && strings.Contains(string(text), "nameserver 127.0.0.53") {
		if real, err := os.ReadFile("/run/systemd/resolve/resolv.conf"); err == nil {
			return real, nil
		}
	}
	return text, err
}
