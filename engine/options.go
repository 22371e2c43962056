package engine

import (
	"io"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
)

// CreateOptions is everything that `run` and `create` can say about a container. The zero value of a field means
// "what the image says", then Docker's default.
type CreateOptions struct {
	Name  string   `json:",omitzero"` // generated when empty
	Image string   `json:",omitzero"` // a name, an id or a unique prefix of one
	Args  []string `json:",omitzero"` // what stands after the image: replaces the image's Cmd

	Entrypoint []string          `json:",omitzero"` // replaces the image's Entrypoint and empties its Cmd; [""] resets it to none; nil keeps it
	Env        []string          `json:",omitzero"` // NAME=value; a bare NAME has been resolved or dropped by the caller
	Labels     map[string]string `json:",omitzero"`
	WorkingDir string            `json:",omitzero"`
	User       string            `json:",omitzero"` // name|uid[:group|gid]
	Hostname   string            `json:",omitzero"`
	Domainname string            `json:",omitzero"`
	TTY        bool              `json:",omitzero"` // -t
	OpenStdin  bool              `json:",omitzero"` // -i
	ReadOnly   bool              `json:",omitzero"`
	Init       bool              `json:",omitzero"`
	AutoRemove bool              `json:",omitzero"`
	StopSignal string            `json:",omitzero"`
	// StopTimeout is the time between TERM and KILL in seconds; nil means 10.
	StopTimeout *int          `json:",omitzero"`
	Restart     RestartPolicy `json:",omitzero"`
	CIDFile     string        `json:",omitzero"`
	Pull        string        `json:",omitzero"` // missing (default), always, never

	Mounts      []Mount  `json:",omitzero"`
	VolumesFrom []string `json:",omitzero"`

	Network    string                `json:",omitzero"` // network name or id, bridge, none, host, container:NAME, ns:PATH; "" means bridge
	Networks   []NetworkAttachment   `json:",omitzero"`
	Unplugged  bool                  `json:",omitzero"` // Network is none because the container has been disconnected from all it had, none included
	Ports      []network.PortMapping `json:",omitzero"`
	PublishAll bool                  `json:",omitzero"`
	// UserlandProxy publishes the ports by a proxy in the monitor; nil: as the configuration file says.
	UserlandProxy *bool               `json:",omitzero"`
	Expose        []string            `json:",omitzero"` // "80/tcp"
	MacAddress    string              `json:",omitzero"`
	IP, IP6       string              `json:",omitzero"`
	Aliases       []string            `json:",omitzero"`
	Shape         network.Shape       `json:",omitzero"` // on the first network
	Extras        network.Extras      `json:",omitzero"` // on the first network
	DNS           []string            `json:",omitzero"`
	DNSSearch     []string            `json:",omitzero"`
	DNSOptions    []string            `json:",omitzero"`
	ExtraHosts    []string            `json:",omitzero"` // "name:address"; address may be host-gateway
	Links         []string            `json:",omitzero"`
	Resources     Resources           `json:",omitzero"`
	Security      Security            `json:",omitzero"`
	GroupAdd      []string            `json:",omitzero"`
	OomScoreAdj   *int                `json:",omitzero"`
	ShmSize       int64               `json:",omitzero"` // bytes; 0 means 64 MiB
	Ulimits       []specs.POSIXRlimit `json:",omitzero"`
	Sysctls       map[string]string   `json:",omitzero"`
	Devices       []string            `json:",omitzero"`
	PidMode       string              `json:",omitzero"`
	IpcMode       string              `json:",omitzero"`
	UTSMode       string              `json:",omitzero"`
	UsernsMode    string              `json:",omitzero"` // host: no remapping, whatever Security.UsernsRemap says; or ""
	// CgroupnsMode is private, host or "": private, but for --privileged.
	CgroupnsMode string            `json:",omitzero"`
	Annotations  map[string]string `json:",omitzero"`
	// DeviceCgroupRules are more device rules, such as "c 42:* rmw".
	DeviceCgroupRules []string `json:",omitzero"`
	Detached          bool     `json:",omitzero"` // -d: nobody stands beside it
	// AttachStreams are the streams that -a named; nil means those that belong to -i and -d.
	AttachStreams []string `json:",omitzero"`
	// Health is the health check: fields left zero are the image's, then Docker's defaults; Test ["NONE"] turns it off.
	Health    *image.Healthcheck `json:",omitzero"`
	LogDriver string             `json:",omitzero"`
	LogOpts   map[string]string  `json:",omitzero"`
}

// NetworkAttachment is one more network to join, besides CreateOptions.Network.
type NetworkAttachment struct {
	Network string
	IP, IP6 string
	MAC     string
	Aliases []string
	Shape   network.Shape  `json:",omitzero"`
	Extras  network.Extras `json:",omitzero"`
	Links   []string       `json:",omitempty"` // of `network connect`: NAME[:ALIAS]
}

