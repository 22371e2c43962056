package image

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"testing"
)

// Layers are handed over one by one only where overlayfs takes them so; elsewhere it would say so too late.
func TestReleaseTakesParts(t *testing.T) {
	for release, want := range map[string]bool{
		"6.8.0": true, "6.18.1-cloud": true, "7.0": true, "6.7.12": false, "6.1.0-56-cloud-amd64": false, "5.14.0-427.el9": false, "odd": false,
	} {
		if got := releaseTakesParts(release); got != want {
			t.Errorf("%s: %v", release, got)
		}
	}
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
