package engine

import "github.com/mydocker/mydocker/image"

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
	SizeRw          *int64 `json:",omitempty"` // bytes that the container wrote; only when asked for
	SizeRootFs      *int64 `json:",omitempty"`
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
	Binds                []string
	ContainerIDFile      string
	LogConfig            LogConfigJSON
	NetworkMode          string
	PortBindings         map[string][]PortBindingJSON
	RestartPolicy        RestartPolicy
	AutoRemove           bool
	VolumeDriver         string
	VolumesFrom          []string
	ConsoleSize          [2]uint
	Annotations          map[string]string `json:",omitempty"`
	CapAdd               []string
	CapDrop              []string
	CgroupnsMode         string
	DNS                  []string `json:"Dns"`
	DNSOptions           []string `json:"DnsOptions"`
	DNSSearch            []string `json:"DnsSearch"`
	ExtraHosts           []string
	GroupAdd             []string
	IpcMode              string
	Cgroup               string
	Links                []string
	OomScoreAdj          int
	PidMode              string
	Privileged           bool
	PublishAllPorts      bool
	ReadonlyRootfs       bool
	SecurityOpt          []string
	Tmpfs                map[string]string `json:",omitempty"`
	UTSMode              string
	UsernsMode           string
	ShmSize              int64
	Sysctls              map[string]string `json:",omitempty"`
	Runtime              string
	Isolation            string
	CPUShares            uint64 `json:"CpuShares"`
	Memory               int64
	NanoCPUs             int64 `json:"NanoCpus"`
	CgroupParent         string
	BlkioWeight          uint16
	BlkioWeightDevice    []WeightDeviceJSON
	BlkioDeviceReadBps   []DeviceLimit
	BlkioDeviceWriteBps  []DeviceLimit
	BlkioDeviceReadIOps  []DeviceLimit
	BlkioDeviceWriteIOps []DeviceLimit
	CPUPeriod            uint64 `json:"CpuPeriod"`
	CPUQuota             int64  `json:"CpuQuota"`
	CPURealtimePeriod    int64  `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime   int64  `json:"CpuRealtimeRuntime"`
	CpusetCpus           string
	CpusetMems           string
	Devices              []DeviceJSON
	DeviceCgroupRules    []string
	DeviceRequests       []struct{}
	MemoryReservation    int64
	MemorySwap           int64
	MemorySwappiness     *int64
	OomKillDisable       *bool
	PidsLimit            *int64
	Ulimits              []UlimitJSON
	CPUCount             int64 `json:"CpuCount"`
	CPUPercent           int64 `json:"CpuPercent"`
	IOMaximumIOps        uint64
	IOMaximumBandwidth   uint64
	Mounts               []MountPointJSON `json:",omitempty"`
	MaskedPaths          []string
	ReadonlyPaths        []string
	Init                 *bool `json:",omitempty"`
}

// WeightDeviceJSON is the share of one disk.
type WeightDeviceJSON struct {
	Path   string
	Weight uint64
}

// DeviceJSON is one --device.
type DeviceJSON struct {
	PathOnHost, PathInContainer, CgroupPermissions string
}

// UlimitJSON is one --ulimit; -1 is unlimited.
type UlimitJSON struct {
	Name       string
	Hard, Soft int64
}

// MountPointJSON is one --mount, as it was asked for.
type MountPointJSON struct {
	Type        string
	Source      string `json:",omitempty"`
	Target      string
	ReadOnly    bool               `json:",omitempty"`
	BindOptions *BindOptionsJSON   `json:",omitempty"`
	Volume      *VolumeOptionsJSON `json:"VolumeOptions,omitempty"`
}

// BindOptionsJSON are the bind-… fields of --mount.
type BindOptionsJSON struct {
	Propagation            string `json:",omitempty"`
	NonRecursive           bool   `json:",omitempty"`
	ReadOnlyNonRecursive   bool   `json:",omitempty"`
	ReadOnlyForceRecursive bool   `json:",omitempty"`
}

// VolumeOptionsJSON are the volume-… fields of --mount.
type VolumeOptionsJSON struct {
	NoCopy       bool              `json:",omitempty"`
	Labels       map[string]string `json:",omitempty"`
	Subpath      string            `json:",omitempty"`
	DriverConfig *DriverConfigJSON `json:",omitempty"`
}

// DriverConfigJSON are the volume-opt fields of --mount.
type DriverConfigJSON struct {
	Name    string
	Options map[string]string
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
	OnBuild      []string
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
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
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

// EndpointIPAMJSON is the addresses that a container has asked for on a network.
type EndpointIPAMJSON struct {
	IPv4Address string `json:",omitempty"`
	IPv6Address string `json:",omitempty"`
}

// EndpointJSON is the container's place on one network.
type EndpointJSON struct {
	IPAMConfig          *EndpointIPAMJSON // what was asked for
	Links               []string
	Aliases             []string
	DriverOpts          map[string]string
	GwPriority          int
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
