package image

import (
	"fmt"
	"strings"
)

// Digest is the name of content: "sha256:" and 64 hex digits. It has the methods of the well-known
// opencontainers/go-digest type, which is not used because compiling its regular expressions costs every process
// 0.15 to 0.3 ms at start (docs/decisions/0010-image-own-digest-and-reference.md).
type Digest string

// ParseDigest refuses everything but a sha256 digest in its one canonical spelling. A digest becomes a file name, so
// nothing else may pass.
func ParseDigest(s string) (Digest, error) {
	hex, ok := strings.CutPrefix(s, "sha256:")
	if !ok {
		return "", fmt.Errorf("digest %q does not start with \"sha256:\", the only algorithm supported", s)
	}
	if !isHex64(hex) {
		return "", fmt.Errorf("digest %q is not 64 lower-case hex digits", s)
	}
	return Digest(s), nil
}

// Validate says what is wrong with the digest, if something is.
func (d Digest) Validate() error {
	_, err := ParseDigest(string(d))
	return err
}

// Algorithm is the part before the colon.
func (d Digest) Algorithm() string {
	algorithm, _, _ := strings.Cut(string(d), ":")
	return algorithm
}

// Encoded is the part after the colon: the hex digits.
func (d Digest) Encoded() string {
	_, hex, _ := strings.Cut(string(d), ":")
	return hex
}

func (d Digest) String() string { return string(d) }

// Short is the twelve digits that tables show.
func (d Digest) Short() string {
	if hex := d.Encoded(); len(hex) > 12 {
		return hex[:12]
	}
	return d.Encoded()
}

func isHex64(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
