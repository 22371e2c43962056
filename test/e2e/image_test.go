package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/go-units"
)

// entry is one member of a layer's tar.
type entry struct {
	name, body, link string
	kind             byte // tar.TypeReg when 0
	mode             int64
}

// layer packs a tar.
func layer(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.body))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// saved writes an archive as `docker save` does, with the given image config and layers, and returns its path.
func saved(t testing.TB, tag string, config map[string]any, layers ...[]byte) string {
	t.Helper()
	var ids, names []string
	var members []entry
	for i, l := range layers {
		sum := sha256.Sum256(l)
		ids = append(ids, "sha256:"+hex.EncodeToString(sum[:]))
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
		members = append(members, entry{name: names[i], body: string(l)})
	}
	image, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(image)
	file := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": file, "RepoTags": []string{tag}, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	members = append(members, entry{name: file, body: string(image)}, entry{name: "manifest.json", body: string(manifest)})
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, layer(t, members...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// userland is a layer with a static busybox and a user database.
func userland(t testing.TB) []byte {
	t.Helper()
	busybox := read(t, sh(t, "command -v busybox"))
	entries := []entry{
		{name: "bin/", kind: tar.TypeDir}, {name: "etc/", kind: tar.TypeDir}, {name: "home/", kind: tar.TypeDir}, {name: "tmp/", kind: tar.TypeDir, mode: 0o1777},
		{name: "bin/busybox", body: busybox},
		{name: "etc/passwd", body: "root:x:0:0:root:/root:/bin/sh\nada:x:1234:100:Ada:/home/ada:/bin/sh\n", mode: 0o644},
		{name: "etc/group", body: "root:x:0:\nusers:x:100:\ncrew:x:500:ada\n", mode: 0o644},
	}
	for _, name := range []string{"sh", "echo", "cat", "id", "pwd", "env", "ls", "sleep", "httpd", "mkdir", "test", "kill", "grep", "hostname"} {
		entries = append(entries, entry{name: "bin/" + name, kind: tar.TypeSymlink, link: "busybox"})
	}
	return layer(t, entries...)
}

// loaded loads an image and removes it at the end of the test.
func loaded(t testing.TB, tag string, config map[string]any, layers ...[]byte) {
	t.Helper()
	out := must(t, "load", "-i", saved(t, tag, config, layers...))
	equal(t, "load", out, "Loaded image: "+tag)
	t.Cleanup(func() { must(t, "rmi", tag) })
}

// What the image says is honoured, and what the command line says beats it.
func TestImageConfig(t *testing.T) {
	cleanHost(t)
	loaded(t, "configured:1", map[string]any{
		"Env": []string{"FROM=image", "PATH=/bin", "TWICE=image"}, "Entrypoint": []string{"sh", "-c", `echo "$0 $*|$FROM|$TWICE|$(pwd)|$(id -u):$(id -g)|$HOME"`},
		"Cmd": []string{"default", "command"}, "WorkingDir": "/srv/app", "User": "ada", "ExposedPorts": map[string]any{"8000/tcp": struct{}{}},
		"Volumes": map[string]any{"/data": struct{}{}}, "StopSignal": "SIGUSR2", "Labels": map[string]string{"from": "image"},
	}, userland(t))
	equal(t, "as the image says", see(t, "configured:1"), "default command|image|image|/srv/app|1234:100|/home/ada")
	equal(t, "as the command line says", see(t, "-e", "TWICE=flag", "-w", "/tmp", "-u", "0:500", "configured:1", "other"), "other |image|flag|/tmp|0:500|/root")
	match(t, "user and group by name", see(t, "-u", "ada:crew", "--entrypoint", "id", "configured:1"), `^uid=1234\(ada\) gid=500\(crew\)`)
	equal(t, "groups of a user", see(t, "--entrypoint", "id", "configured:1", "-G"), "100 500")
	equal(t, "entrypoint from the flag drops the image's command", see(t, "--entrypoint", "echo", "configured:1"), "")

	c := start(t, "configured", "-P", "--entrypoint", "sleep", "configured:1", "3600")
	equal(t, "stop signal", c.inspect("{{.Config.StopSignal}}"), "SIGUSR2")
	equal(t, "label", c.inspect(`{{index .Config.Labels "from"}}`), "image")
	match(t, "exposed port is published by -P", must(t, "port", c.name), `^8000/tcp -> 0\.0\.0\.0:\d+`)
	equal(t, "volume", c.inspect("{{(index .Mounts 0).Destination}} {{(index .Mounts 0).Type}}"), "/data volume")
	refused(t, 1, []string{"configured:1", "configured"}, "rmi", "configured:1")
}

// Whiteouts, opaque directories, hard links, ownership: what a layer says about the ones below.
func TestImageLayers(t *testing.T) {
	cleanHost(t)
	loaded(t, "layered:latest", nil, userland(t),
		layer(t, entry{name: "a/", kind: tar.TypeDir}, entry{name: "a/one", body: "1"}, entry{name: "a/two", body: "2"}, entry{name: "b/", kind: tar.TypeDir}, entry{name: "b/old", body: "x"}, entry{name: "gone", body: "x"}),
		layer(t, entry{name: ".wh.gone"}, entry{name: "a/.wh.one"}, entry{name: "b/", kind: tar.TypeDir}, entry{name: "b/.wh..wh..opq"}, entry{name: "b/new", body: "y"}, entry{name: "a/three", body: "3"}, entry{name: "a/hard", kind: tar.TypeLink, link: "a/three"}))
	equal(t, "files", see(t, "layered", "sh", "-c", "ls /a /b; test -e /gone || echo gone is gone; cat /a/hard"), "/a:\nhard\nthree\ntwo\n\n/b:\nnew\ngone is gone\n3")
}

// Archives are hostile: nothing is written outside the layer.
func TestHostileArchives(t *testing.T) {
	cleanHost(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for name, entries := range map[string][]entry{
		"dots":             {{name: "../../../../../../../.." + outside, body: "x"}},
		"absolute":         {{name: outside, body: "x"}},
		"through symlink":  {{name: "d", kind: tar.TypeSymlink, link: filepath.Dir(outside)}, {name: "d/outside", body: "x"}},
		"through symlinks": {{name: "d", kind: tar.TypeSymlink, link: "e/.."}, {name: "e", kind: tar.TypeSymlink, link: filepath.Dir(outside)}, {name: "e/outside", body: "x"}},
		"hard link":        {{name: "passwd", kind: tar.TypeLink, link: "../../../../../../../../etc/passwd"}, {name: "passwd", body: "owned"}},
		"symlinked passwd": {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l", body: "x"}},
		"whiteout of dots": {{name: ".wh..."}, {name: "x/.wh..", body: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			passwd := read(t, "/etc/passwd")
			r := my(t, "load", "-i", saved(t, "hostile:1", nil, layer(t, entries...)))
			if _, err := os.Lstat(outside); err == nil {
				t.Errorf("load wrote %s", outside)
				os.Remove(outside)
			}
			equal(t, "/etc/passwd", read(t, "/etc/passwd"), passwd)
			if r.code == 0 {
				my(t, "run", "--rm", "hostile:1", "x")
				must(t, "rmi", "hostile:1")
			}
		})
	}
}

// images, tag, inspect, rmi.
func TestImageCommands(t *testing.T) {
	cleanHost(t)
	match(t, "images", must(t, "images"), `(?m)^REPOSITORY\s+TAG\s+IMAGE ID\s+CREATED\s+SIZE\nbusybox\s+latest\s+[0-9a-f]{12}\s+.*\s\d+(\.\d+)?[kM]B$`)
	id := must(t, "images", "-q", "--no-trunc", "busybox")
	match(t, "id", id, "^sha256:[0-9a-f]{64}$")
	must(t, "tag", "busybox", "registry.example:5000/team/box:v1")
	equal(t, "run by the new name", see(t, "registry.example:5000/team/box:v1", "echo", "hi"), "hi")
	equal(t, "run by id", see(t, strings.TrimPrefix(id, "sha256:")[:10], "echo", "hi"), "hi")
	equal(t, "images -q is one image", len(strings.Fields(must(t, "images", "-q"))), 2)
	equal(t, "inspect", must(t, "image", "inspect", "-f", "{{.Id}} {{len .RepoTags}} {{.Os}}", "busybox"), id+" 2 linux")
	equal(t, "rmi of one name", must(t, "rmi", "registry.example:5000/team/box:v1"), "Untagged: registry.example:5000/team/box:v1")
	equal(t, "the other name is there", see(t, "busybox", "echo", "hi"), "hi")
	c := start(t, "in-use", "busybox", "true")
	must(t, "wait", c.name)
	refused(t, 1, []string{"busybox", "in-use"}, "rmi", "busybox")
	sum := sh(t, "cd /var/lib/mydocker; find layers/*/fs $(jq -r '\"images/blobs/sha256/\" + .blobs[][7:]' images/ids/*.json | sort -u) -type f -printf '%i %s\n' | sort -u | awk '{s += $2} END {print s}'")
	size, err := strconv.ParseFloat(sum, 64)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "df counts layers and archives", strings.Fields(must(t, "system", "df", "--format", "{{.Type}} {{.Size}}"))[1], units.HumanSize(size))
	refused(t, 1, []string{"nothing-there"}, "rmi", "nothing-there")
	refused(t, 1, []string{"nothing-there"}, "tag", "nothing-there", "x")
	refused(t, 1, []string{"Upper"}, "tag", "busybox", "Upper")
}

// A root file system from a tar, whatever its compression; archives made by other programs.
func TestImportAndLoad(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rootfs.tar"), userland(t), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, packer := range []string{"cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -qc"} {
		if packer == "bzip2 -c" && sh(t, "command -v bzip2 || :") == "" {
			continue // bzip2 is in no image of today
		}
		sh(t, fmt.Sprintf("%s < %s/rootfs.tar > %s/packed", packer, dir, dir))
		match(t, "import prints", must(t, "import", dir+"/packed", "imported:1"), "^sha256:[0-9a-f]{64}$")
		equal(t, "run of a root packed by "+packer, see(t, "imported:1", "/bin/echo", "hi"), "hi")
	}
	r := myWith(t, bytes.NewReader(userland(t)), nil, "import", "-c", `CMD ["echo", "from", "config"]`, "-c", "ENV A=1", "-", "imported:2")
	equal(t, "import from standard input: "+r.err, r.code, 0)
	equal(t, "run with imported config", see(t, "imported:2"), "from config")

	// What we import, skopeo copies to all other forms, and we load them. skopeo needs an archive to begin with.
	archive := saved(t, "copied:1", map[string]any{"Cmd": []string{"echo", "copied"}, "Env": []string{"PATH=/bin"}}, userland(t))
	for form, file := range map[string]string{"docker-archive:%s/d.tar:copied:1": "d.tar", "oci-archive:%s/o.tar:copied:1": "o.tar", "oci:%s/layout:copied:1": "layout"} {
		sh(t, "skopeo --insecure-policy copy -q docker-archive:"+archive+" "+fmt.Sprintf(form, dir))
		match(t, "load of "+form, must(t, "load", "-i", filepath.Join(dir, file)), `Loaded image`)
		equal(t, "run of "+form, see(t, "copied:1"), "copied")
		must(t, "rmi", "copied:1")
	}
	must(t, "rmi", "imported:1", "imported:2")
	for _, dangling := range strings.Fields(must(t, "images", "-q", "--filter", "dangling=true")) {
		my(t, "rmi", dangling)
	}
}

// The bundle that run writes is an OCI bundle: runc runs it too.
func TestBundleRunsUnderRunc(t *testing.T) {
	cleanHost(t)
	c := start(t, "bundle", "--network", "none", "--hostname", "box", "-e", "A=1", "-m", "64m", "busybox", "sh", "-c", "echo $A $(hostname) $(id -u) $$")
	must(t, "wait", c.name)
	equal(t, "under mydocker", must(t, "logs", c.name), "1 box 0 1")

	record := "/var/lib/mydocker/containers/" + c.id
	bundle := t.TempDir()
	spec := fromJSON[map[string]any](t, read(t, record+"/config.json"))
	match(t, "ociVersion", fmt.Sprint(spec["ociVersion"]), `^1\.\d+\.\d+`)
	// The pinned namespace went when the container ended, and the overlay is mounted by run itself: for runc the root is
	// the unpacked image and the network namespace a new one. All else is as it was written.
	linux := spec["linux"].(map[string]any)
	for _, n := range linux["namespaces"].([]any) {
		if n := n.(map[string]any); n["type"] == "network" {
			delete(n, "path")
		}
	}
	linux["cgroupsPath"] = "/mydocker-e2e-runc"
	root := filepath.Join(bundle, "rootfs")
	unpack(t, root)
	spec["root"] = map[string]any{"path": root}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bundle, "config.json"), string(text))
	// This host shows its unified hierarchy without controllers, which runc 1.1 does not need.
	equal(t, "under runc", sh(t, "cd "+bundle+" && runc --root /run/runc-e2e run mydocker-e2e-runc </dev/null"), "1 box 0 1")
	sh(t, "rm -rf /run/runc-e2e")
}

// unpack makes a root file system of the host's busybox without mydocker's help.
func unpack(t testing.TB, root string) {
	t.Helper()
	tarball := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(tarball, userland(t), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, fmt.Sprintf("mkdir -p %s && tar -C %s -xf %s && mkdir -p %s/{proc,sys,dev,root}", root, root, tarball, root))
}
