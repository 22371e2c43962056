package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// afterBoot is the store as a process sees it after the machine was started anew: another boot, and RUN empty.
func afterBoot(t testing.TB, s *Store, boot string) (*Store, *[]string) {
	t.Helper()
	var said []string
	next, err := Open(state.Root{Lib: s.root.Lib, Run: t.TempDir(), NetNS: s.root.NetNS}, Options{Warn: func(m string) { said = append(said, m) }})
	if err != nil {
		t.Fatal(err)
	}
	next.boot = func() (string, error) { return boot, nil }
	return next, &said
}

func threeLayers(t testing.TB) []byte {
	return layered(t, "three:1",
		tarOf(t, file{name: "a", body: strings.Repeat("a", 9000)}),
		tarOf(t, file{name: "b", body: strings.Repeat("b", 9000)}, file{name: "gone", body: "x"}),
		tarOf(t, file{name: "c", body: strings.Repeat("c", 9000)}, file{name: ".wh.gone"}))
}

func wantThree(t testing.TB, s *Store, img *Image) {
	t.Helper()
	root := mounted(t, s, img)
	for _, name := range []string{"a", "b", "c"} {
		if data, err := os.ReadFile(root + name); string(data) != strings.Repeat(name, 9000) {
			t.Errorf("%s has %d bytes, %v", name, len(data), err)
		}
	}
	if _, err := os.Lstat(root + "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
}

// TestSettle: a record tells whether its image is known to be on the disk.
func TestSettle(t *testing.T) {
	s := newStore(t)
	img := loadBytes(t, s, threeLayers(t))
	if r, err := s.look("three:1"); err != nil || r.Boot == "" {
		t.Fatalf("just loaded: %+v, %v", r, err)
	}
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if r, err := s.look("three:1"); err != nil || r.Boot != "" {
		t.Fatalf("settled: %+v, %v", r, err)
	}
	// What has settled is not looked at again: the boot of the damage cannot have done it.
	if err := os.Truncate(filepath.Join(s.layerDir(img.Layers[0]), "fs", "a"), 10); err != nil {
		t.Fatal(err)
	}
	next, said := afterBoot(t, s, "next")
	if data, err := os.ReadFile(mounted(t, next, img) + "a"); len(data) != 10 || len(*said) > 0 {
		t.Errorf("%d bytes, %v; said %q", len(data), err, *said)
	}
}

// damages are what a power failure can do to an image that had not settled.
func damages(t *testing.T, s *Store, img *Image) map[string]func() error {
	r, err := s.look(string(img.ID))
	if err != nil {
		t.Fatal(err)
	}
	layer := func(i int, rest string) string { return filepath.Join(s.layerDir(img.Layers[i]), rest) }
	zeros := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, make([]byte, info.Size()), 0o600)
	}
	return map[string]func() error{
		"nothing":           func() error { return nil },
		"short file":        func() error { return os.Truncate(layer(1, "fs/b"), 100) },
		"file of zeros":     func() error { return zeros(layer(2, "fs/c")) },
		"file gone":         func() error { return os.Remove(layer(0, "fs/a")) },
		"whiteout gone":     func() error { return os.Remove(layer(2, "fs/gone")) },
		"layer gone":        func() error { return os.RemoveAll(layer(1, "")) },
		"layer.json empty":  func() error { return os.Truncate(layer(1, "layer.json"), 0) },
		"index.json empty":  func() error { return os.Truncate(s.indexPath(), 0) },
		"oci-layout empty":  func() error { return os.Truncate(filepath.Join(s.images(), "oci-layout"), 0) },
		"! blob short":      func() error { return os.Truncate(s.blob(r.Blobs[1]), 700) },
		"! blob of zeros":   func() error { return zeros(s.blob(r.Blobs[2])) },
		"! blob gone":       func() error { return os.Remove(s.blob(r.Blobs[0])) },
		"! manifest empty":  func() error { return os.Truncate(s.blob(r.Manifest), 0) },
		"! config of zeros": func() error { return zeros(s.blob(r.ID)) },
		"! record empty":    func() error { return os.Truncate(s.idPath(r.ID), 0) },
		"! record cut off":  func() error { return os.Truncate(s.idPath(r.ID), 300) },
		"! record of zeros": func() error { return zeros(s.idPath(r.ID)) },
		"! record gone":     func() error { return os.Remove(s.idPath(r.ID)) },
	}
}

// TestPowerCut: after a power failure an image that had not settled is right, or it is gone and that is said. Those with "!"
// cannot be mended.
func TestPowerCut(t *testing.T) {
	archive := threeLayers(t)
	for _, settledBefore := range []bool{false, true} {
		first := newStore(t)
		for name := range damages(t, first, loadBytes(t, first, archive)) {
			s := newStore(t)
			if settledBefore { // an image that shares a layer, and must stay
				importFiles(t, s, "old:1", file{name: "a", body: strings.Repeat("a", 9000)})
				if err := s.Settle(); err != nil {
					t.Fatal(err)
				}
			}
			img := loadBytes(t, s, archive)
			if settledBefore && strings.Contains(name, "blob gone") || settledBefore && name == "file gone" {
				continue // these would damage what is on the disk for sure
			}
			if err := damages(t, s, img)[name](); err != nil {
				t.Fatal(err)
			}
			next, said := afterBoot(t, s, "next")
			got, err := next.Get("three:1")
			if lost := strings.HasPrefix(name, "!"); lost {
				if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "pull") {
					t.Errorf("%s: %v, want that it is gone", name, err)
				}
				if strings.Contains(name, "blob") && (len(*said) == 0 || !strings.Contains((*said)[len(*said)-1], "pull or load it again")) {
					t.Errorf("%s: said %q", name, *said)
				}
				got = loadBytes(t, next, archive)
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			wantThree(t, next, got)
			checkWhole(t, next)
			if strings.Contains(name, "index") {
				checkIndex(t, next)
			}
			if r, err := next.look("three:1"); err != nil || r.Boot == "next" != strings.HasPrefix(name, "!") {
				t.Errorf("%s: afterwards its record says %q, %v", name, r.Boot, err)
			}
		}
	}
}

// checkIndex: skopeo finds the image in the layout.
func checkIndex(t *testing.T, s *Store) {
	t.Helper()
	run(t, "skopeo", "inspect", "oci:"+s.LayoutDir()+":docker.io/library/three:1")
}

// TestPowerCutWhileLoading: layers that arrived, of an image that never came to have a record, are not taken for good.
func TestPowerCutWhileLoading(t *testing.T) {
	s := newStore(t)
	img := loadBytes(t, s, threeLayers(t))
	if err := errors.Join(os.Remove(s.idPath(img.ID)), os.Truncate(filepath.Join(s.layerDir(img.Layers[0]), "fs", "a"), 1)); err != nil {
		t.Fatal(err)
	}
	next, _ := afterBoot(t, s, "next")
	wantThree(t, next, loadBytes(t, next, threeLayers(t)))
}

// TestContainerAfterPowerCut: a container that was made before starts with the right files; it asks for no image.
func TestContainerAfterPowerCut(t *testing.T) {
	s := newStore(t)
	img := loadBytes(t, s, threeLayers(t))
	if err := os.Truncate(filepath.Join(s.layerDir(img.Layers[1]), "fs", "b"), 1); err != nil {
		t.Fatal(err)
	}
	next, said := afterBoot(t, s, "next")
	wantThree(t, next, &Image{ID: img.ID, Layers: img.Layers})
	if len(*said) != 1 {
		t.Errorf("said %q, want one line", *said)
	}
}

// TestKilledCheck kills the one who mends at many moments; the next one does it.
func TestKilledCheck(t *testing.T) {
	if dir := os.Getenv("TEST_CHECK_IN"); dir != "" {
		s := storeIn(t, dir)
		s.boot = func() (string, error) { return "next", nil }
		if err := s.EnsureChecked(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var layers [][]byte
	for i := range 6 {
		layers = append(layers, tarOf(t, file{name: fmt.Sprintf("f%d", i), body: strings.Repeat(fmt.Sprint(i), 700<<10)}))
	}
	s := newStore(t)
	img := loadBytes(t, s, layered(t, "big:1", layers...))
	if err := os.Remove(s.checkedPath()); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		c := exec.Command(os.Args[0], "-test.run=^TestKilledCheck$")
		c.Env = append(os.Environ(), "TEST_CHECK_IN="+filepath.Dir(s.root.Lib))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(5+6*i) * time.Millisecond)
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		c.Wait()
	}
	next, _ := afterBoot(t, s, "next")
	root := mounted(t, next, img)
	for i := range 6 {
		if data, err := os.ReadFile(fmt.Sprintf("%sf%d", root, i)); string(data) != strings.Repeat(fmt.Sprint(i), 700<<10) {
			t.Errorf("f%d has %d bytes, %v", i, len(data), err)
		}
	}
	if _, err := next.Collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(s.layers()); err != nil || len(entries) != 6 {
		t.Errorf("layers: %v, %v", entries, err)
	}
}

// TestPowerFailsForReal has an ext4 forget all that it had not written, as a power failure does: ext4(5), and `xfs_io -x -c
// "shutdown"`. It happens at several moments of a load, and after it.
func TestPowerFailsForReal(t *testing.T) {
	needRoot(t)
	archive := layered(t, "three:1", tarOf(t, file{name: "a", body: strings.Repeat("a", 9000)}, file{name: "big", body: strings.Repeat("0123456789", 1<<20)}),
		tarOf(t, file{name: "b", body: strings.Repeat("b", 9000)}), tarOf(t, file{name: "c", body: strings.Repeat("c", 9000)}))
	disk, mnt := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	run(t, "truncate", "-s", "300M", disk)
	run(t, "mkfs.ext4", "-q", disk)
	lost := 0
	for i := range 6 {
		run(t, "mount", "-o", "loop", disk, mnt)
		unmount := func() {
			run(t, "umount", mnt)
			// A thread that had a mount namespace of its own may still be ending; until it has, the next mount would be the dead file system again.
			run(t, "timeout", "60", "sh", "-c", `while [ -n "$(losetup -j "$0")" ]; do sleep 0.01; done`, disk)
		}
		s, err := Open(state.Root{Lib: mnt + "/lib", Run: t.TempDir()}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.boot = func() (string, error) { return fmt.Sprint(i), nil }
		ctx, cancel := context.WithCancel(context.Background())
		loaded := make(chan error, 1)
		go func() {
			_, err := s.LoadStream(ctx, bytes.NewReader(archive), "")
			loaded <- err
		}()
		if i < 3 {
			time.Sleep(time.Duration(1+10*i) * time.Millisecond)
		} else if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			err = s.Settle()
		}
		if err := errors.Join(err, powerFails(mnt)); err != nil {
			t.Fatal(err)
		}
		if cancel(); i < 3 {
			<-loaded // whatever it says
		}
		unmount()
		run(t, "mount", "-o", "loop", disk, mnt)
		next, _ := afterBoot(t, s, fmt.Sprint(i+1))
		img, err := next.Get("three:1")
		if errors.Is(err, fs.ErrNotExist) && i < 5 {
			lost++
			img = loadBytes(t, next, archive)
		} else if err != nil {
			t.Fatalf("power failure %d: %v", i, err)
		}
		wantThreeAnd(t, next, img)
		if _, err := next.Remove("three:1", RemoveOptions{}); err != nil {
			t.Error(err)
		}
		unmount()
	}
	if lost == 0 {
		t.Error("no power failure has done any harm: this tests nothing")
	}
}

// wantThreeAnd mounts for a moment only: the file system below is to be unmounted.
func wantThreeAnd(t testing.TB, s *Store, img *Image) {
	t.Helper()
	dir := filepath.Join(s.root.Lib, "container")
	r, err := s.Rootfs(img, dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir(dir, 0o700)
		if err == nil {
			r, err = s.Rootfs(img, dir)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Mount(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, size := range map[string]int{"a": 9000, "b": 9000, "c": 9000, "big": 10 << 20} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name))
		if err != nil || len(data) != size || strings.Trim(string(data), "0123456789abc") != "" {
			t.Errorf("%s has %d bytes, %v", name, len(data), err)
		}
	}
}

// powerFails is EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing that is only in memory is written any more.
func powerFails(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), 0x8004587d, 2)
}
