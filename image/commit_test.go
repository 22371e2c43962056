package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// container is an image of ours, mounted and changed by a shell, as a container would change it.
func container(t *testing.T, s *Store, script string) (*Image, Rootfs, *os.File) {
	t.Helper()
	img := loadBytes(t, s, layered(t, "base:1",
		tarOf(t, file{name: "keep", body: "k"}, file{name: "gone", body: "g"}, file{name: "dir/", typ: tar.TypeDir}, file{name: "dir/a", body: "a"}, file{name: "dir/b", body: "b"},
			file{name: "again/", typ: tar.TypeDir}, file{name: "again/old", body: "o"}, file{name: "moved/", typ: tar.TypeDir}, file{name: "moved/x", body: "x"}),
		tarOf(t, file{name: "second", body: "2"}, file{name: "dir/.wh.b"})))
	r, err := s.Rootfs(img, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Mount(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	run(t, "sh", "-ec", fmt.Sprintf("cd /proc/%d/fd/%d/; %s", os.Getpid(), f.Fd(), script))
	return img, r, f
}

const busyLife = `rm gone; rm -r again; mkdir again; echo new > again/new; mv moved away; chmod 4711 keep; ln -s /etc/passwd link; echo 1 > h1; ln h1 h2; mkdir sub; ln h1 sub/h3
echo x > x; python3 -c 'import os; os.setxattr("x","user.note",b"hello"); os.setxattr("x","trusted.mine",b"yes")'; chown 12:34 x; mknod dev c 1 3; mkfifo pipe; echo more >> dir/a; mkdir -m 1777 tmp; touch -d 2001-02-03 x; rm second; mkdir second; echo s > second/s`

func TestCommitIsWhatTheContainerSaw(t *testing.T) {
	s := newStore(t)
	img, r, merged := container(t, s, busyLife)
	made, err := s.Commit(context.Background(), CommitOptions{Rootfs: r, Base: img, Reference: "made:1", Author: "me", Message: "why", Changes: []string{"CMD [\"new\"]", "ENV A=b"}})
	if err != nil {
		t.Fatal(err)
	}
	want := list(t, fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), merged.Fd()))
	root := mounted(t, s, made)
	if got := list(t, root); got != want {
		t.Errorf("the image has\n%s\nthe container saw\n%s", got, want)
	}
	for key, value := range map[string]string{"user.note": "hello", "trusted.mine": "yes"} {
		buf := make([]byte, 64)
		if n, err := unix.Lgetxattr(root+"x", key, buf); err != nil || string(buf[:n]) != value {
			t.Errorf("%s is %q, %v", key, buf[:max(n, 0)], err)
		}
	}
	var a, b unix.Stat_t
	if unix.Lstat(root+"h1", &a) != nil || unix.Lstat(root+"sub/h3", &b) != nil || a.Ino != b.Ino || a.Nlink != 3 {
		t.Errorf("hard links are apart: %d and %d, %d names", a.Ino, b.Ino, a.Nlink)
	}
	if c := made.Config; c.Config.Cmd[0] != "new" || c.Config.Env[0] != "A=b" || c.Author != "me" || c.History[len(c.History)-1].Comment != "why" || len(made.Layers) != 3 {
		t.Errorf("the configuration is %+v", c)
	}
	if img.Config.Config.Cmd[0] != "sh" {
		t.Error("the base's configuration was changed too")
	}
	// Another program reads the image and sees the same files.
	work := t.TempDir()
	run(t, "skopeo", "copy", "--insecure-policy", "oci:"+s.LayoutDir()+":docker.io/library/made:1", "oci:"+work+"/layout:x")
	run(t, "umoci", "unpack", "--image", work+"/layout:x", work+"/bundle")
	if theirs := list(t, work+"/bundle/rootfs"); theirs != want {
		t.Errorf("umoci unpacks\n%s\nthe container saw\n%s", theirs, want)
	}
}

// TestNamesThatMeanRemovals: what a container calls .wh.NAME would remove NAME from the image that is made of it.
func TestNamesThatMeanRemovals(t *testing.T) {
	for name, script := range map[string]string{
		"/dir/.wh.a": "echo x > dir/.wh.a", "/.wh.keep": "mkdir .wh.keep", "/dir/.wh..wh..opq": "echo x > dir/.wh..wh..opq",
		"/.wh..wh.plnk": "ln -s /etc .wh..wh.plnk", "/new/.wh.x": "mkdir new; echo x > new/.wh.x",
	} {
		s := newStore(t)
		img, r, merged := container(t, s, script)
		if _, err := s.Commit(context.Background(), CommitOptions{Rootfs: r, Base: img, Reference: "made:1"}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q cannot be part of an image", name)) {
			t.Errorf("commit with %s: %v", name, err)
		}
		if images, err := s.List(); err != nil || len(images) != 1 {
			t.Errorf("%s: %d images, %v; want the base alone", name, len(images), err)
		}
		changes, err := r.Diff()
		if err != nil || !slices.Contains(changes, Change{'A', name}) || slices.ContainsFunc(changes, func(c Change) bool { return c.Kind == 'D' }) {
			t.Errorf("diff with %s: %v, %v", name, changes, err)
		}
		// An archive of all files has it as a file; only who makes an image of that has to know.
		var archive bytes.Buffer
		if err := Export(context.Background(), merged, &archive); err != nil {
			t.Fatal(err)
		}
		var warned []string
		s.warn = func(m string) { warned = append(warned, m) }
		imported, err := s.Import(context.Background(), &archive, ImportOptions{Reference: "flat:1"})
		if err != nil || len(warned) != 1 || !strings.Contains(warned[0], strings.TrimPrefix(name, "/")) {
			t.Errorf("import with %s: warned %q, %v", name, warned, err)
			continue
		}
		if _, err := os.Stat(mounted(t, s, imported) + "dir/a"); err != nil {
			t.Errorf("import with %s has removed another file: %v", name, err)
		}
	}
}

