package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
)

// ContainerJSON is what `inspect` prints: Docker's keys, with Docker's meanings.
type ContainerJSON struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           StateJSON
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      HostConfigJSON
	GraphDriver     GraphDriverJSON
	Mounts          []MountJSON
	Config          ConfigJSON
	NetworkSettings NetworkSettingsJSON
}

// StateJSON is the part that is asked of the kernel.
type StateJSON struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	Health     *Health `json:",omitempty"`
}

// HostConfigJSON is what was asked of this host rather than of any.
type HostConfigJSON struct {
	Binds           []string
	ContainerIDFile string
	LogConfig       LogConfigJSON
	NetworkMode     string
	PortBindings    map[string][]PortBindingJSON
	RestartPolicy   RestartPolicy
	AutoRemove      bool
	VolumesFrom     []string
	CapAdd          []string
	CapDrop         []string
	DNS             []string `json:"Dns"`
	DNSOptions      []string `json:"DnsOptions"`
	DNSSearch       []string `json:"DnsSearch"`
	ExtraHosts      []string
	GroupAdd        []string
	IpcMode         string
	Links           []string
	OomScoreAdj     int
	PidMode         string
	Privileged      bool
	PublishAllPorts bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	Sysctls         map[string]string `json:",omitempty"`
	UTSMode         string
	ShmSize         int64
	Runtime         string
	CPUShares       uint64 `json:"CpuShares"`
	Memory          int64
	NanoCPUs        int64 `json:"NanoCpus"`
	CgroupParent    string
	BlkioWeight     uint16
	CPUPeriod       uint64 `json:"CpuPeriod"`
	CPUQuota        int64  `json:"CpuQuota"`
	CpusetCpus      string
	CpusetMems      string
	Devices         []string
	MemoryReserve   int64 `json:"MemoryReservation"`
	MemorySwap      int64
	OomKillDisable  bool
	PidsLimit       int64
	Init            bool
}

// LogConfigJSON tells how the log is kept.
type LogConfigJSON struct {
	Type   string
	Config map[string]string
}

// PortBindingJSON is where on the host a port is published.
type PortBindingJSON struct{ HostIp, HostPort string } //nolint:revive // Docker's key

// GraphDriverJSON tells of what the root file system is stacked.
type GraphDriverJSON struct {
	Name string
	Data map[string]string
}

// MountJSON is one mount besides the root file system and the kernel's own.
type MountJSON struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// ConfigJSON is what was asked of any host.
type ConfigJSON struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string             `json:",omitempty"`
	StopTimeout  *int               `json:",omitempty"`
	Healthcheck  *image.Healthcheck `json:",omitempty"`
}

// NetworkSettingsJSON is how the container can be reached.
type NetworkSettingsJSON struct {
	Bridge                 string
	SandboxID              string
	SandboxKey             string
	Ports                  map[string][]PortBindingJSON
	SecondaryIPAddresses   []string
	SecondaryIPv6Addresses []string
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
	Networks               map[string]*EndpointJSON
}

