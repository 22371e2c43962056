package image

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// judge is what the library that Docker uses makes of a name.
func judge(s string) (string, string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", "", err
	}
	named = reference.TagNameOnly(named)
	return named.String(), reference.FamiliarString(named), nil
}

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func seeds() []string {
	return []string{
		"busybox", "nginx:alpine", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx:1", "user/app", "a/b/c",
		"localhost/x", "localhost:5000/x:y", "[::1]:5000/x", "[::1]/x", "[fe80::1]:/x", "127.0.0.1:5000/a/b:c@" + someDigest, "x@" + someDigest,
		"UPPER/x", "Upper", "x:UPPER", "a__b", "a___b", "a--b", "a-", "-a", "a..b", "a._b", "x:", "x@", ":y", "", "/", "a/", "/a", "a//b",
		"x:" + strings.Repeat("t", 128), "x:" + strings.Repeat("t", 129), strings.Repeat("p", 255), strings.Repeat("p", 248), "example.com/" + strings.Repeat("p", 256),
		strings.Repeat("a", 64), "e.com:443/x", "e.com:/x", "e.com:44a/x", "e-.com/x", "docker.io/library", "docker.io", "ü/x", "x:ü", "x y", "x:.t", "x:-t", "x:_t",
		"x@sha256:abc", "x@md5:0123456789abcdef0123456789abcdef", "http://x/y", "[::1/x", "a:b/c", "a:b:c", "x@y:z", "x@" + someDigest + ":tag",
		"docker.io/0.0/0", "docker.io/localhost/x", "docker.io/library/localhost/x",
	}
}

func compareWithJudge(t *testing.T, s string) {
	t.Helper()
	full, familiar, wantErr := judge(s)
	got, err := ParseReference(s)
	if err == nil && wantErr != nil {
		t.Fatalf("%q is taken for %v; distribution/reference says: %v", s, got, wantErr)
	}
	if wantErr != nil {
		return
	}
	if err != nil {
		// Stricter on purpose: only sha256 names content here, and a host is a host, not a path that looks like none.
		if strings.Contains(s, "@") || strings.Contains(err.Error(), "host") {
			return
		}
		t.Fatalf("%q is refused: %v; distribution/reference says %q", s, err, full)
	}
	if back, _, err := judge(familiar); err != nil || back != full {
		familiar = full // docker.io/0.0/x: the library's short form 0.0/x names another registry
	}
	if got.String() != full || got.Familiar() != familiar {
		t.Fatalf("%q: got %q and %q, distribution/reference says %q and %q", s, got, got.Familiar(), full, familiar)
	}
	again, err := ParseReference(got.Familiar())
	if err != nil || again != got {
		t.Fatalf("%q: %q does not read back as itself: %v, %v", s, got.Familiar(), again, err)
	}
}

func TestReferenceAgreesWithTheLibrary(t *testing.T) {
	for _, s := range seeds() {
		compareWithJudge(t, s)
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(compareWithJudge)
}

// TestAbsentSaysItOnce: what is not here is an fs.ErrNotExist, and the text ends in the way out.
func TestAbsentSaysItOnce(t *testing.T) {
	_, err := newStore(t).Get("nothing")
	if want := "no image \"nothing\" here; get it with `mydocker pull nothing`, or from an archive with `mydocker load` or `mydocker import`"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
