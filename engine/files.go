package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
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
	if owner, ok := strings.CutPrefix(d.Options.Network, modeContainer); ok {
		return e.labelNetworkFiles(d, owner)
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
	return e.labelNetworkFiles(d, d.ID)
}

// labelNetworkFiles lets the container use the files, which several do when one joins another's network.
func (e *Engine) labelNetworkFiles(d *Definition, owner string) error {
	if d.MountLabel == "" {
		return nil
	}
	for _, name := range networkFiles {
		if err := e.relabel(d, e.path(owner, name), owner != d.ID); err != nil {
			return err
		}
	}
	return nil
}

// writeNetworkFiles fills them when the addresses are known.
func (e *Engine) writeNetworkFiles(d *Definition, attached []*network.Endpoint, embedded bool) error {
	o := &d.Options
	if strings.HasPrefix(o.Network, modeContainer) {
		return nil
	}
	hosts, err := e.hostsFile(d, attached)
	if err != nil {
		return err
	}
	resolv, err := network.ResolvConf(e.resolvOptions(d, embedded))
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"hosts": hosts, "hostname": []byte(o.Hostname + "\n"), "resolv.conf": resolv} {
		if err := rewrite(e.path(d.ID, name), text); err != nil {
			return err
		}
	}
	return nil
}

// rewrite lets a file say text, in place. What it says already is left alone, and it is not emptied first: while the disk is
// busy with another record, whoever gives a file's blocks back has to wait for it.
func rewrite(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := io.ReadAll(f)
	if err != nil || bytes.Equal(old, text) {
		return err
	}
	if len(text) < len(old) { // first, or a reader could come upon the end of a line that is gone
		if err := f.Truncate(int64(len(text))); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(text, 0)
	return err
}

func (e *Engine) hostsFile(d *Definition, attached []*network.Endpoint) ([]byte, error) {
	o := &d.Options
	if o.Network == modeHost {
		text, err := state.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, x := range o.ExtraHosts {
			name, addr, _ := strings.Cut(x, ":")
			text = append(text, addr+"\t"+name+"\n"...)
		}
		return text, nil
	}
	h := network.HostsOptions{Hostname: o.Hostname, Domainname: o.Domainname, Extra: o.ExtraHosts}
	for _, ep := range attached {
		for _, a := range []netip.Prefix{ep.Address, ep.Address6} {
			if a.IsValid() {
				h.Addresses = append(h.Addresses, a.Addr())
			}
		}
		if !h.HostGateway.IsValid() {
			h.HostGateway = ep.Gateway
		}
		if !h.HostGateway.IsValid() {
			h.HostGateway = ep.Gateway6
		}
	}
	links, err := e.links(d)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		h.Links = append(h.Links, l.hostsLine())
	}
	for _, x := range o.ExtraHosts {
		if strings.HasSuffix(x, "host-gateway") && !h.HostGateway.IsValid() {
			return nil, fmt.Errorf("--add-host %s: the container has no gateway on network %s", x, o.Network)
		}
	}
	return network.HostsFile(h), nil
}

// resolvOptions are what the container's names are resolved with. A host whose resolv.conf cannot be read has none.
func (e *Engine) resolvOptions(d *Definition, embedded bool) network.ResolvOptions {
	o := &d.Options
	host, err := network.HostResolvConf()
	if err != nil {
		host = nil
	}
	return network.ResolvOptions{
		Host: host, Servers: orList(o.DNS, e.config.DNS), Search: orList(o.DNSSearch, e.config.DNSSearch),
		Options: orList(o.DNSOptions, e.config.DNSOptions), HostNetwork: o.Network == modeHost, Embedded: embedded,
	}
}

func orList(list, otherwise []string) []string {
	if len(list) == 0 {
		return otherwise
	}
	return list
}