// EndpointJSON is the container's place on one network.
type EndpointJSON struct {
	IPAMConfig          *struct{}
	Links               []string
	Aliases             []string
	MacAddress          string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
}

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
	st, err := e.status(d)
	if err != nil {
		return nil, err
	}
	endpoints, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return nil, err
	}
	o := &d.Options
	command := d.Command()
	dir := e.Root.Container(d.ID)
	j := &ContainerJSON{
		ID: d.ID, Created: dockerTime(d.Created), Path: command[0], Args: append([]string{}, command[1:]...),
		State: StateJSON{
			Status: st.name(), Running: st.Running || st.Restarting, Paused: st.Paused, Restarting: st.Restarting, OOMKilled: st.Life.OOMKilled,
			Pid: st.Pid, ExitCode: st.Life.ExitCode, Error: st.Life.Error, StartedAt: dockerTime(st.Life.StartedAt), FinishedAt: dockerTime(st.Life.FinishedAt),
			Health: st.Health,
		},
		Image: string(d.ImageID), ResolvConfPath: e.path(d.ID, "resolv.conf"), HostnamePath: e.path(d.ID, "hostname"),
		HostsPath: e.path(d.ID, "hosts"), LogPath: e.path(d.ID, logFile), Name: "/" + d.Name, RestartCount: st.Life.RestartCount,
		Driver: "overlay2", Platform: "linux", HostConfig: hostConfigJSON(o), Mounts: e.mountsJSON(d), Config: configJSON(o, command),
		GraphDriver: GraphDriverJSON{Name: "overlay2", Data: map[string]string{
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
	c := ConfigJSON{
		Hostname: o.Hostname, Domainname: o.Domainname, User: o.User, AttachStdin: o.OpenStdin, AttachStdout: true, AttachStderr: true,
		Tty: o.TTY, OpenStdin: o.OpenStdin, StdinOnce: o.OpenStdin, Env: append([]string{}, mergeEnv([]string{defaultPath}, o.Env)...),
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

func hostConfigJSON(o *CreateOptions) HostConfigJSON {
	h := HostConfigJSON{
		ContainerIDFile: o.CIDFile, LogConfig: LogConfigJSON{Type: or(o.LogDriver, "json-file"), Config: o.LogOpts},
		NetworkMode: o.Network, PortBindings: bindings(o.Ports), RestartPolicy: o.Restart, AutoRemove: o.AutoRemove, VolumesFrom: o.VolumesFrom,
		CapAdd: o.Security.CapAdd, CapDrop: o.Security.CapDrop, DNS: o.DNS, DNSOptions: o.DNSOptions, DNSSearch: o.DNSSearch,
		ExtraHosts: o.ExtraHosts, GroupAdd: o.GroupAdd, IpcMode: or(o.IpcMode, "private"), Links: o.Links, PidMode: o.PidMode,
		Privileged: o.Security.Privileged, PublishAllPorts: o.PublishAll, ReadonlyRootfs: o.ReadOnly, SecurityOpt: o.Security.SecurityOpt,
		Sysctls: o.Sysctls, UTSMode: o.UTSMode, ShmSize: o.ShmSize, Runtime: "mydocker", CPUShares: o.Resources.CPUShares,
		Memory: o.Resources.Memory, NanoCPUs: o.Resources.NanoCPUs, CgroupParent: o.Resources.CgroupParent,
		BlkioWeight: o.Resources.BlkioWeight, CPUPeriod: o.Resources.CPUPeriod, CPUQuota: o.Resources.CPUQuota,
		CpusetCpus: o.Resources.CpusetCpus, CpusetMems: o.Resources.CpusetMems, Devices: o.Devices,
		MemoryReserve: o.Resources.MemoryReservation, MemorySwap: o.Resources.MemorySwap, OomKillDisable: o.Resources.OomKillDisable,
		PidsLimit: o.Resources.PidsLimit, Init: o.Init,
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = "no"
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if o.OomScoreAdj != nil {
		h.OomScoreAdj = *o.OomScoreAdj
	}
	for _, m := range o.Mounts {
		if m.Type == "bind" && !m.MustExist {
			bind := m.Source + ":" + m.Target
			if m.ReadOnly {
				bind += ":ro"
			}
			h.Binds = append(h.Binds, bind)
		}
	}
	return h
}

// bindings lists ports as Docker does: container port to the places on the host.
func bindings(ports []network.PortMapping) map[string][]PortBindingJSON {
	m := map[string][]PortBindingJSON{}
	for _, p := range ports {
		for i := range max(p.Count, 1) {
			key := portKey(p.ContainerPort+i, p.Proto)
			b := PortBindingJSON{HostIp: hostIP(p)}
			if p.HostPort != 0 {
				b.HostPort = fmt.Sprint(p.HostPort + i)
			}
			m[key] = append(m[key], b)
		}
	}
	return m
}

func (e *Engine) mountsJSON(d *Definition) []MountJSON {
	list := []MountJSON{}
	for _, m := range d.Options.Mounts {
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
	for i, ep := range endpoints {
		j := &EndpointJSON{
			Aliases: ep.Aliases, MacAddress: ep.MAC.String(), NetworkID: ep.NetworkID, EndpointID: ep.ID, DNSNames: append([]string{d.Name, ShortID(d.ID)}, ep.Aliases...),
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
		for key, list := range bindings(ep.Ports) {
			n.Ports[key] = append(n.Ports[key], list...)
		}
	}
	if len(endpoints) == 0 {
		for _, ref := range append(d.Options.networkRefs(), onlyIf(!isNetwork(d.Options.Network), d.Options.Network)...) {
			n.Networks[ref] = &EndpointJSON{}
		}
	}
	return n
}

func onlyIf(yes bool, s string) []string {
	if yes {
		return []string{s}
	}
	return nil
}
