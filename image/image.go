package image

import "time"

// Image is one image of the store, ready to be run.
type Image struct {
	// ID is the digest of the configuration, as Docker prints it.
	ID Digest
	// Manifest is the digest of the manifest that the store keeps for it.
	Manifest Digest
	// RepoTags are its names as people write them: "busybox:latest".
	RepoTags []string
	// RepoDigests are the names with digests under which a registry knows it: "busybox@sha256:…".
	RepoDigests []string
	Config      Config
	// Size is the size of the unpacked layers in bytes, as `images` shows it.
	Size int64
	// Layers are the chain ids of the layers, bottom first: the names of the directories under LIB/layers.
	Layers []Digest
	// Archives are the digests of the layers' archives, as they lie in the blobs.
	Archives []Digest
	Created  time.Time
}

// Config is an image's configuration: OCI image-spec config.md, with the fields that Docker adds to it.
type Config struct {
	Created      *time.Time      `json:"created,omitempty"`
	Author       string          `json:"author,omitempty"`
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	OSVersion    string          `json:"os.version,omitempty"`
	OSFeatures   []string        `json:"os.features,omitempty"`
	Variant      string          `json:"variant,omitempty"`
	Config       ContainerConfig `json:"config"`
	RootFS       RootFSConfig    `json:"rootfs"`
	History      []History       `json:"history,omitempty"`
}

// ContainerConfig is what a container of the image is run with, unless its user says otherwise.
type ContainerConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	StopTimeout  *int                `json:"StopTimeout,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
}

// Healthcheck is Docker's HEALTHCHECK: durations are nanoseconds in JSON.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// RootFSConfig lists the digests of the uncompressed layer archives, bottom first.
type RootFSConfig struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

// History is one line of `history`: how a layer, or a change of configuration, came to be.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}
