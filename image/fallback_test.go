package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/state"
)

// TestFallbackOnAnOverlay: a store that lies on an overlay, as inside another container, cannot have overlays of its own.
func TestFallbackOnAnOverlay(t *testing.T) {
	outer := newStore(t)
	host := mounted(t, outer, importFiles(t, outer, "host:1", file{name: "empty/", typ: tar.TypeDir}))
	var warned []string
	s, err := Open(state.Root{Lib: host + "lib", Run: t.TempDir()}, Options{Warn: func(m string) { warned = append(warned, m) }})
	if err != nil {
		t.Fatal(err)
	}
	if driver, why, err := s.Driver(); err != nil || driver != DriverCopy || why == "" {
		t.Errorf("the driver is %s, because of %q, %v", driver, why, err)
	}
	if driver, _, err := outer.Driver(); err != nil || driver != DriverOverlay {
		t.Errorf("outside the driver is %s, %v", driver, err)
	}
	archive := layered(t, "x:1",
		tarOf(t, file{name: "etc/", typ: tar.TypeDir, mode: 0o700, uid: 3, gid: 4}, file{name: "etc/a", body: "1"}, file{name: "etc/b", body: "1"},
			file{name: "d/", typ: tar.TypeDir}, file{name: "d/old", body: "1"}, file{name: "gone/", typ: tar.TypeDir}, file{name: "gone/x", body: "x"}, file{name: "again/", typ: tar.TypeDir}, file{name: "again/x", body: "x"}),
		tarOf(t, file{name: "etc/a", body: "22"}, file{name: "etc/.wh.b"}, file{name: "d/.wh..wh..opq"}, file{name: "d/+new", body: "2"}, file{name: ".wh.gone"},
			file{name: ".wh.again"}, file{name: "again/", typ: tar.TypeDir}, file{name: "again/y", body: "y"}),
		tarOf(t, file{name: "h1", body: "h"}, file{name: "h2", typ: tar.TypeLink, link: "h1"}, file{name: "etc/c", body: "c"}))
	want := list(t, mounted(t, outer, loadBytes(t, outer, archive)))
	img := loadBytes(t, s, archive)
	if err := os.Mkdir(host+"c", 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := s.Rootfs(img, host+"c")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		f, err := r.Mount(nil)
		if err != nil {
			t.Fatal(err)
		}
		root := fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), f.Fd())
		got := list(t, root)
		if round == 0 {
			if got != want {
				t.Errorf("copied\n%s\nby overlay\n%s", got, want)
			}
			if err := os.WriteFile(root+"kept", []byte("k"), 0o600); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(got, "\nkept ") {
			t.Error("what the container wrote is gone at the second start")
		}
		f.Close()
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "overlayfs cannot be mounted") {
		t.Errorf("warned %q, want once", warned)
	}
	if _, err := r.Diff(); !errors.Is(err, errCopied) {
		t.Errorf("diff of a copy: %v", err)
	}
}
