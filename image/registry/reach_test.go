package registry

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
)

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
