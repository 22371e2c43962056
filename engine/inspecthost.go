package engine

import (
	"cmp"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container"
)

// hostConfigJSON is HostConfig: what the container was asked to be, in Docker's words.
func hostConfigJSON(d *Definition) HostConfigJSON {
	o := &d.Options
	r := &o.Resources
	h := HostConfigJSON{
		ContainerIDFile: o.CIDFile, LogConfig: LogConfigJSON{Type: or(o.LogDriver, "json-file"), Config: orEmpty(o.LogOpts)},
		NetworkMode: o.Network, PortBindings: bindings(o.Ports, askedIP), RestartPolicy: o.Restart, AutoRemove: o.AutoRemove, VolumesFrom: o.VolumesFrom,
		Annotations: o.Annotations, CapAdd: capNames(o.Security.CapAdd), CapDrop: capNames(o.Security.CapDrop), CgroupnsMode: o.cgroupnsMode(),
		DNS: notNil(o.DNS), DNSOptions: notNil(o.DNSOptions), DNSSearch: notNil(o.DNSSearch),
		ExtraHosts: o.ExtraHosts, GroupAdd: o.GroupAdd, IpcMode: or(o.IpcMode, "private"), Links: o.Links, PidMode: o.PidMode,
		Privileged: o.Security.Privileged, PublishAllPorts: o.PublishAll, ReadonlyRootfs: o.ReadOnly, SecurityOpt: o.Security.SecurityOpt,
		Sysctls: o.Sysctls, UTSMode: o.UTSMode, UsernsMode: o.UsernsMode, ShmSize: cmp.Or(o.ShmSize, 64<<20), Runtime: "mydocker", CPUShares: r.CPUShares,
		Memory: r.Memory, NanoCPUs: r.NanoCPUs, CgroupParent: r.CgroupParent,
		BlkioWeight: r.BlkioWeight, BlkioWeightDevice: []WeightDeviceJSON{},
		BlkioDeviceReadBps: notNil(r.ReadBps), BlkioDeviceWriteBps: notNil(r.WriteBps),
		BlkioDeviceReadIOps: notNil(r.ReadIOps), BlkioDeviceWriteIOps: notNil(r.WriteIOps),
		CPUPeriod: r.CPUPeriod, CPUQuota: r.CPUQuota, CPURealtimePeriod: r.CPURealtimePeriod, CPURealtimeRuntime: r.CPURealtimeRuntime,
		CpusetCpus: r.CpusetCpus, CpusetMems: r.CpusetMems, Devices: devicesJSON(o.Devices), DeviceCgroupRules: o.DeviceCgroupRules,
		MemoryReservation: r.MemoryReservation, MemorySwap: r.MemorySwap, MemorySwappiness: r.MemorySwappiness, OomKillDisable: &r.OomKillDisable,
		Ulimits: ulimitsJSON(o.Ulimits), Mounts: mountPointsJSON(o.Mounts),
		MaskedPaths: container.DefaultMaskedPaths(), ReadonlyPaths: container.DefaultReadonlyPaths(),
	}
	if h.Memory != 0 && h.MemorySwap == 0 {
		h.MemorySwap = 2 * h.Memory
	}
	for _, w := range r.BlkioWeightDevice {
		h.BlkioWeightDevice = append(h.BlkioWeightDevice, WeightDeviceJSON{w.Path, w.Rate})
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = "no"
	}
	if r.PidsLimit != 0 {
		h.PidsLimit = &r.PidsLimit
	}
	if o.Init {
		h.Init = &o.Init
	}
	if o.OomScoreAdj != nil {
		h.OomScoreAdj = *o.OomScoreAdj
	}
	if h.Privileged {
		h.MaskedPaths, h.ReadonlyPaths = nil, nil
	}
	for _, m := range o.Mounts {
		switch {
		case m.MustExist || m.Source == "" && m.Type == "volume" || slices.Contains(d.AnonymousVolumes, m.Source):
		case m.Type == "tmpfs":
			if h.Tmpfs == nil {
				h.Tmpfs = map[string]string{}
			}
			h.Tmpfs[m.Target] = strings.Join(m.TmpfsOptions, ",")
		default:
			h.Binds = append(h.Binds, bindText(m))
		}
	}
	return h
}

func (o *CreateOptions) cgroupnsMode() string {
	if o.CgroupnsMode != "" {
		return o.CgroupnsMode
	}
	if o.Security.Privileged {
		return "host"
	}
	return "private"
}

// bindText is a mount as -v was given it.
func bindText(m Mount) string {
	text := m.Source + ":" + m.Target
	var options []string
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.NoCopy {
		options = append(options, "nocopy")
	}
	for _, word := range []string{m.Propagation, m.Relabel} {
		if word != "" {
			options = append(options, word)
		}
	}
	if len(options) > 0 {
		text += ":" + strings.Join(options, ",")
	}
	return text
}

// mountPointsJSON are the mounts of --mount; MustExist tells them from those of -v and --tmpfs.
func mountPointsJSON(mounts []Mount) (list []MountPointJSON) {
	for _, m := range mounts {
		if !m.MustExist {
			continue
		}
		j := MountPointJSON{Type: m.Type, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
		switch {
		case m.Type == "bind" && (m.Propagation != "" || m.Recursive != "" && m.Recursive != "enabled"):
			j.BindOptions = &BindOptionsJSON{
				Propagation: m.Propagation, NonRecursive: m.Recursive == "disabled",
				ReadOnlyNonRecursive: m.Recursive == "writable", ReadOnlyForceRecursive: m.Recursive == "readonly",
			}
		case m.Type == "volume" && (m.NoCopy || m.Subpath != "" || len(m.Labels) > 0 || len(m.VolumeOptions) > 0):
			j.Volume = &VolumeOptionsJSON{NoCopy: m.NoCopy, Labels: m.Labels, Subpath: m.Subpath}
			if len(m.VolumeOptions) > 0 {
				j.Volume.DriverConfig = &DriverConfigJSON{"local", m.VolumeOptions}
			}
		}
		list = append(list, j)
	}
	return list
}

// devicesJSON reads HOST[:CONTAINER][:rwm] as the spec does.
func devicesJSON(devices []string) []DeviceJSON {
	list := []DeviceJSON{}
	for _, text := range devices {
		host, target, access := splitDevice(text)
		list = append(list, DeviceJSON{host, target, or(access, "rwm")})
	}
	return list
}

// splitDevice parts --device: HOST, HOST:CONTAINER, HOST:rwm or HOST:CONTAINER:rwm.
func splitDevice(text string) (host, target, access string) {
	host, rest, _ := strings.Cut(text, ":")
	target, access, _ = strings.Cut(rest, ":")
	if target != "" && !strings.HasPrefix(target, "/") {
		target, access = "", target
	}
	return host, or(target, host), access
}

func ulimitsJSON(limits []specs.POSIXRlimit) []UlimitJSON {
	list := []UlimitJSON{}
	for _, l := range limits {
		list = append(list, UlimitJSON{strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), int64(l.Hard), int64(l.Soft)})
	}
	return list
}

// capNames are capabilities as Docker shows them: CAP_NET_ADMIN.
func capNames(caps []string) []string {
	var list []string
	for _, c := range caps {
		c = strings.ToUpper(c)
		if c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		list = append(list, c)
	}
	return list
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