func TestDiff(t *testing.T) {
	s := newStore(t)
	_, r, _ := container(t, s, busyLife)
	changes, err := r.Diff()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range changes {
		lines = append(lines, string(c.Kind)+" "+c.Path)
	}
	got := "\n" + strings.Join(lines, "\n") + "\n"
	for _, line := range []string{"D /gone", "C /again", "A /again/new", "A /away", "A /away/x", "D /moved", "C /keep", "A /link", "C /dir", "C /dir/a", "A /x", "C /second", "A /second/s", "A /sub/h3"} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("%q is missing in%s", line, got)
		}
	}
	if strings.Contains(got, "/dir/b") {
		t.Errorf("what the image itself has removed is shown:%s", got)
	}
}

func TestExportImports(t *testing.T) {
	s := newStore(t)
	_, _, merged := container(t, s, busyLife)
	var archive bytes.Buffer
	if err := Export(context.Background(), merged, &archive); err != nil {
		t.Fatal(err)
	}
	img, err := s.Import(context.Background(), &archive, ImportOptions{Reference: "flat:1"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, mounted(t, s, img)), list(t, fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), merged.Fd())); got != want {
		t.Errorf("imported\n%s\nexported\n%s", got, want)
	}
}

func TestSaveLoadsEverywhere(t *testing.T) {
	s := newStore(t)
	img, r, _ := container(t, s, busyLife)
	if _, err := s.Commit(context.Background(), CommitOptions{Rootfs: r, Base: img, Reference: "made:1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Tag("made:1", "made:2"); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	for _, format := range []string{FormatDocker, FormatOCI} {
		path := work + "/" + format + ".tar"
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		refs := []string{"made:1"}
		if format == FormatDocker {
			refs = []string{"made", "base:1"}
		}
		if err := s.Save(context.Background(), refs, f, format); err != nil {
			t.Fatal(err)
		}
		f.Close()
		to := newStore(t)
		images, err := to.Load(context.Background(), path, "")
		if err != nil {
			t.Fatal(format, err)
		}
		if images[0].ID.String() == "" || format == FormatDocker && (len(images) != 2 || len(images[0].RepoTags) != 2) {
			t.Errorf("%s: loaded %+v", format, images)
		}
		checkWhole(t, to)
	}
	// skopeo reads both; the layers that it finds are ours.
	docker := run(t, "skopeo", "inspect", "docker-archive:"+work+"/docker-archive.tar:made:2")
	layout := run(t, "skopeo", "inspect", "oci-archive:"+work+"/oci-archive.tar")
	for _, out := range []string{docker, layout} {
		if strings.Count(out, "\"sha256:") < 3 {
			t.Errorf("skopeo sees\n%s", out)
		}
	}
	run(t, "skopeo", "copy", "--insecure-policy", "docker-archive:"+work+"/docker-archive.tar:base:1", "oci:"+work+"/again:x")
	run(t, "umoci", "unpack", "--image", work+"/again:x", work+"/bundle")
	if theirs, mine := list(t, work+"/bundle/rootfs"), list(t, mounted(t, s, img)); theirs != mine {
		t.Errorf("umoci unpacks\n%s\nwe unpack\n%s", theirs, mine)
	}
	run(t, "buildah", "--root", work+"/b", "--runroot", work+"/r", "--storage-driver", "vfs", "pull", "--policy", "always", "--signature-policy", policy(t), "docker-archive:"+work+"/docker-archive.tar:made:1")
}

// policy is a file that lets buildah take unsigned images.
func policy(t *testing.T) string {
	path := t.TempDir() + "/policy.json"
	if err := os.WriteFile(path, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHistoryUsagePrune(t *testing.T) {
	s := newStore(t)
	img, r, _ := container(t, s, "echo 12345 > new")
	made, err := s.Commit(context.Background(), CommitOptions{Rootfs: r, Base: img, Reference: "made:1", Message: "m", Command: []string{"sh", "-c", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := s.History("made:1")
	if err != nil || len(lines) != 3 || lines[0].Size != 1 && lines[0].ID != string(made.ID) {
		t.Errorf("history %+v, %v", lines, err)
	}
	usage, err := s.DiskUsage()
	if err != nil || len(usage.Images) != 2 || usage.LayersSize != made.Size {
		t.Errorf("usage %+v, %v; want %d bytes of layers", usage, err, made.Size)
	}
	// The name moves on; the old image has none and is superfluous.
	importFiles(t, s, "made:1", file{name: "other", body: "o"})
	inUse := func(id Digest) []string { return nil }
	removed, freed, err := s.Prune(context.Background(), PruneOptions{InUse: inUse})
	if err != nil || len(removed) != 2 || removed[0].Deleted != string(made.ID) || freed < 6 {
		t.Errorf("pruned %+v, %d bytes, %v", removed, freed, err)
	}
	removed, _, err = s.Prune(context.Background(), PruneOptions{All: true, InUse: func(id Digest) []string {
		if id == img.ID {
			return []string{"c"}
		}
		return nil
	}})
	if err != nil || len(removed) != 3 {
		t.Errorf("pruned %+v, %v; want the name, the image and the layer of made:1", removed, err)
	}
	if images, err := s.List(); err != nil || len(images) != 1 || images[0].ID != img.ID {
		t.Errorf("left: %v, %v", images, err)
	}
}
