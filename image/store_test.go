package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBootstrapIsABusybox(t *testing.T) {
	s := newStore(t)
	img, err := s.Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("busybox"); err != nil || got.ID != img.ID || got.Config.Config.Cmd[0] != "sh" {
		t.Fatalf("Get: %+v, %v", got, err)
	}
	root := mounted(t, s, img)
	if out := run(t, "chroot", root, "/bin/sh", "-c", "id -un; ls /root; stat -c %a /tmp /root; /usr/bin/env echo ok"); out != "root\n1777\n700\nok\n" {
		t.Errorf("inside the image:\n%s", out)
	}
	again, err := newStore(t).Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil || again.ID != img.ID {
		t.Errorf("the same busybox makes another image: %v and %v (%v)", img.ID, again, err)
	}
}

func TestBootstrapRefusesADynamicProgram(t *testing.T) {
	s := newStore(t)
	if _, err := s.Bootstrap(context.Background(), BootstrapOptions{Busybox: "/bin/ls"}); err == nil || !strings.Contains(err.Error(), "not static") {
		t.Errorf("error %v, want one that says that the program is not static", err)
	}
}

func TestImportTakesEveryCompression(t *testing.T) {
	var ids []Digest
	archive := tarOf(t, file{name: "hello", body: "world"})
	for _, command := range []string{"cat", "gzip", "bzip2", "xz", "zstd"} {
		s := newStore(t)
		c := exec.Command(command, map[string][]string{"cat": {"-"}, "zstd": {"-c"}}[command]...)
		c.Stdin = bytes.NewReader(archive)
		packed, err := c.Output()
		if err != nil {
			t.Fatal(command, err)
		}
		img, err := s.Import(context.Background(), bytes.NewReader(packed), ImportOptions{Reference: "x", Changes: []string{"CMD [\"a\",\"b\"]", "ENV A=1 B='2 3'", "EXPOSE 80 53/udp", "WORKDIR /w"}})
		if err != nil {
			t.Fatal(command, err)
		}
		ids = append(ids, img.Layers[0])
		c1 := img.Config.Config
		if len(c1.Cmd) != 2 || c1.Env[1] != "B=2 3" || len(c1.ExposedPorts) != 2 || c1.WorkingDir != "/w" {
			t.Errorf("%s: changes gave %+v", command, c1)
		}
		data, err := os.ReadFile(filepath.Join(mounted(t, s, img), "hello"))
		if err != nil || string(data) != "world" {
			t.Errorf("%s: %q, %v", command, data, err)
		}
	}
	for _, id := range ids {
		if id != ids[0] || id != digestOf(archive) {
			t.Errorf("layers %v, want all to be the digest of the archive", ids)
		}
	}
}

