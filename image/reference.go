package image

import (
	"errors"
	"fmt"
	"strings"
)

// Reference is an image's name, in full: nginx:alpine is docker.io/library/nginx:alpine.
//
// The grammar is that of distribution/reference (https://pkg.go.dev/github.com/distribution/reference), against which
// the tests compare this parser. The library itself is not linked: its regular expressions cost 0.5 ms at each start.
type Reference struct {
	Domain string // docker.io, localhost:5000, [::1]:5000
	Path   string // library/nginx
	Tag    string // "" only when Digest is given
	Digest Digest // "" when the name has none
}

const (
	defaultDomain = "docker.io"
	defaultTag    = "latest"
	// maxPath is the longest repository path, and maxTag the longest tag, that registries take.
	maxPath = 255
	maxTag  = 128
)

// ParseReference reads a name as people type it: the domain defaults to docker.io, a path of one part is in library/,
// and the tag is latest when there is neither tag nor digest.
func ParseReference(s string) (Reference, error) {
	ref, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("invalid image name %q: %w", s, err)
	}
	if ref.Tag == "" && ref.Digest == "" {
		ref.Tag = defaultTag
	}
	return ref, nil
}

func parseReference(s string) (Reference, error) {
	if s == "" {
		return Reference{}, errors.New("it is empty")
	}
	if isHex64(s) {
		return Reference{}, errors.New("64 hex digits are an image id, not a name")
	}
	var ref Reference
	domain, rest := splitDomain(s)
	ref.Domain = domain
	rest, digest, hasDigest := strings.Cut(rest, "@")
	path, tag, hasTag := strings.Cut(rest, ":")
	ref.Path, ref.Tag = path, tag
	if domain == defaultDomain && !strings.Contains(path, "/") {
		ref.Path = "library/" + path
	}
	if err := checkDomain(ref.Domain); err != nil {
		return Reference{}, err
	}
	if err := checkPath(path); err != nil {
		return Reference{}, err
	}
	if len(ref.Path) > maxPath {
		return Reference{}, fmt.Errorf("the repository name is longer than %d characters", maxPath)
	}
	if hasTag {
		if err := checkTag(tag); err != nil {
			return Reference{}, err
		}
	}
	if hasDigest {
		d, err := ParseDigest(digest)
		if err != nil {
			return Reference{}, err
		}
		ref.Digest = d
	}
	return ref, nil
}

// splitDomain decides whether what stands before the first slash is a host: it is when it has a dot or a colon, is
// localhost, or has a capital letter (which no repository may have).
func splitDomain(s string) (domain, rest string) {
	first, rest, found := strings.Cut(s, "/")
	if !found || (!strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first) {
		return defaultDomain, s
	}
	if first == "index.docker.io" {
		first = defaultDomain
	}
	return first, rest
}

func checkDomain(domain string) error {
	host, port := domain, ""
	hasPort := false
	if inner, ok := strings.CutPrefix(domain, "["); ok {
		address, after, closed := strings.Cut(inner, "]")
		if !closed || address == "" || strings.Trim(address, "0123456789abcdefABCDEF:") != "" {
			return fmt.Errorf("the host %q is not an IPv6 address in brackets", domain)
		}
		if port, hasPort = strings.CutPrefix(after, ":"); !hasPort && after != "" {
			return fmt.Errorf("in the host %q something other than a port follows the bracket", domain)
		}
		host = ""
	} else {
		host, port, hasPort = strings.Cut(domain, ":")
		for part := range strings.SplitSeq(host, ".") {
			if part == "" || part[0] == '-' || part[len(part)-1] == '-' || !onlyASCII(part, isHostChar) {
				return fmt.Errorf("%q is not a host name", host)
			}
		}
	}
	if hasPort && (port == "" || !onlyASCII(port, isDigit)) {
		return fmt.Errorf("the port of the host %q is not a number", domain)
	}
	return nil
}

// checkPath: lower-case letters and digits, with ".", "_", "__" or any number of "-" between them, and "/" between parts.
func checkPath(path string) error {
	if strings.ToLower(path) != path {
		return fmt.Errorf("the repository name %q must be lower case", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if !validPathPart(part) {
			return fmt.Errorf("%q is not a repository name (lower-case letters and digits, with . _ __ or - between them)", path)
		}
	}
	return nil
}

func validPathPart(s string) bool {
	if s == "" || !isLowerAlnum(s[0]) || !isLowerAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if isLowerAlnum(s[i]) {
			continue
		}
		start := i
		for i+1 < len(s) && !isLowerAlnum(s[i+1]) {
			i++
		}
		separator := s[start : i+1]
		if separator != "." && separator != "_" && separator != "__" && strings.Trim(separator, "-") != "" {
			return false
		}
	}
	return true
}

func checkTag(tag string) error {
	if tag == "" || len(tag) > maxTag || tag[0] == '.' || tag[0] == '-' || !onlyASCII(tag, isTagChar) {
		return fmt.Errorf("%q is not a tag (letters, digits, _ . and -, at most %d of them)", tag, maxTag)
	}
	return nil
}

// Name is the repository in full: docker.io/library/nginx.
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// String is the whole name in full.
func (r Reference) String() string { return r.Name() + r.suffix() }

// FamiliarName is the repository as people write it: nginx. A path on Docker Hub that begins as a host's name does keeps
// its domain (docker.io/0.0/x: without it, 0.0 would be the registry).
func (r Reference) FamiliarName() string {
	if r.Domain != defaultDomain {
		return r.Name()
	}
	short, ok := strings.CutPrefix(r.Path, "library/")
	if !ok || strings.Contains(short, "/") {
		short = r.Path
	}
	if _, rest := splitDomain(short); rest != short {
		return r.Name()
	}
	return short
}

// Familiar is the name as people write it: nginx:alpine.
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

func onlyASCII(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool      { return '0' <= c && c <= '9' }
func isLowerAlnum(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' }
func isAlnum(c byte) bool      { return isLowerAlnum(c) || 'A' <= c && c <= 'Z' }
func isHostChar(c byte) bool   { return isAlnum(c) || c == '-' }
func isTagChar(c byte) bool    { return isAlnum(c) || c == '_' || c == '.' || c == '-' }
