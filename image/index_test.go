package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// manyImages is an archive of n images with one layer.
func manyImages(t testing.TB, n int) []byte {
	t.Helper()
	layer := tarOf(t, file{name: "a", body: "a"})
	files := []file{{name: "layer.tar", body: string(layer)}}
	var entries []string
	for i := range n {
		name := fmt.Sprintf("c%d.json", i)
		files = append(files, file{name: name, body: fmt.Sprintf(
			`{"architecture":"amd64","os":"linux","config":{"Cmd":["%d"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, i, digestOf(layer))})
		entries = append(entries, fmt.Sprintf(`{"Config":%q,"RepoTags":["many:%d"],"Layers":["layer.tar"]}`, name, i))
	}
	return tarOf(t, append(files, file{name: "manifest.json", body: "[" + strings.Join(entries, ",") + "]"})...)
}

// wantIndex compares index.json with what there is.
func wantIndex(t *testing.T, s *Store, what string) {
	t.Helper()
	records, err := s.readRecords()
	if err != nil {
		t.Fatal(err)
	}
	named, err := s.readNames()
	if err != nil {
		t.Fatal(err)
	}
	index, err := s.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	if right := indexOf(records, named); !index.says(right) || !right.says(index) {
		t.Errorf("%s: the index says %+v, want %+v", what, index.Manifests, right.Manifests)
	}
}

// TestLoadWritesTheIndexOnce: with each image it would take a time that grows with the square of their number.
func TestLoadWritesTheIndexOnce(t *testing.T) {
	s := newStore(t)
	importFiles(t, s, "before:1", file{name: "b", body: "b"})
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, s.images(), unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	images, err := s.LoadStream(context.Background(), bytes.NewReader(manyImages(t, 40)), "")
	if err != nil || len(images) != 40 || images[39].RepoTags[0] != "many:39" {
		t.Fatalf("%d images, %v", len(images), err)
	}
	wantIndex(t, s, "loaded")
	if index, err := s.readIndex(); err != nil || len(index.Manifests) != 41 {
		t.Errorf("%d entries, %v", len(index.Manifests), err)
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Read(watch, buf)
	if err != nil {
		t.Fatal(err)
	}
	var moved []string
	for at := 0; at < n; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
		name := buf[at+unix.SizeofInotifyEvent : at+unix.SizeofInotifyEvent+int(e.Len)]
		moved = append(moved, string(bytes.TrimRight(name, "\x00")))
		at += unix.SizeofInotifyEvent + int(e.Len)
	}
	if len(moved) != 1 || moved[0] != "index.json" {
		t.Errorf("written: %v, want index.json once", moved)
	}
}

// TestIndexIsMended: whoever is killed between the index, the records and the names leaves an index that says too much or too little.
func TestIndexIsMended(t *testing.T) {
	s := newStore(t)
	if _, err := s.LoadStream(context.Background(), bytes.NewReader(manyImages(t, 3)), ""); err != nil {
		t.Fatal(err)
	}
	good, err := s.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	foreign := good.Manifests[0]
	foreign.Digest = someDigest
	for what, entries := range map[string][]Descriptor{
		"too little":     good.Manifests[:1],
		"too much":       append([]Descriptor{foreign}, good.Manifests...),
		"another digest": append([]Descriptor{foreign}, good.Manifests[1:]...),
		"nothing":        nil,
	} {
		if err := s.writeIndex(&manifest{SchemaVersion: 2, Manifests: entries}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Collect(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantIndex(t, s, what)
	}
	r, err := s.look("many:1")
	if err == nil {
		err = os.Remove(s.idPath(r.ID)) // its name stays
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, s, "a name without a record")
	if _, err := os.Lstat(s.namePath(Reference{Domain: "docker.io", Path: "library/many", Tag: "1"})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that leads nowhere is still there: %v", err)
	}
}

// TestFailedLoadLeavesNothing: of an archive of many images none stays when one of them, or its name, cannot be stored.
func TestFailedLoadLeavesNothing(t *testing.T) {
	archive := manyImages(t, 3)
	bad := bytes.Replace(archive, []byte(`"Cmd":["2"]`), []byte(`"Cmd":[  2]`), 1)
	s := newStore(t)
	if _, err := s.LoadStream(context.Background(), bytes.NewReader(bad), ""); err == nil {
		t.Fatal("an archive with a bad image was loaded")
	}
	wantEmpty(t, s)
	if err := os.Mkdir(s.namePath(Reference{Domain: "docker.io", Path: "library/many", Tag: "2"}), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadStream(context.Background(), bytes.NewReader(archive), ""); err == nil {
		t.Fatal("a name was given although its place is taken")
	}
	if err := os.Remove(s.namePath(Reference{Domain: "docker.io", Path: "library/many", Tag: "2"})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, s)
}
