package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

func TestLyingLayout(t *testing.T) {
	from := newStore(t)
	img := importFiles(t, from, "x:1", file{name: "a", body: strings.Repeat("a", 5000)})
	for name, c := range map[string]struct {
		change func(dir string)
		want   string
	}{
		"flipped bit": {func(dir string) {
			data, err := os.ReadFile(from.blob(img.Layers[0]))
			if err != nil {
				t.Fatal(err)
			}
			data[1000] ^= 1
			os.WriteFile(dir+"/blobs/sha256/"+img.Layers[0].Encoded(), data, 0o600)
		}, "has"},
		"longer": {func(dir string) {
			f, err := os.OpenFile(dir+"/blobs/sha256/"+img.Layers[0].Encoded(), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(make([]byte, 512))
			f.Close()
		}, "longer than"},
		"shorter": {func(dir string) { os.Truncate(dir+"/blobs/sha256/"+img.Layers[0].Encoded(), 3000) }, "EOF"},
		"missing": {func(dir string) { os.Remove(dir + "/blobs/sha256/" + img.Layers[0].Encoded()) }, "incomplete"},
		"other manifest": {func(dir string) {
			os.WriteFile(dir+"/blobs/sha256/"+img.Manifest.Encoded(), []byte(`{"schemaVersion":2}`), 0o600)
		}, "digest"},
		"path as digest": {func(dir string) {
			os.WriteFile(dir+"/index.json", []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../../etc/passwd","size":1}]}`), 0o600)
		}, "hex digits"},
		"endless index": {func(dir string) {
			raw := []byte(`{"schemaVersion":2,"manifests":[]}`)
			for range 6 {
				d := digestOf(raw)
				os.WriteFile(dir+"/blobs/sha256/"+d.Encoded(), raw, 0o600)
				raw = []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"size":%d}]}`, d, len(raw)))
			}
			os.WriteFile(dir+"/index.json", raw, 0o600)
		}, "too deeply"},
	} {
		dir := t.TempDir() + "/layout"
		run(t, "cp", "-r", from.LayoutDir(), dir)
		c.change(dir)
		to := newStore(t)
		if _, err := to.Load(context.Background(), dir, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		wantEmpty(t, to)
	}
}

func TestBlobIsVerified(t *testing.T) {
	s := newStore(t)
	img := importFiles(t, s, "x", file{name: "a", body: strings.Repeat("a", 10000)})
	blob := s.blob(img.Layers[0])
	data, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	data[600] ^= 1
	if err := os.WriteFile(blob, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d := Descriptor{Digest: img.Layers[0], Size: int64(len(data))}
	source := layerSource{diffID: d.Digest, open: func(context.Context) (io.ReadCloser, error) { return s.keep(nil, d) }}
	if err := os.RemoveAll(s.layerDir(img.Layers[0])); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.unpackLayers(context.Background(), []layerSource{source}); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("a damaged layer was unpacked: %v", err)
	}
	if s.hasLayer(img.Layers[0]) {
		t.Error("a damaged layer is in place")
	}
}
