package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

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
