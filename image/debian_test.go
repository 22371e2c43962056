package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBootstrapDebian has a stand-in for mmdebstrap, and one for debootstrap: what Debian's mirrors have is not ours to test.
func TestBootstrapDebian(t *testing.T) {
	path := os.Getenv("PATH")
	for tool, script := range map[string]string{
		"mmdebstrap":  "#!/bin/sh\ntest \"$1 $2 $3 $4\" = '--variant=minbase --format=tar testing -' || exit 3\ncd $(mktemp -d) && mkdir etc && echo 13 > etc/debian_version && tar -c .\n",
		"debootstrap": "#!/bin/sh\ntest \"$1 $2\" = '--variant=minbase testing' || exit 3\nmkdir -p $3/etc && echo 13 > $3/etc/debian_version\n",
	} {
		bin := t.TempDir()
		t.Setenv("PATH", path)
		if err := os.WriteFile(bin+"/"+tool, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, "sh", "-ec", "for p in mkdir mktemp tar sh; do ln -s $(command -v $p) "+bin+"/$p; done")
		t.Setenv("PATH", bin)
		s := newStore(t)
		img, err := s.Bootstrap(context.Background(), BootstrapOptions{From: "debian", Suite: "testing"})
		if err != nil {
			t.Fatal(tool, err)
		}
		if data, err := os.ReadFile(mounted(t, s, img) + "etc/debian_version"); err != nil || string(data) != "13\n" || img.RepoTags[0] != "debian:testing" {
			t.Errorf("%s: %q, %v, %v", tool, data, err, img.RepoTags)
		}
		failed := newStore(t)
		if _, err := failed.Bootstrap(context.Background(), BootstrapOptions{From: "debian", Suite: "absent"}); err == nil || !strings.Contains(err.Error(), tool+" --variant=minbase") {
			t.Errorf("%s fails: %v", tool, err)
		}
		wantEmpty(t, failed)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := newStore(t).Bootstrap(context.Background(), BootstrapOptions{From: "debian"}); err == nil || !strings.Contains(err.Error(), "apt-get install mmdebstrap") {
		t.Errorf("without a tool: %v", err)
	}
}

// TestCollectingDuringDebootstrap: nobody takes the tree away in which debootstrap works, whatever else happens to the store meanwhile.
func TestCollectingDuringDebootstrap(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nmkdir -p $3/etc && echo begun >" + bin + "/begun && read x <" + bin + "/goon && echo 13 > $3/etc/debian_version\n"
	if err := os.WriteFile(bin+"/debootstrap", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "sh", "-ec", "for p in mkdir sh; do ln -s $(command -v $p) "+bin+"/$p; done; mkfifo "+bin+"/begun "+bin+"/goon")
	t.Setenv("PATH", bin)
	s := newStore(t)
	importFiles(t, s, "other:1", file{name: "a", body: "a"})
	made := make(chan error, 1)
	go func() {
		_, err := s.Bootstrap(context.Background(), BootstrapOptions{From: "debian", Suite: "testing"})
		made <- err
	}()
	if _, err := os.ReadFile(bin + "/begun"); err != nil { // waits for the writer
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"collect": func() error { _, err := s.Collect(context.Background()); return err },
		"prune": func() error {
			_, _, err := s.Prune(context.Background(), PruneOptions{All: true})
			return err
		},
		"the slow part of an earlier collect": s.removeAside,
		"settle":                              s.Settle,
		"failed load":                         func() error { _, _ = s.LoadStream(context.Background(), strings.NewReader("nonsense"), ""); return nil },
		"another image": func() error {
			_, err := s.Import(context.Background(), bytes.NewReader(tarOf(t, file{name: "b", body: "b"})), ImportOptions{Reference: "b"})
			return err
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.WriteFile(bin+"/goon", []byte("on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(s.layers() + "/*-*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
