package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	for range 200 {
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
		if images, err := to.Load(context.Background(), path); err != nil || images[0].ID != img.ID || images[0].Manifest != img.Manifest && format == image.FormatOCI {
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

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(dir+"/htpasswd", []byte(command(t, "htpasswd", "-Bbn", "student", "secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	host := serve(t, "auth: {htpasswd: {realm: lab, path: "+dir+"/htpasswd}}")
	s, _ := newStore(t)
	importFiles(t, s, host+"/app:1", map[string]string{"a": "a"})
	ctx := context.Background()
	if _, err := newClient(t, Options{}).Push(ctx, s, host+"/app:1", PushOptions{}); err == nil || !strings.Contains(err.Error(), "mydocker login "+host) {
		t.Errorf("error %v, want one that tells to log in", err)
	}
	if _, err := newClient(t, Options{}).Login(ctx, host, "student", "wrong"); err == nil || !strings.Contains(err.Error(), "does not take") {
		t.Errorf("a wrong password: %v", err)
	}
	where, err := newClient(t, Options{}).Login(ctx, host, "student", "secret")
	if err != nil || where != dir+"/config.json" {
		t.Fatal(where, err)
	}
	if _, err := newClient(t, Options{}).Push(ctx, s, host+"/app:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	to, _ := newStore(t)
	if _, err := newClient(t, Options{}).Pull(ctx, to, host+"/app:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if was, err := Logout(host); !was || err != nil {
		t.Error(was, err)
	}
	if was, err := Logout(host); was || err != nil {
		t.Error("logged out twice", was, err)
	}
	if _, err := newClient(t, Options{}).Pull(ctx, to, host+"/app:1", PullOptions{}); err == nil || !strings.Contains(err.Error(), "denies access") {
		t.Errorf("after logout: %v", err)
	}
}

// TestCredentialHelper: a program named docker-credential-… keeps the passwords.
func TestCredentialHelper(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	helper := "#!/bin/sh\ncase $1 in store) cat > " + dir + "/kept;; get) test -e " + dir + "/kept && cat " + dir + "/kept || { echo 'credentials not found in native keychain'; exit 1; };; erase) rm " + dir + "/kept;; esac\n"
	if err := errors.Join(os.WriteFile(dir+"/docker-credential-lab", []byte(helper), 0o700), os.WriteFile(dir+"/config.json", []byte(`{"credsStore":"lab"}`), 0o600),
		os.WriteFile(dir+"/htpasswd", []byte(command(t, "htpasswd", "-Bbn", "student", "secret")), 0o600)); err != nil {
		t.Fatal(err)
	}
	host := serve(t, "auth: {htpasswd: {realm: lab, path: "+dir+"/htpasswd}}")
	s, _ := newStore(t)
	importFiles(t, s, host+"/app:1", map[string]string{"a": "a"})
	if _, err := newClient(t, Options{}).Login(context.Background(), host, "student", "secret"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(dir + "/config.json"); err != nil || strings.Contains(string(data), "c3R1ZGVudDpzZWNyZXQ") {
		t.Errorf("the password is in the file: %s %v", data, err)
	}
	if _, err := newClient(t, Options{}).Push(context.Background(), s, host+"/app:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	command(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", dir+"/key.pem", "-out", dir+"/cert.pem")
	host := serve(t, "  tls: {certificate: "+dir+"/cert.pem, key: "+dir+"/key.pem}")
	s, _ := newStore(t)
	importFiles(t, s, host+"/app:1", map[string]string{"a": "a"})
	ctx := context.Background()
	if _, err := newClient(t, Options{}).Push(ctx, s, host+"/app:1", PushOptions{}); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	if _, err := newClient(t, Options{SkipTLSVerify: true}).Push(ctx, s, host+"/app:1", PushOptions{}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.MkdirAll(dir+"/certs.d/"+host, 0o700), os.Rename(dir+"/cert.pem", dir+"/certs.d/"+host+"/ca.crt")); err != nil {
		t.Fatal(err)
	}
	to, _ := newStore(t)
	if _, err := newClient(t, Options{CertsDir: dir + "/certs.d"}).Pull(ctx, to, host+"/app:1", PullOptions{}); err != nil {
		t.Error(err)
	}
}

func TestBadNames(t *testing.T) {
	host := serve(t, "")
	s, _ := newStore(t)
	ctx := context.Background()
	for ref, want := range map[string]string{
		host + "/nothing:1":          "has nothing under this name",
		"127.0.0.1:1/x:1":            "nothing listens",
		"registry.invalid/x:1":       "cannot be resolved",
		"UPPER/x y":                  "invalid image name",
		host + "/x@sha256:" + "0":    "hex digits",
		"10.255.255.1:5000/secret:1": "",
	} {
		if want == "" {
			continue
		}
		_, err := newClient(t, Options{}).Pull(ctx, s, ref, PullOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", ref, err, want)
		}
		if ref == host+"/nothing:1" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v is not fs.ErrNotExist", ref, err)
		}
	}
}

// TestPlainHTTPIsGuarded: a private address is no excuse for speaking without TLS.
func TestPlainHTTPIsGuarded(t *testing.T) {
	for host, want := range map[string]bool{"127.0.0.1:5000": true, "localhost:5000": true, "[::1]:5000": true, "10.0.0.5:5000": false, "192.168.1.1": false, "example.com": false, "lab.test:5000": true, "172.16.9.9:1": true} {
		c := newClient(t, Options{})
		c.config.Insecure = []string{"lab.test:5000", "172.16.0.0/16"}
		if got := c.insecure(host); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
		request, err := http.NewRequest(http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		guard := &plainGuard{allowed: c.insecure(host), inner: roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.EOF })}
		if _, err := guard.RoundTrip(request); errors.Is(err, errPlain) == want {
			t.Errorf("%s: the guard says %v", host, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMirror(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	img := importFiles(t, from, host+"/library/tool:1", map[string]string{"a": "a"})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/library/tool:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	config := t.TempDir() + "/registries.json"
	if err := os.WriteFile(config, []byte(`{"registry-mirrors":["http://127.0.0.1:1","http://`+host+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	to, _ := newStore(t)
	pulled, err := newClient(t, Options{ConfigFile: config}).Pull(context.Background(), to, "tool:1", PullOptions{})
	if err != nil || pulled.ID != img.ID {
		t.Fatal(pulled, err)
	}
	if _, err := to.Get("docker.io/library/tool:1"); err != nil {
		t.Error(err)
	}
}

// TestMirrorWithoutLayers: a mirror that has the manifest only, or whose layers break off for good, is made up for by the next.
func TestMirrorWithoutLayers(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	img := importFiles(t, from, host+"/library/tool:1", map[string]string{"a": noise(t, 1<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/library/tool:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	poor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
	}))
	t.Cleanup(poor.Close)
	config := t.TempDir() + "/registries.json"
	if err := os.WriteFile(config, []byte(`{"registry-mirrors":["`+poor.URL+`","http://`+host+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	to, _ := newStore(t)
	if pulled, err := newClient(t, Options{ConfigFile: config}).Pull(context.Background(), to, "tool:1", PullOptions{}); err != nil || pulled.ID != img.ID {
		t.Error(pulled, err)
	}
}

// TestOwnCertificate: a registry that wants to see a certificate of ours.
func TestOwnCertificate(t *testing.T) {
	dir := t.TempDir()
	command(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", dir+"/key.pem", "-out", dir+"/cert.pem")
	host := serve(t, "  tls: {certificate: "+dir+"/cert.pem, key: "+dir+"/key.pem, clientcas: ["+dir+"/cert.pem]}")
	certs := dir + "/certs.d/" + host
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "cp", dir+"/cert.pem", certs+"/ca.crt")
	s, _ := newStore(t)
	importFiles(t, s, host+"/app:1", map[string]string{"a": "a"})
	push := func() error {
		_, err := newClient(t, Options{CertsDir: dir + "/certs.d"}).Push(context.Background(), s, host+"/app:1", PushOptions{})
		return err
	}
	if err := push(); err == nil || !strings.Contains(err.Error(), "wants a certificate of yours") {
		t.Errorf("without a certificate: %v", err)
	}
	command(t, "cp", dir+"/cert.pem", certs+"/client.cert")
	if err := push(); err == nil || !strings.Contains(err.Error(), "client.key") {
		t.Errorf("without its key: %v", err)
	}
	command(t, "cp", dir+"/key.pem", certs+"/client.key")
	if err := push(); err != nil {
		t.Error(err)
	}
}

// flaky stands before a registry and breaks blob answers off after some bytes.
func flaky(t *testing.T, host string, after int, times int32) (address string, ranges *atomic.Int32) {
	t.Helper()
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	ranges = &atomic.Int32{}
	var broken atomic.Int32
	proxy := httputil.NewSingleHostReverseProxy(target)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			if r.Header.Get("Range") != "" {
				ranges.Add(1)
			}
			if broken.Add(1) <= times {
				w = &breaking{ResponseWriter: w, left: after}
			}
		}
		proxy.ServeHTTP(w, r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: nil}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), ranges
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		if f, ok := b.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

func TestBrokenDownloadGoesOn(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	img := importFiles(t, from, host+"/big:1", map[string]string{"f": noise(t, 3<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/big:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	address, ranges := flaky(t, host, 1<<20, 3)
	to, _ := newStore(t)
	pulled, err := newClient(t, Options{}).Pull(context.Background(), to, address+"/big:1", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.ID != img.ID || ranges.Load() == 0 {
		t.Errorf("pulled %s with %d range requests", pulled.ID, ranges.Load())
	}
}

func TestInterruptedPullGoesOnLater(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	importFiles(t, from, host+"/big:1", map[string]string{"f": noise(t, 3<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/big:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	address, ranges := flaky(t, host, 1<<20, 1<<30)
	to, dir := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	interrupt := func(e image.Event) {
		if e.Status == "Retrying" {
			cancel()
		}
	}
	if _, err := newClient(t, Options{}).Pull(ctx, to, address+"/big:1", PullOptions{Progress: interrupt}); err == nil {
		t.Fatal("a pull over a line that always breaks came to an end")
	}
	parts, err := filepath.Glob(dir + "/lib/images/ingest/*.part")
	if err != nil || len(parts) != 1 {
		t.Fatalf("parts %v, %v", parts, err)
	}
	if layers, err := os.ReadDir(dir + "/lib/layers"); err != nil || len(layers) != 0 {
		t.Errorf("half a layer is left: %v %v", layers, err)
	}
	if images, err := to.List(); err != nil || len(images) != 0 {
		t.Errorf("half an image is left: %v %v", images, err)
	}
	before := ranges.Load()
	address, ranges = flaky(t, host, 0, 0)
	if _, err := newClient(t, Options{}).Pull(context.Background(), to, address+"/big:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if ranges.Load() != 1 {
		t.Errorf("%d range requests after %d: the second pull did not go on where the first stood", ranges.Load(), before)
	}
}

func TestConcurrentPullsShareTheWork(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	importFiles(t, from, host+"/big:1", map[string]string{"f": noise(t, 2<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/big:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	to, _ := newStore(t)
	var downloads atomic.Int32
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			_, err := newClient(t, Options{}).Pull(context.Background(), to, host+"/big:1", PullOptions{Progress: func(e image.Event) {
				if e.Status == "Download complete" {
					downloads.Add(1)
				}
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if downloads.Load() != 1 {
		t.Errorf("the layer was downloaded %d times", downloads.Load())
	}
}

// TestLyingRegistry: content that is not what its name promises is refused, and nothing of it stays.
func TestLyingRegistry(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	importFiles(t, from, host+"/app:1", map[string]string{"f": noise(t, 1<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/app:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > 100_000 {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(data))
		}
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: proxy}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	to, dir := newStore(t)
	if _, err := newClient(t, Options{}).Pull(context.Background(), to, l.Addr().String()+"/app:1", PullOptions{}); err == nil {
		t.Error("a layer with a flipped bit was taken")
	}
	left, err := filepath.Glob(dir + "/lib/l*/*")
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if images, err := to.List(); err != nil || len(images) != 0 {
		t.Errorf("an image is left: %v %v", images, err)
	}
}

// TestKilledPullers: several processes pull the same image and are killed at any moment; at the end one comes through,
// and nothing but the image is left.
func TestKilledPullers(t *testing.T) {
	if job := os.Getenv("TEST_PULL"); job != "" {
		dir, ref, _ := strings.Cut(job, " ")
		s, err := image.Open(state.Root{Lib: dir + "/lib", Run: dir + "/run"}, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newClient(t, Options{}).Pull(context.Background(), s, ref, PullOptions{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	host := serve(t, "")
	from, _ := newStore(t)
	ref := host + "/big:1"
	img := importFiles(t, from, ref, map[string]string{"f": noise(t, 4<<20), "g": strings.Repeat("g", 4<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, ref, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	to, dir := newStore(t)
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestKilledPullers$")
		c.Env = append(os.Environ(), "TEST_PULL="+dir+" "+ref, "TMPDIR="+dir) // what a killed process leaves there goes with the test
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i := range 12 {
		pair := []*exec.Cmd{start(), start()}
		time.Sleep(time.Duration(10+8*i) * time.Millisecond)
		for _, c := range pair {
			if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			c.Wait()
		}
		images, err := to.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, left := range images {
			if left.ID != img.ID || content(t, to, dir, left, "g") != strings.Repeat("g", 4<<20) {
				t.Fatalf("after kill %d: half an image: %+v", i, left)
			}
			if _, err := to.Remove(string(left.ID), image.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := []*exec.Cmd{start(), start(), start()}
	for _, c := range last {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if _, err := to.Collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	layers, err := os.ReadDir(dir + "/lib/layers")
	if err != nil || len(layers) != 1 {
		t.Errorf("layers left: %v, %v", layers, err)
	}
	if parts, err := filepath.Glob(dir + "/lib/images/ingest/*"); err != nil || len(parts) != 0 {
		t.Errorf("left in ingest: %v, %v", parts, err)
	}
	if got, err := to.Get(ref); err != nil || got.ID != img.ID {
		t.Error(got, err)
	}
}

// slow stands before a registry, counts the bytes of blobs that pass, and holds the second half of each large one back.
type slow struct {
	address string
	passed  atomic.Int64
	open    atomic.Bool
}

func newSlow(t *testing.T, host string) *slow {
	t.Helper()
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	s := &slow{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			w = &slowWriter{ResponseWriter: w, slow: s, request: r}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.address = strings.TrimPrefix(server.URL, "http://")
	return s
}

type slowWriter struct {
	http.ResponseWriter
	slow    *slow
	request *http.Request
	sent    int
}

func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *slowWriter) Write(p []byte) (int, error) {
	for w.sent > 4<<20 && !w.slow.open.Load() {
		select {
		case <-w.request.Context().Done():
			return 0, w.request.Context().Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += n
	w.slow.passed.Add(int64(n))
	return n, err
}

// TestNextPullGoesOn: of a pull that was called off, neither whole layers nor the beginning of another is fetched again.
func TestNextPullGoesOn(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	base := importFiles(t, from, host+"/two:1", map[string]string{"a": noise(t, 2<<20)})
	layer, err := from.Commit(context.Background(), image.CommitOptions{Base: base, Reference: host + "/two:1", Rootfs: image.Rootfs{Upper: directory(t, "b", noise(t, 8<<20))}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/two:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	line := newSlow(t, host)
	to, dir := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	var done, far atomic.Bool
	stop := func(e image.Event) {
		done.CompareAndSwap(false, e.Status == "Pull complete")
		far.CompareAndSwap(false, e.Current >= 3<<20)
		if done.Load() && far.Load() {
			cancel()
		}
	}
	if _, err := newClient(t, Options{}).Pull(ctx, to, line.address+"/two:1", PullOptions{Progress: stop}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, d := range []string{"/lib/layers", "/lib/images/blobs/sha256", "/lib/images/names", "/lib/images/ids"} {
		if left, err := os.ReadDir(dir + d); err != nil || len(left) != 0 {
			t.Errorf("%s has %v, %v", d, left, err)
		}
	}
	if parts, err := filepath.Glob(dir + "/lib/images/ingest/*.part"); err != nil || len(parts) != 2 {
		t.Errorf("kept for the next pull: %v, %v; want two", parts, err)
	}
	first := line.passed.Swap(0)
	line.open.Store(true)
	pulled, err := newClient(t, Options{}).Pull(context.Background(), to, line.address+"/two:1", PullOptions{})
	if err != nil || pulled.ID != layer.ID {
		t.Fatal(pulled, err)
	}
	if second := line.passed.Load(); second > 6<<20 {
		t.Errorf("the first pull took %d bytes, the second %d of 10 MiB: it did not go on", first, second)
	}
	if left, err := os.ReadDir(dir + "/lib/images/ingest"); err != nil || len(left) != 0 {
		t.Errorf("left in ingest: %v, %v", left, err)
	}
}

func directory(t *testing.T, name, body string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+name, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDiskFull: a disk that is full while a layer arrives, or while it is unpacked, has afterwards what it had before.
func TestDiskFull(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	for name, files := range map[string]map[string]string{
		"downloading": {"f": noise(t, 20<<20)},                      // the archive alone is too large
		"unpacking":   {"f": strings.Repeat("0123456789", 2<<20)},   // the archive is small
		"both":        {"f": noise(t, 7<<20), "g": noise(t, 1<<20)}, // each fits, but not both
		"small":       {"f": "x"},
	} {
		importFiles(t, from, host+"/"+name+":1", files)
		if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/"+name+":1", PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	to, err := image.Open(state.Root{Lib: disk + "/lib", Run: t.TempDir()}, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, Options{}).Pull(context.Background(), to, host+"/small:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	before := command(t, "find", disk, "-printf", "%P %y %s %l\n")
	for _, name := range []string{"downloading", "unpacking", "both"} {
		_, err := newClient(t, Options{}).Pull(context.Background(), to, host+"/"+name+":1", PullOptions{})
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v, want no space left on device", name, err)
		}
		if after := command(t, "find", disk, "-printf", "%P %y %s %l\n"); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", name, before, after)
		}
	}
}

// TestRottenLayer: a layer that was damaged in the registry is told as that, not as what unpacking stumbles over, and its
// beginning is not kept: when the registry has the right one again, the next pull succeeds.
func TestRottenLayer(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	img := importFiles(t, from, host+"/rotten:1", map[string]string{"f": strings.Repeat(noise(t, 1000), 3000)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/rotten:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	var rotten atomic.Bool
	rotten.Store(true)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if rotten.Load() && strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > 5000 {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			copy(data[len(data)/2:], make([]byte, 100))
			r.Body = io.NopCloser(bytes.NewReader(data))
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	to, dir := newStore(t)
	ref := strings.TrimPrefix(server.URL, "http://") + "/rotten:1"
	if _, err := newClient(t, Options{}).Pull(context.Background(), to, ref, PullOptions{}); err == nil || !strings.Contains(err.Error(), "arrived damaged") {
		t.Errorf("a damaged layer: %v", err)
	}
	if left, err := filepath.Glob(dir + "/lib/images/ingest/*"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	rotten.Store(false)
	if pulled, err := newClient(t, Options{}).Pull(context.Background(), to, ref, PullOptions{}); err != nil || pulled.ID != img.ID {
		t.Error(pulled, err)
	}
}