func TestTagGetListRemove(t *testing.T) {
	s := newStore(t)
	img := importFiles(t, s, "one:1", file{name: "a", body: "a"})
	for _, name := range []string{"two:2", "localhost:5000/deep/er:3"} {
		if err := s.Tag("one:1", name); err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range []string{"one:1", "docker.io/library/two:2", "localhost:5000/deep/er:3", string(img.ID), img.ID.Encoded(), img.ID.Short(), "sha256:" + img.ID.Encoded()[:5]} {
		if got, err := s.Get(ref); err != nil || got.ID != img.ID {
			t.Errorf("Get(%q): %v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"one", "zzz", "0000", "UPPER", ""} {
		if _, err := s.Get(ref); err == nil {
			t.Errorf("Get(%q) found something", ref)
		}
	}
	if _, err := s.Get("absent"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mydocker pull absent") {
		t.Errorf("error %v: want fs.ErrNotExist and the way out", err)
	}
	images, err := s.List()
	if err != nil || len(images) != 1 || len(images[0].RepoTags) != 3 {
		t.Fatalf("List: %+v, %v", images, err)
	}
	if _, err := s.Remove(img.ID.Short(), RemoveOptions{}); err == nil || !strings.Contains(err.Error(), "several repositories") {
		t.Errorf("removed by id although it has three names: %v", err)
	}
	removed, err := s.Remove("one:1", RemoveOptions{})
	if err != nil || len(removed) != 1 || removed[0].Untagged != "one:1" {
		t.Errorf("%+v, %v", removed, err)
	}
	inUse := func(Digest) []string { return []string{"happy_lab"} }
	if _, err := s.Remove(string(img.ID), RemoveOptions{InUse: inUse}); err == nil || !strings.Contains(err.Error(), "happy_lab") {
		t.Errorf("an image in use was removed: %v", err)
	}
	if removed, err = s.Remove(string(img.ID), RemoveOptions{Force: true, InUse: inUse}); err != nil || len(removed) != 2 {
		t.Errorf("%+v, %v; want the two names gone", removed, err)
	}
	if _, err := s.Get(string(img.ID)); err != nil {
		t.Errorf("an image in use is gone: %v", err)
	}
	if removed, err = s.Remove(string(img.ID), RemoveOptions{}); err != nil || len(removed) != 2 || removed[1].Deleted != string(img.Layers[0]) {
		t.Errorf("%+v, %v; want the image and its layer deleted", removed, err)
	}
	wantEmpty(t, s)
}

// wantEmpty compares with a store in which nothing was ever kept.
func wantEmpty(t *testing.T, s *Store) {
	t.Helper()
	for _, dir := range []string{s.blobs(), s.ingest(), s.names(), s.ids(), s.layers()} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s has %v (%v), want nothing", dir, entries, err)
		}
	}
	if index, err := s.readIndex(); err != nil || len(index.Manifests) > 0 {
		t.Errorf("the index has %+v (%v)", index, err)
	}
}

// layered makes an image of many layers by the hand of another program's format: a docker-save archive.
func layered(t testing.TB, name string, layers ...[]byte) []byte {
	t.Helper()
	var diffs, paths []string
	files := []file{}
	for i, l := range layers {
		diffs = append(diffs, fmt.Sprintf("%q", digestOf(l)))
		paths = append(paths, fmt.Sprintf("%q", fmt.Sprintf("%d/layer.tar", i)))
		files = append(files, file{name: fmt.Sprintf("%d/layer.tar", i), body: string(l)})
	}
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[%s]}}`, strings.Join(diffs, ","))
	manifest := fmt.Sprintf(`[{"Config":"c.json","RepoTags":[%q],"Layers":[%s]}]`, name, strings.Join(paths, ","))
	return tarOf(t, append(files, file{name: "c.json", body: config}, file{name: "manifest.json", body: manifest})...)
}

func loadBytes(t testing.TB, s *Store, archive []byte) *Image {
	t.Helper()
	images, err := s.LoadStream(context.Background(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return images[0]
}

func TestLayersHideEachOther(t *testing.T) {
	s := newStore(t)
	img := loadBytes(t, s, layered(t, "x:1",
		tarOf(t, file{name: "etc/", typ: tar.TypeDir, mode: 0o700, uid: 3, gid: 4}, file{name: "etc/a", body: "1"}, file{name: "etc/b", body: "1"},
			file{name: "d/", typ: tar.TypeDir}, file{name: "d/old", body: "1"}, file{name: "l", typ: tar.TypeSymlink, link: "/etc"}),
		tarOf(t, file{name: "etc/a", body: "22"}, file{name: "etc/.wh.b"}, file{name: "d/.wh..wh..opq"}, file{name: "d/new", body: "2"}, file{name: "l/evil", body: "2"}),
	))
	root := mounted(t, s, img)
	want := `. 40755 0:0
