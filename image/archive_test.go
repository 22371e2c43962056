package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestExchangeWithSkopeoAndUmoci(t *testing.T) {
	from := newStore(t)
	img, err := from.Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	ours := "oci:" + from.images() + ":docker.io/library/busybox:latest"
	for name, target := range map[string]string{
		"docker archive":   "docker-archive:" + work + "/docker.tar:busybox:latest",
		"layout directory": "oci:" + work + "/layout:busybox:latest",
		"layout archive":   "oci-archive:" + work + "/oci.tar:busybox:latest",
	} {
		run(t, "skopeo", "copy", "--insecure-policy", ours, target)
		path := strings.SplitN(target, ":", 3)[1]
		to := newStore(t)
		images, err := to.Load(context.Background(), path, "")
		if err != nil {
			t.Fatal(name, err)
		}
		if len(images) != 1 || images[0].Layers[0] != img.Layers[0] || len(images[0].RepoTags) != 1 || images[0].RepoTags[0] != "busybox:latest" {
			t.Errorf("%s: loaded %+v, want %s", name, images, img.ID)
		}
	}
	run(t, "gzip", "-k", work+"/oci.tar")
	if images, err := newStore(t).Load(context.Background(), work+"/oci.tar.gz", ""); err != nil || images[0].Layers[0] != img.Layers[0] {
		t.Errorf("a compressed archive: %v, %v", images, err)
	}
	// umoci unpacks our layout with its own hands; the files are the same as in our mount.
	run(t, "umoci", "unpack", "--image", work+"/layout:busybox:latest", work+"/bundle")
	if theirs, mine := list(t, work+"/bundle/rootfs"), list(t, mounted(t, from, img)); theirs != mine {
		t.Errorf("umoci unpacks\n%s\nwe unpack\n%s", theirs, mine)
	}
}

func TestBadArchivesLeaveNothing(t *testing.T) {
	good := manyLayers(t, 3)
	lying := layered(t, "x:1", tarOf(t, file{name: "a", body: "a"}))
	at := bytes.Index(lying, []byte(`diff_ids":["sha256:`)) + len(`diff_ids":["sha256:`)
	copy(lying[at:], "0000")
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":       {nil, "neither manifest.json nor index.json"},
		"no archive":  {bytes.Repeat([]byte("no"), 2000), "invalid tar header"},
		"truncated":   {good[:len(good)/2], "unexpected EOF"},
		"a rootfs":    {tarOf(t, file{name: "etc/passwd", body: "x"}), "mydocker import"},
		"no layers":   {tarOf(t, file{name: "manifest.json", body: `[{"Config":"c","Layers":["gone"]}]`}, file{name: "c", body: `{"rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]}}`}), "lacks the layer"},
		"bad digest":  {lying, "digest"},
		"hostile":     {layered(t, "x:1", tarOf(t, file{name: "../../x", body: "x"})), "leads out"},
		"not json":    {tarOf(t, file{name: "manifest.json", body: "]["}), "manifest.json"},
		"gzip broken": {[]byte("\x1f\x8b\x08\x00garbage"), "unexpected EOF"},
	} {
		for _, load := range []func(*Store) error{
			func(s *Store) error {
				_, err := s.LoadStream(context.Background(), bytes.NewReader(c.archive), "")
				return err
			},
			func(s *Store) error {
				path := t.TempDir() + "/archive"
				if err := os.WriteFile(path, c.archive, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := s.Load(context.Background(), path, "")
				return err
			},
		} {
			s := newStore(t)
			if err := load(s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want one with %q", name, err, c.want)
			}
			wantEmpty(t, s)
		}
	}
}

// TestLoadOfOnePlatform: of an archive with an index of several platforms, the one that is asked for is taken.
func TestLoadOfOnePlatform(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) string {
		d := digestOf(data)
		if err := os.WriteFile(dir+"/blobs/sha256/"+d.Encoded(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`"digest":%q,"size":%d`, d, len(data))
	}
	var entries []string
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		layer := tarOf(t, file{name: "arch", body: arch})
		config := fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, arch, digestOf(layer))
		manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,%s},"layers":[{"mediaType":%q,%s}]}`, mediaOCIConfig, put([]byte(config)), mediaOCILayer, put(layer))
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,%s,"platform":{"os":"linux","architecture":%q}}`, mediaOCIManifest, put([]byte(manifest)), arch))
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, mediaOCIIndex, strings.Join(entries, ","))
	top := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,%s,"annotations":{%q:"three:1"}}]}`, mediaOCIIndex, put([]byte(index)), annotationRefName)
	if err := os.WriteFile(dir+"/index.json", []byte(top), 0o600); err != nil {
		t.Fatal(err)
	}
	for platform, want := range map[string]string{"": hostPlatform().Architecture, "linux/s390x": "s390x", "arm64": "arm64"} {
		s := newStore(t)
		images, err := s.Load(context.Background(), dir, platform)
		if err != nil || len(images) != 1 || images[0].RepoTags[0] != "three:1" {
			t.Fatalf("%q: %v, %v", platform, images, err)
		}
		if got, err := os.ReadFile(mounted(t, s, images[0]) + "arch"); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v", platform, got, err)
		}
	}
	s := newStore(t)
	if _, err := s.Load(context.Background(), dir, "linux/riscv64"); err == nil || !strings.Contains(err.Error(), "it is offered for linux/amd64, linux/arm64, linux/s390x") {
		t.Error(err)
	}
	wantEmpty(t, s)
}
