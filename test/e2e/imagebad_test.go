package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestImageBadInput: what a user gets wrong, or what is wrong on the way, is one sentence with the cause and the way out, and
// the store is afterwards what it was before.
func TestImageBadInput(t *testing.T) {
	cleanHost(t)
	plain, locked, secure := newRegistry(t, 5003, false, false), newRegistry(t, 5004, false, true), newRegistry(t, 5445, true, false)
	dir := t.TempDir()
	good := saved(t, "small:1", map[string]any{"Cmd": []string{"echo", "hi"}}, userland(t))
	to := "skopeo --insecure-policy copy -q --dest-tls-verify=false docker-archive:" + good
	sh(t, to+" docker://"+plain.address+"/small:1")
	sh(t, to+" --override-arch amd64 docker://"+plain.address+"/damaged:1")
	// An index that has only a strange architecture.
	sh(t, fmt.Sprintf(`set -e; cd %s; skopeo --insecure-policy copy -q docker-archive:%s oci:arm:x
jq '.manifests[0].platform={os:"linux",architecture:"s390x"} | .schemaVersion=2 | .mediaType="application/vnd.oci.image.index.v1+json"' arm/index.json > index.json
m=$(jq -r '.manifests[0].digest' index.json); t=$(jq -r '.manifests[0].mediaType' index.json)
skopeo --insecure-policy copy -q --dest-tls-verify=false oci:arm:x docker://%s/strange:x
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index.json http://%s/v2/strange/manifests/1
echo '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x-note","config":'"$(jq -c .config arm/blobs/sha256/${m#sha256:})"',"layers":[]}' > note.json
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @note.json http://%s/v2/strange/manifests/note`,
		dir, good, plain.address, plain.address, plain.address))
	// A blob that rots in the registry's store.
	sh(t, "rm -rf "+secure.dir+"/data; "+to+" docker://"+secure.address+"/rotten:1; cd "+secure.dir+"/data/docker/registry/v2/blobs && b=$(find . -name data -size +100k) && dd if=/dev/zero of=$b bs=1 seek=5000 count=100 conv=notrunc 2>/dev/null")
	archive := read(t, good)
	for name, content := range map[string]string{"truncated": archive[:len(archive)/2], "nothing": "", "text": strings.Repeat("this is no archive\n", 400),
		"packed": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 and so on"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, fmt.Sprintf("cd %s && tar -cf rootfs -C %s ca.crt", dir, secure.dir))
	before := stored(t)
	for _, c := range []struct {
		what, args string
		words      []string
	}{
		{"unknown name", "pull -q --insecure " + plain.address + "/absent:1", []string{"has nothing under this name and tag", "check the spelling"}},
		{"unknown tag", "pull -q --insecure " + plain.address + "/small:2", []string{"has nothing under this name and tag"}},
		{"unknown digest", "pull -q --insecure " + plain.address + "/small@sha256:" + strings.Repeat("12", 32), []string{"has nothing under this name"}},
		{"denied", "pull -q --insecure " + locked.address + "/small:1", []string{"denies access", "mydocker login " + locked.address}},
		{"push denied", "push -q --insecure " + locked.address + "/small:1", []string{"no image", "mydocker pull"}},
		{"wrong architecture", "pull -q --insecure " + plain.address + "/strange:1", []string{"not made for linux/", "offered for linux/s390x", "--platform"}},
		{"wrong platform", "pull -q --insecure --platform linux/mips " + plain.address + "/strange:1", []string{"not made for linux/mips", "offered for linux/s390x"}},
		{"no image", "pull -q --insecure " + plain.address + "/strange:note", []string{"not a container image"}},
		{"nobody listens", "pull -q 10.99.0.1:5999/small:1", []string{"nothing listens", "check its name and port"}},
		{"unknown certificate", "pull -q " + secure.address + "/rotten:1", []string{"cannot be trusted", "unknown authority", "certs.d"}},
		{"no TLS", "pull -q " + plain.address + "/small:1", []string{"does not speak TLS", "--insecure"}},
		{"digest mismatch", "pull -q --tls-verify=false " + secure.address + "/rotten:1", []string{"arrived damaged", "pull again"}},
		{"bad name", "run --rm Upper/Case true", []string{"Upper"}},
		{"truncated archive", "load -q -i " + dir + "/truncated", []string{"unexpected EOF", "save it again"}},
		{"empty archive", "load -q -i " + dir + "/nothing", []string{"neither manifest.json nor index.json"}},
		{"no archive", "load -q -i " + dir + "/text", []string{"no tar archive"}},
		{"packed rubbish", "load -q -i " + dir + "/packed", []string{"packed"}},
		{"archive of a root", "load -q -i " + dir + "/rootfs", []string{"mydocker import"}},
		{"no such file", "load -q -i " + dir + "/absent", []string{"no such file"}},
		{"import of nothing", "import " + dir + "/nothing x:1", []string{"the archive is empty"}},
	} {
		r := my(t, strings.Fields(c.args)...)
		if r.code != 1 && r.code != 125 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "mydocker: ") {
			t.Errorf("%s: status %d, output %q, %q; want 1 and one line", c.what, r.code, r.out, r.err)
		}
		for _, w := range c.words {
			if !strings.Contains(r.err, w) {
				t.Errorf("%s: %q does not say %q", c.what, r.err, w)
			}
		}
		if d := diff(before, stored(t)); d != "" {
			t.Fatalf("%s: the store has changed:\n%.2000s", c.what, d)
		}
	}
}

