package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
)

const zeroTime = "0001-01-01T00:00:00Z"

func dockerTime(t time.Time) string {
	if t.IsZero() {
		return zeroTime
	}
	return t.UTC().Format(timeFormat)
}

// Inspect tells all that is known of a container.
func (e *Engine) Inspect(ctx context.Context, ref string) (*ContainerJSON, error) {
	d, err := e.Find(ref)
	if err != nil {
		return nil, err
	}
	e.lookAfter(d)
	st, err := e.status(d)
	if err != nil {
		return nil, err
	}
	endpoints, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return nil, err
	}
	driver := image.DriverOverlay
	if _, copied := image.Copied(e.Root.Container(d.ID)); copied {
		driver = image.DriverCopy
	}
	o := &d.Options
	command := d.Command()
	dir := e.Root.Container(d.ID)
	var so container.SpecOptions
	if err := applySecurity(&so, o); err != nil {
		return nil, err
	}
	j := &ContainerJSON{
		ID: d.ID, AppArmorProfile: appArmorProfile(&so), ProcessLabel: d.ProcessLabel, MountLabel: d.MountLabel, Created: dockerTime(d.Created), Path: command[0], Args: append([]string{}, command[1:]...),
		State: StateJSON{
			Status: st.name(), Running: st.Running || st.Restarting, Paused: st.Paused, Restarting: st.Restarting, OOMKilled: st.Life.OOMKilled,
			Pid: st.Pid, ExitCode: st.Life.ExitCode, Error: st.Life.Error, StartedAt: dockerTime(st.Life.StartedAt), FinishedAt: dockerTime(st.Life.FinishedAt),
			Health: st.Health,
		},
		Image: string(d.ImageID), ResolvConfPath: e.path(d.ID, "resolv.conf"), HostnamePath: e.path(d.ID, "hostname"),
		HostsPath: e.path(d.ID, "hosts"), LogPath: e.path(d.ID, logFile), Name: "/" + d.Name, RestartCount: st.Life.RestartCount,
		Driver: driver, Platform: "linux", HostConfig: hostConfigJSON(d), Mounts: e.mountsJSON(d), Config: configJSON(o, command),
		GraphDriver: GraphDriverJSON{Name: driver, Data: map[string]string{
			"LowerDir": strings.Join(e.lowerDirs(d), ":"), "UpperDir": filepath.Join(dir, "upper"), "WorkDir": filepath.Join(dir, "work"),
			"MergedDir": filepath.Join(dir, "rootfs"),
		}},
	}
	j.NetworkSettings = e.networkJSON(d, endpoints, st.Running)
	return j, nil
}

func (e *Engine) lowerDirs(d *Definition) []string {
	var list []string
	for i := len(d.Layers) - 1; i >= 0; i-- {
		list = append(list, filepath.Join(e.Root.Lib, "layers", string(d.Layers[i])))
	}
	return list
}