// RestartPolicy is when a container that has ended is started again.
type RestartPolicy struct {
	Name              string // "no" (or ""), always, unless-stopped, on-failure
	MaximumRetryCount int    // for on-failure; 0 means no limit
}

// Mount is one -v, --mount or --tmpfs.
type Mount struct {
	Type     string `json:",omitzero"` // bind, volume, tmpfs
	Source   string `json:",omitzero"` // a path for bind, a name for volume ("" means anonymous)
	Target   string `json:",omitzero"`
	ReadOnly bool   `json:",omitzero"`
	// Propagation is private, rprivate, shared, rshared, slave or rslave; "" means rprivate.
	Propagation string `json:",omitzero"`
	// Relabel is z or Z: the source gets the SELinux label of all containers' files, or of this one's. Without SELinux it means nothing.
	Relabel string            `json:",omitzero"`
	NoCopy  bool              `json:",omitzero"`
	Labels  map[string]string `json:",omitzero"` // of a volume that the mount makes
	// VolumeOptions are those of `volume create --opt`, for a volume that the mount makes.
	VolumeOptions map[string]string `json:",omitzero"`
	// Recursive says how what is mounted below a bind source comes along: "" or enabled (read-only too, with ReadOnly), writable
	// (as it is), readonly (read-only, or an error), disabled (not at all).
	Recursive    string   `json:",omitzero"`
	Subpath      string   `json:",omitzero"`
	TmpfsOptions []string `json:",omitzero"` // size=…, mode=…
	// MustExist is for those of --mount: a bind source that is missing is refused; otherwise it is made as a directory (-v).
	MustExist bool `json:",omitzero"`
}

// Resources are the limits. Zero means none.
type Resources struct {
	Memory            int64  `json:",omitzero"` // bytes
	MemorySwap        int64  `json:",omitzero"` // bytes, memory and swap together; -1 means unlimited swap
	MemoryReservation int64  `json:",omitzero"` // bytes
	NanoCPUs          int64  `json:",omitzero"` // 1e9 is one CPU
	CPUShares         uint64 `json:",omitzero"`
	CPUPeriod         uint64 `json:",omitzero"` // microseconds
	CPUQuota          int64  `json:",omitzero"` // microseconds
	CpusetCpus        string `json:",omitzero"`
	CpusetMems        string `json:",omitzero"`
	PidsLimit         int64  `json:",omitzero"` // -1 means unlimited
	BlkioWeight       uint16 `json:",omitzero"`
	// Limits of single disks: bytes or operations in a second.
	BlkioWeightDevice                      []DeviceLimit `json:",omitzero"`
	ReadBps, WriteBps, ReadIOps, WriteIOps []DeviceLimit `json:",omitzero"`
	CPURealtimePeriod, CPURealtimeRuntime  int64         `json:",omitzero"` // microseconds; cgroup v1
	MemorySwappiness                       *int64        `json:",omitzero"` // 0 to 100; cgroup v1; nil is the host's
	OomKillDisable                         bool          `json:",omitzero"`
	CgroupParent                           string        `json:",omitzero"`
}

// DeviceLimit is a limit for one block device.
type DeviceLimit struct {
	Path string
	Rate uint64
}

// Security is what a container may do.
type Security struct {
	Privileged      bool     `json:",omitzero"`
	CapAdd, CapDrop []string `json:",omitzero"`
	SecurityOpt     []string `json:",omitzero"`
	UsernsRemap     string   `json:",omitzero"` // whose sub-ids: default, or name|uid[:group|gid]; "" is no user namespace
}

// Streams are the caller's own standard streams. In may be nil.
type Streams struct {
	In       *os.File
	Out, Err *os.File
}

// RunOptions is a CreateOptions and how to stand beside the container.
type RunOptions struct {
	CreateOptions
	Detach     bool
	DetachKeys string // "" means ctrl-p,ctrl-q
	NoSigProxy bool
}

// ExecOptions is one more process in a running container.
type ExecOptions struct {
	Args        []string
	Env         []string
	User        string
	WorkingDir  string
	TTY         bool
	Interactive bool
	Detach      bool
	Privileged  bool
	DetachKeys  string
}

// LogOptions choose lines of a container's log.
type LogOptions struct {
	Follow       bool
	Tail         int // -1 means all
	Since, Until time.Time
	Timestamps   bool
	Details      bool // what --log-opt labels, env and tag have added
	Stdout       io.Writer
	Stderr       io.Writer
}

// RemoveOptions say how hard `rm` tries.
type RemoveOptions struct {
	Force   bool // kill it first
	Volumes bool // anonymous volumes too
}

// StartOptions are how `start` stands beside the container.
type StartOptions struct {
	Attach      bool
	Interactive bool
	DetachKeys  string
}

// ExitError carries the exit status that the command line must end with: 125 for an error of ours, 126 for a command
// that cannot be executed, 127 for one that is not found.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }
