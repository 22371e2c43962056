package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/state"
	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make device nodes and mounts: run them as root")
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	s, err := Open(state.Root{Lib: filepath.Join(dir, "lib"), Run: filepath.Join(dir, "run"), NetNS: filepath.Join(dir, "netns")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// file is one entry of an archive in a test.
type file struct {
	name     string
	typ      byte // 0 is a regular file
	body     string
	link     string
	mode     int64
	uid, gid int
	major    int64
	minor    int64
	xattrs   map[string]string
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Typeflag: f.typ, Linkname: f.link, Mode: f.mode, Uid: f.uid, Gid: f.gid, Devmajor: f.major, Devminor: f.minor,
			Size: int64(len(f.body)), ModTime: time.Unix(1700000000, 0), Format: tar.FormatPAX}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		for key, value := range f.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[xattrRecord+key] = value
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unpackInto unpacks an archive into a fresh directory that has a canary beside it, and returns both.
func unpackInto(t testing.TB, archive []byte) (dir, outside string, content unpacked, err error) {
	t.Helper()
	base := t.TempDir()
	dir, outside = filepath.Join(base, "layer"), filepath.Join(base, "outside")
	for _, d := range []string{dir, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "canary"), []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	content, err = unpackTar(context.Background(), bytes.NewReader(archive), root, 1<<30, nil)
	return dir, outside, content, err
}

// list is a directory tree as text: one line a file with its kind, mode, owner, size and link.
func list(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %s", st.Size, digestOf(data).Short())
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" dev %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// run runs a command of the other side and fails the test with its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mounted mounts an image's root file system and returns a path to it.
func mounted(t testing.TB, s *Store, img *Image) string {
	t.Helper()
	r, err := s.Rootfs(img, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Mount(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), f.Fd())
}

func importFiles(t testing.TB, s *Store, name string, files ...file) *Image {
	t.Helper()
	img, err := s.Import(context.Background(), bytes.NewReader(tarOf(t, files...)), ImportOptions{Reference: name})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// storeIn is the store of an earlier newStore, in another process.
func storeIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(state.Root{Lib: filepath.Join(dir, "lib"), Run: filepath.Join(dir, "run"), NetNS: filepath.Join(dir, "netns")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

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
	images, err := s.LoadStream(context.Background(), bytes.NewReader(archive), "")
	if err != nil {
		t.Fatal(err)
	}
	return images[0]
}

func manyLayers(t testing.TB, n int) []byte {
	var layers [][]byte
	for i := range n {
		layers = append(layers, tarOf(t, file{name: fmt.Sprintf("f%d", i), body: fmt.Sprint(i)}, file{name: "top", body: fmt.Sprint(i)}))
	}
	return layered(t, "many:1", layers...)
}
