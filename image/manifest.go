package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// The media types that are read (OCI image-spec media-types.md and Docker's older ones), and those that are written.
const (
	mediaOCIIndex       = "application/vnd.oci.image.index.v1+json"
	mediaOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	mediaOCIConfig      = "application/vnd.oci.image.config.v1+json"
	mediaOCILayer       = "application/vnd.oci.image.layer.v1.tar"
	mediaDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaDockerSchema1  = "application/vnd.docker.distribution.manifest.v1"
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

// Descriptor points at content: OCI image-spec descriptor.md.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

// Platform is for which machines an image is.
type Platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

// manifest is an image manifest or an index, whichever of the two fields sets it has.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Descriptor       `json:"config,omitempty"`
	Layers        []Descriptor      `json:"layers,omitempty"`
	Manifests     []Descriptor      `json:"manifests,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// maxManifest is the largest manifest or configuration that is read into memory, in bytes. Registries take 4 MiB.
const maxManifest = 8 << 20

// maxLayers is more than overlayfs stacks (500): a manifest with more is refused before anything is unpacked.
const maxLayers = 500

func digestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// chainIDs are the names of the stacks of layers, bottom first: OCI image-spec config.md, "Layer ChainID".
func chainIDs(diffIDs []Digest) []Digest {
	chain := make([]Digest, len(diffIDs))
	for i, diffID := range diffIDs {
		if i == 0 {
			chain[i] = diffID
			continue
		}
		chain[i] = digestOf([]byte(string(chain[i-1]) + " " + string(diffID)))
	}
	return chain
}

// parseManifest reads a manifest or index and checks what later code relies on.
func parseManifest(data []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("the manifest is not JSON of the right form: %w", err)
	}
	if m.SchemaVersion == 1 || strings.HasPrefix(m.MediaType, mediaDockerSchema1) {
		return nil, fmt.Errorf("the manifest has schema version 1, which was retired; push the image again with a current tool")
	}
	descriptors := append(append([]Descriptor(nil), m.Layers...), m.Manifests...)
	if m.Config != nil {
		descriptors = append(descriptors, *m.Config)
	}
	for _, d := range descriptors {
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("the manifest is damaged: %w", err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("the manifest gives %s the negative size %d", d.Digest, d.Size)
		}
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("the image has %d layers; overlayfs stacks at most %d", len(m.Layers), maxLayers)
	}
	return &m, nil
}

func (m *manifest) isIndex() bool { return m.Config == nil && m.Manifests != nil }

// parseConfig reads an image's configuration and checks it against the number of layers of its manifest.
func parseConfig(data []byte, layers int) (*Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("the image's configuration is not JSON of the right form: %w", err)
	}
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return nil, fmt.Errorf("the image's root file system is of the unknown type %q", c.RootFS.Type)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, fmt.Errorf("the image's configuration lists %d layers, its manifest %d", len(c.RootFS.DiffIDs), layers)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("the image's configuration is damaged: %w", err)
		}
	}
	return &c, nil
}

// encode is JSON as it is stored in blobs: without indentation, because its digest is its name.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return data, nil
}
