package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

func newStore(t testing.TB) (*image.Store, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests unpack layers: run them as root")
	}
	dir := t.TempDir()
	s, err := image.Open(state.Root{Lib: dir + "/lib", Run: dir + "/run", NetNS: dir + "/netns"}, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	dir := t.TempDir()
	if o.ConfigFile == "" {
		o.ConfigFile = dir + "/none"
	}
	if o.CertsDir == "" {
		o.CertsDir = dir
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve starts Debian's docker-registry on a free port of the loopback, and stops it at the end of the test.
func serve(t testing.TB, more string) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}}\nhttp:\n  addr: %s\n%s\n", dir, address, more)
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("docker-registry", "serve", dir+"/config.yml")
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for range 6000 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return address
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the registry does not come up:\n%s", output.String())
	return ""
}

func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(1700000000, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func importFiles(t testing.TB, s *image.Store, name string, files map[string]string) *image.Image {
	t.Helper()
	img, err := s.Import(context.Background(), bytes.NewReader(tarOf(t, files)), image.ImportOptions{Reference: name, Changes: []string{"CMD [\"x\"]"}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func noise(t testing.TB, size int) string {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func content(t testing.TB, s *image.Store, dir string, img *image.Image, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "lib", "layers", img.Layers[len(img.Layers)-1].Encoded(), "fs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPushAndPull(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	img := importFiles(t, from, host+"/lab/app:1", map[string]string{"hello": "world"})
	digest, err := newClient(t, Options{}).Push(context.Background(), from, host+"/lab/app:1", PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := from.Inspect(host + "/lab/app:1"); err != nil || got.ID != img.ID || len(got.RepoDigests) != 1 || got.RepoDigests[0] != host+"/lab/app@"+digest.String() {
		t.Errorf("after the push: %+v, %v", got, err)
	}
	if out := command(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+host+"/lab/app:1"); !strings.Contains(out, digest.String()) {
		t.Errorf("skopeo sees another digest than %s:\n%s", digest, out)
	}
	to, dir := newStore(t)
	var events sync.Map
	pulled, err := newClient(t, Options{}).Pull(context.Background(), to, host+"/lab/app:1", PullOptions{Progress: func(e image.Event) { events.Store(e.Status, true) }})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.ID != img.ID || pulled.Digest != digest || !pulled.Fresh || content(t, to, dir, pulled.Image, "hello") != "world" {
		t.Errorf("pulled %+v", pulled)
	}
	for _, status := range []string{"Pulling fs layer", "Downloading", "Download complete", "Pull complete"} {
		if _, ok := events.Load(status); !ok {
			t.Errorf("nobody was told %q", status)
		}
	}
	again, err := newClient(t, Options{}).Pull(context.Background(), to, host+"/lab/app@"+digest.String(), PullOptions{})
	if err != nil || again.ID != img.ID {
		t.Errorf("by digest: %+v, %v", again, err)
	}
	if again, err = newClient(t, Options{}).Pull(context.Background(), to, host+"/lab/app:1", PullOptions{}); err != nil || again.Fresh {
		t.Errorf("the second pull is fresh: %+v, %v", again, err)
	}
}

// TestWhatSkopeoPushes: indexes of several platforms, Docker's media types and zstd layers come from another hand.
func TestWhatSkopeoPushes(t *testing.T) {
	host := serve(t, "")
	from, dir := newStore(t)
	img := importFiles(t, from, "x:1", map[string]string{"hello": noise(t, 300_000)})
	layout := "oci:" + dir + "/lib/images:docker.io/library/x:1"
	for _, args := range [][]string{
		{"--format", "v2s2"},
		{"--format", "oci"},
		{"--format", "v2s2", "--dest-compress"},
		{"--format", "oci", "--dest-compress-format", "zstd"}, // last: skopeo remembers what the registry has, and reuses it
	} {
		name := strings.Join(args, " ")
		target := host + "/x" + strings.ReplaceAll(name, " ", "") + ":1"
		command(t, "skopeo", append(append([]string{"copy", "--insecure-policy", "--dest-tls-verify=false"}, args...), layout, "docker://"+target)...)
		to, _ := newStore(t)
		pulled, err := newClient(t, Options{}).Pull(context.Background(), to, target, PullOptions{})
		if err != nil {
			t.Fatal(name, err)
		}
		if pulled.Layers[0] != img.Layers[0] {
			t.Errorf("%s: the layer is %s, want %s", name, pulled.Layers[0], img.Layers[0])
		}
		saveAndInspect(t, to, target, pulled)
	}
}

// saveAndInspect saves a pulled image in both formats; skopeo must find the same layers in it, and we the same image.
func saveAndInspect(t *testing.T, s *image.Store, ref string, img *image.Fetched) {
	t.Helper()
	for _, format := range []string{image.FormatDocker, image.FormatOCI} {
		path := t.TempDir() + "/saved.tar"
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Save(context.Background(), []string{ref}, f, format), f.Close()); err != nil {
			t.Fatal(err)
		}
		if out := command(t, "skopeo", "inspect", "--config", format+":"+path); !strings.Contains(out, img.Layers[0].String()) {
			t.Errorf("%s: skopeo sees\n%s", format, out)
		}
		to, _ := newStore(t)
		if images, err := to.Load(context.Background(), path, ""); err != nil || images[0].ID != img.ID || images[0].Manifest != img.Manifest && format == image.FormatOCI {
			t.Errorf("%s: loaded %+v, %v", format, images, err)
		}
	}
}

func TestPlatforms(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	client := newClient(t, Options{})
	var entries []string
	for _, platform := range []string{"linux/amd64", "linux/arm64/v8", "linux/s390x"} {
		name := host + "/multi:" + strings.ReplaceAll(platform, "/", "-")
		_, err := from.Import(context.Background(), bytes.NewReader(tarOf(t, map[string]string{"p": platform})), image.ImportOptions{Reference: name, Platform: platform})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := client.Push(context.Background(), from, name, PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		parts := append(strings.Split(platform, "/"), "")
		manifest, err := client.Manifest(context.Background(), mustParse(t, name))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d,"platform":{"os":%q,"architecture":%q,"variant":%q}}`, digest, len(manifest), parts[0], parts[1], parts[2]))
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(entries, ",") + `]}`
	request, err := http.NewRequest(http.MethodPut, "http://"+host+"/v2/multi/manifests/all", strings.NewReader(index))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != http.StatusCreated {
		t.Fatal(response, err)
	}
	response.Body.Close()
	for _, platform := range []string{"linux/amd64", "linux/arm64", "linux/s390x", "amd64"} {
		to, dir := newStore(t)
		pulled, err := client.Pull(context.Background(), to, host+"/multi:all", PullOptions{Platform: platform})
		if err != nil {
			t.Fatal(platform, err)
		}
		if got := content(t, to, dir, pulled.Image, "p"); !strings.Contains(got, platform) {
			t.Errorf("%s: got the image of %s", platform, got)
		}
	}
	to, _ := newStore(t)
	if _, err := client.Pull(context.Background(), to, host+"/multi:all", PullOptions{Platform: "linux/riscv64"}); err == nil || !strings.Contains(err.Error(), "not made for linux/riscv64") || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("error %v, want one that names what is offered", err)
	}
}

func mustParse(t testing.TB, s string) image.Reference {
	t.Helper()
	ref, err := image.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
