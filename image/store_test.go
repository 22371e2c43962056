package image

import (
	"bytes"
	"context"
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

func TestManyGoroutinesAtOnce(t *testing.T) {
	s := newStore(t)
	archive := manyLayers(t, 5)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 4 {
				if _, err := s.LoadStream(context.Background(), bytes.NewReader(archive), ""); err != nil {
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

func TestKilledLoader(t *testing.T) {
	if dir := os.Getenv("TEST_LOAD_INTO"); dir != "" {
		s := storeIn(t, dir)
		if _, err := s.LoadStream(context.Background(), os.Stdin, ""); err != nil {
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