func configJSON(o *CreateOptions, command []string) ConfigJSON {
	attach := !o.Detached
	c := ConfigJSON{
		Hostname: o.Hostname, Domainname: o.Domainname, User: o.User, AttachStdin: o.OpenStdin && attach, AttachStdout: attach, AttachStderr: attach,
		Tty: o.TTY, OpenStdin: o.OpenStdin, StdinOnce: o.OpenStdin && attach, Env: append([]string{}, mergeEnv([]string{defaultPath}, o.Env)...),
		Cmd: o.Args, Image: o.Image, WorkingDir: o.WorkingDir, Entrypoint: o.Entrypoint, Labels: o.Labels, StopSignal: o.StopSignal,
		StopTimeout: o.StopTimeout, Healthcheck: o.Health,
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	for _, x := range o.Expose {
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		c.ExposedPorts[x] = struct{}{}
	}
	return c
}

// bindings lists ports as Docker does: container port to the places on the host.
func bindings(ports []network.PortMapping, ip func(network.PortMapping) string) map[string][]PortBindingJSON {
	m := map[string][]PortBindingJSON{}
	for _, p := range ports {
		for i := range max(p.Count, 1) {
			key := portKey(p.ContainerPort+i, p.Proto)
			b := PortBindingJSON{HostIp: ip(p)}
			if p.HostPort != 0 {
				b.HostPort = fmt.Sprint(p.HostPort + i)
			}
			m[key] = append(m[key], b)
		}
	}
	return m
}

// askedIP is the address that a port was to be published on; "" is any.
func askedIP(p network.PortMapping) string {
	if !p.HostIP.IsValid() {
		return ""
	}
	return p.HostIP.String()
}

func (e *Engine) mountsJSON(d *Definition) []MountJSON {
	list := []MountJSON{}
	for _, m := range d.Options.Mounts {
		if m.Type == "tmpfs" && !m.MustExist {
			continue // --tmpfs: HostConfig.Tmpfs tells of it
		}
		j := MountJSON{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly, Propagation: or(m.Propagation, "rprivate")}
		switch m.Type {
		case "volume":
			j.Name, j.Source, j.Driver, j.Mode, j.Propagation = m.Source, e.volumeData(m.Source), "local", "z", ""
		case "tmpfs":
			j.Propagation = ""
		}
		if m.ReadOnly && m.Type == "bind" {
			j.Mode = "ro"
		}
		if m.Relabel != "" {
			j.Mode = strings.TrimPrefix(strings.TrimSuffix(j.Mode, "z")+","+m.Relabel, ",")
		}
		list = append(list, j)
	}
	return list
}

func (e *Engine) networkJSON(d *Definition, endpoints []*network.Endpoint, running bool) NetworkSettingsJSON {
	n := NetworkSettingsJSON{Ports: map[string][]PortBindingJSON{}, Networks: map[string]*EndpointJSON{}}
	if hasOwnSandbox(d.Options.Network) && running {
		n.SandboxKey = filepath.Join(e.Root.NetNS, d.Name)
		n.SandboxID = d.ID
	}
	for _, x := range d.Options.Expose {
		n.Ports[x] = nil
	}
	asked := e.askedAddresses(&d.Options)
	for i, ep := range endpoints {
		j := &EndpointJSON{
			IPAMConfig: asked[ep.NetworkName],
			Aliases:    ep.Aliases, DriverOpts: ep.Extras.DriverOpts, GwPriority: ep.Extras.GwPriority, MacAddress: ep.MAC.String(), NetworkID: ep.NetworkID, EndpointID: ep.ID, DNSNames: append([]string{d.Name, ShortID(d.ID)}, ep.Aliases...),
		}
		if ep.Gateway.IsValid() {
			j.Gateway = ep.Gateway.String()
		}
		if ep.Address.IsValid() {
			j.IPAddress, j.IPPrefixLen = ep.Address.Addr().String(), ep.Address.Bits()
		}
		if ep.Gateway6.IsValid() {
			j.IPv6Gateway = ep.Gateway6.String()
		}
		if ep.Address6.IsValid() {
			j.GlobalIPv6Address, j.GlobalIPv6PrefixLen = ep.Address6.Addr().String(), ep.Address6.Bits()
		}
		n.Networks[ep.NetworkName] = j
		if i == 0 {
			n.EndpointID, n.Gateway, n.IPAddress, n.IPPrefixLen, n.MacAddress = j.EndpointID, j.Gateway, j.IPAddress, j.IPPrefixLen, j.MacAddress
			n.IPv6Gateway, n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = j.IPv6Gateway, j.GlobalIPv6Address, j.GlobalIPv6PrefixLen
		}
	}
	for key, list := range bindings(published(endpoints), hostIP) {
		n.Ports[key] = list
	}
	if len(endpoints) == 0 {
		for _, ref := range d.Options.networksShown() {
			n.Networks[ref] = &EndpointJSON{IPAMConfig: asked[ref]}
		}
	}
	return n
}

// askedAddresses are the addresses that were asked for, by the network's name and by how it was named.
func (e *Engine) askedAddresses(o *CreateOptions) map[string]*EndpointIPAMJSON {
	by := map[string]*EndpointIPAMJSON{}
	for _, a := range append([]NetworkAttachment{{Network: o.Network, IP: o.IP, IP6: o.IP6}}, o.Networks...) {
		if a.IP == "" && a.IP6 == "" {
			continue
		}
		j := &EndpointIPAMJSON{IPv4Address: a.IP, IPv6Address: a.IP6}
		by[a.Network] = j
		if n, err := e.networks.Network(a.Network); err == nil {
			by[n.Name] = j
		}
	}
	return by
}