// stored is all that lies under the state directory, sorted.
func stored(t testing.TB) []string {
	t.Helper()
	names := tree(t, "/var/lib/mydocker", false)
	slices.Sort(names)
	return names
}

// TestPullOntoAFullDisk: the state directory is a small disk; what does not fit leaves nothing.
func TestPullOntoAFullDisk(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	sh(t, "mount -t tmpfs -o size=100m tmpfs /var/lib/mydocker")
	layout, r := debianImages(t), newRegistry(t, 5005, false, false)
	sh(t, "skopeo --insecure-policy copy -q --dest-tls-verify=false oci:"+layout+":debian docker://"+r.address+"/debian:1")
	must(t, "image", "bootstrap")
	before := stored(t)
	// run has no --insecure: it fails before, and leaves nothing either.
	for _, args := range [][]string{{"pull", "-q", "--insecure", r.address + "/debian:1"}, {"run", "--rm", "--pull", "always", r.address + "/debian:1", "true"}} {
		got := my(t, args...)
		if got.code == 0 || args[0] == "pull" && (!strings.Contains(got.err, "no space left on device") || !strings.Contains(got.err, "system prune")) {
			t.Errorf("%v: status %d, %s", args, got.code, got.err)
		}
		if d := diff(before, stored(t)); d != "" {
			t.Errorf("%v: the store has changed:\n%.2000s", args, d)
		}
	}
	equal(t, "what was there works", see(t, "busybox", "echo", "hi"), "hi")
}

// TestCopyAndTheContainersLife: cp reaches the volumes of a container that does not run, and holds off who would remove it.
func TestCopyAndTheContainersLife(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "create", "--name", "stopped", "-v", "copied-data:/data", "-v", dir+":/host:ro", "busybox", "cat", "/data/f")
	t.Cleanup(func() { my(t, "rm", "-f", "stopped"); my(t, "volume", "rm", "copied-data") })
	must(t, "cp", dir+"/f", "stopped:/data/f")
	equal(t, "in the volume", read(t, "/var/lib/mydocker/volumes/copied-data/_data/f"), "content")
	must(t, "cp", "stopped:/host/f", dir+"/back")
	equal(t, "out of a bind mount", read(t, dir+"/back"), "content")
	refused(t, 1, []string{"read-only"}, "cp", dir+"/back", "stopped:/host/f")
	equal(t, "when it runs", must(t, "start", "-a", "stopped"), "content")
	must(t, "cp", "stopped:/data/f", dir+"/again")
	equal(t, "after it ran", read(t, dir+"/again"), "content")
	equal(t, "mounts left on the host", sh(t, "findmnt -rn | grep -c mydocker/containers || :"), "0")

	// While an archive is on its way in, rm waits.
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cp := exec.Command(binary, "cp", "-", "stopped:/data")
	cp.Stdin = reader
	if err := cp.Start(); err != nil {
		t.Fatal(err)
	}
	reader.Close()
	eventually(t, func() string { // cp has the container's files open
		return sh(t, fmt.Sprintf("ls -l /proc/%d/fd 2>/dev/null | grep -q lock || echo not yet", cp.Process.Pid))
	})
	rm := exec.Command(binary, "rm", "stopped")
	if err := rm.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	must(t, "inspect", "stopped")
	writer.Close()
	cp.Wait() // an archive that ends before it began
	if err := rm.Wait(); err != nil {
		t.Errorf("rm after cp: %v", err)
	}
}

// TestUnplugged: a registry that takes the connection and says nothing, and one that hangs up.
func TestUnplugged(t *testing.T) {
	cleanHost(t)
	l, err := net.Listen("tcp", "10.99.0.1:5998")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	refused(t, 1, []string{"cannot be reached", "HTTPS_PROXY"}, "pull", "-q", "10.99.0.1:5998/x:1")
}

// TestCopiesAreSaidOnce: where overlayfs cannot be mounted, layers are copied, and whoever starts the container first says so.
func TestCopiesAreSaidOnce(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	sh(t, "cd $FAKE_HOST_SCRATCH && mkdir low up wo && mount -t overlay -o lowerdir=low,upperdir=up,workdir=wo overlay /var/lib/mydocker && mount --make-rshared /") // shared, as on most hosts
	must(t, "image", "bootstrap")
	told := func(what string, want int, args ...string) {
		t.Helper()
		r := my(t, args...)
		if n := strings.Count(r.err, "overlayfs cannot be mounted"); r.code != 0 || n != want {
			t.Errorf("%s: status %d, said %d times, want %d: %s", what, r.code, n, want, r.err)
		}
	}
	told("run -d", 1, "run", "-d", "--name", "detached", "busybox", "sleep", "1000")
	told("exec", 0, "exec", "detached", "true")
	equal(t, "mounts of the container's that came out", sh(t, "grep -c /copied /proc/self/mountinfo || true"), "0")
	told("stop", 0, "stop", "-t", "0", "detached")
	told("start again", 0, "start", "detached")
	told("run", 1, "run", "--rm", "busybox", "true")
	told("create", 0, "create", "--name", "created", "busybox", "true")
	told("start", 1, "start", "created")
	equal(t, "info", must(t, "info", "--format", "{{.Driver}}"), "vfs")
	match(t, "system df", must(t, "system", "df"), `(?m)^Images +1 +1 +\d\.\d+MB .*\nContainers +2 +1 +[1-9]`)
	must(t, "rm", "-f", "detached", "created")
}