d 40755 0:0
d/new 100755 0:0 1 d4735e3a265e
etc 40700 3:4
etc/a 100755 0:0 2 785f3ec7eb32
l 40755 0:0
l/evil 100755 0:0 1 d4735e3a265e`
	if got := list(t, root); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func manyLayers(t testing.TB, n int) []byte {
	var layers [][]byte
	for i := range n {
		layers = append(layers, tarOf(t, file{name: fmt.Sprintf("f%d", i), body: fmt.Sprint(i)}, file{name: "top", body: fmt.Sprint(i)}))
	}
	return layered(t, "many:1", layers...)
}

func TestManyLayersMountInBothWays(t *testing.T) {
	s := newStore(t)
	img := loadBytes(t, s, manyLayers(t, 130))
	r, err := s.Rootfs(img, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, mount := range map[string]func() (*os.File, error){"one by one": r.mount, "as a whole": r.mountAsWhole} {
		before := run(t, "cat", "/proc/self/mountinfo")
		f, err := mount()
		if err != nil {
			t.Fatal(name, err)
		}
		root := fmt.Sprintf("/proc/self/fd/%d/", f.Fd())
		if data, err := os.ReadFile(root + "top"); err != nil || string(data) != "129" {
			t.Errorf("%s: the top layer has %q (%v), want 129", name, data, err)
		}
		if data, err := os.ReadFile(root + "f0"); err != nil || string(data) != "0" {
			t.Errorf("%s: the bottom layer has %q (%v)", name, data, err)
		}
		if after := run(t, "cat", "/proc/self/mountinfo"); after != before {
			t.Errorf("%s: the host's mounts have changed", name)
		}
		f.Close()
	}
}

func TestVolatileMountCanBeMadeAgain(t *testing.T) {
	s := newStore(t)
	img := importFiles(t, s, "x", file{name: "a", body: "a"})
	r, err := s.Rootfs(img, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r.Volatile = true
	for range 2 {
		f, err := r.Mount(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/new", f.Fd()), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		f.Close()
	}
}

// The other side makes archives of an image of ours; we load them and must get the same image.
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
		images, err := to.Load(context.Background(), path)
		if err != nil {
			t.Fatal(name, err)
		}
		if len(images) != 1 || images[0].Layers[0] != img.Layers[0] || len(images[0].RepoTags) != 1 || images[0].RepoTags[0] != "busybox:latest" {
			t.Errorf("%s: loaded %+v, want %s", name, images, img.ID)
		}
	}
	run(t, "gzip", "-k", work+"/oci.tar")
	if images, err := newStore(t).Load(context.Background(), work+"/oci.tar.gz"); err != nil || images[0].Layers[0] != img.Layers[0] {
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
				_, err := s.LoadStream(context.Background(), bytes.NewReader(c.archive))
				return err
			},
			func(s *Store) error {
				path := t.TempDir() + "/archive"
				if err := os.WriteFile(path, c.archive, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := s.Load(context.Background(), path)
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

// TestLyingLayout: an OCI layout whose manifest lies about sizes or whose blobs are exchanged.
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
		if _, err := to.Load(context.Background(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		wantEmpty(t, to)
	}
}

// TestBlobIsVerified: content that rots on the disk is not unpacked.
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

func TestManyGoroutinesAtOnce(t *testing.T) {
	s := newStore(t)
	archive := manyLayers(t, 5)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 4 {
				if _, err := s.LoadStream(context.Background(), bytes.NewReader(archive)); err != nil {
					t.Error(err)
				}
				if err := s.Tag("many:1", fmt.Sprintf("t%d:%d", i, j)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				if i%2 == 0 {
					if _, err := s.Remove("many:1", RemoveOptions{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	checkWhole(t, s)
}

// checkWhole: every name leads to an image, every image has its layers and blobs, and can be mounted.
func checkWhole(t *testing.T, s *Store) {
	t.Helper()
	images, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		for _, l := range img.Layers {
			if _, err := s.readLayer(l); err != nil {
				t.Errorf("%v: %v", img.RepoTags, err)
			}
		}
		if _, err := s.readBlob(img.Manifest); err != nil {
			t.Error(err)
		}
		mounted(t, s, img)
		for _, tag := range img.RepoTags {
			if got, err := s.Get(tag); err != nil || got.ID != img.ID {
				t.Errorf("Get(%s): %v, %v", tag, got, err)
			}
		}
	}
}

// TestKilledLoader kills a loading process at many moments; what is named is whole, and collecting leaves no rest.
func TestKilledLoader(t *testing.T) {
	if dir := os.Getenv("TEST_LOAD_INTO"); dir != "" {
		s := storeIn(t, dir)
		if _, err := s.LoadStream(context.Background(), os.Stdin); err != nil {
			t.Fatal(err)
		}
		return
	}
	s := newStore(t)
	var layers [][]byte
	for i := range 6 {
		layers = append(layers, tarOf(t, file{name: fmt.Sprintf("f%d", i), body: strings.Repeat(fmt.Sprint(i), 700<<10)}))
	}
	archive := layered(t, "big:1", layers...)
	for i := range 20 {
		c := exec.Command(os.Args[0], "-test.run=^TestKilledLoader$")
		c.Env = append(os.Environ(), "TEST_LOAD_INTO="+filepath.Dir(s.root.Lib))
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { io.Copy(in, bytes.NewReader(archive)); in.Close() }()
		time.Sleep(time.Duration(5+4*i) * time.Millisecond)
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		c.Wait()
		checkWhole(t, s)
		// Killed between its record and its name, an image is whole and nameless.
		images, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range images {
			if _, err := s.Remove(string(img.ID), RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Collect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(s.layers()); err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
			t.Fatalf("after kill %d: %v, %v", i, entries, err)
		}
	}
	loadBytes(t, s, archive)
	checkWhole(t, s)
}

func BenchmarkGet(b *testing.B) {
	s := newStore(b)
	if _, err := s.Bootstrap(context.Background(), BootstrapOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get("busybox"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMount(b *testing.B) {
	s := newStore(b)
	img, err := s.Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Rootfs(img, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	r.Volatile = true
	for b.Loop() {
		f, err := r.Mount(nil)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkListThousand(b *testing.B) {
	s := newStore(b)
	img := importFiles(b, s, "x:1", file{name: "a", body: "a"})
	r, err := s.find(string(img.ID))
	if err != nil {
		b.Fatal(err)
	}
	r.Config.Config.Env = strings.Fields(strings.Repeat("PATH=/usr/local/sbin:/usr/local/bin ", 10))
	for i := range 20 {
		r.Config.History = append(r.Config.History, History{CreatedBy: fmt.Sprintf("RUN /bin/sh -c step %d && something && else", i), EmptyLayer: true})
	}
	for i := range 1000 {
		r.ID = digestOf([]byte(fmt.Sprint(i)))
		data, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(s.idPath(r.ID), data, 0o600), os.Symlink("../ids/"+r.ID.Encoded()+".json", s.namePath(Reference{Domain: "docker.io", Path: "library/many", Tag: fmt.Sprint(i)}))); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if images, err := s.List(); err != nil || len(images) != 1001 {
			b.Fatal(len(images), err)
		}
	}
}
