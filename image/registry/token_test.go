package registry

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// tokenServer gives out tokens as Docker Hub does (https://distribution.github.io/distribution/spec/auth/token/): anybody may pull
// what is under open/, and ada, who has a password, may do everything.
type tokenServer struct {
	t    testing.TB
	key  *rsa.PrivateKey
	cert []byte
	url  string

	mu     sync.Mutex
	scopes []string // that were asked for
}

// serveWithTokens starts a docker-registry that believes only a token server's signature.
func serveWithTokens(t testing.TB) (host string, server *tokenServer) {
	t.Helper()
	dir := t.TempDir()
	command(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens", "-keyout", dir+"/key.pem", "-out", dir+"/cert.pem")
	server = &tokenServer{t: t, cert: readPEM(t, dir+"/cert.pem")}
	key, err := x509.ParsePKCS8PrivateKey(readPEM(t, dir+"/key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	server.key = key.(*rsa.PrivateKey)
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	server.url = listener.URL
	return serve(t, fmt.Sprintf("auth: {token: {realm: %q, service: lab, issuer: tokens, rootcertbundle: %s/cert.pem}}", server.url+"/token", dir)), server
}

func readPEM(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	return block.Bytes
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, given := r.BasicAuth()
	known := user == "ada" && password == "s3cret"
	if given && !known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	access := []map[string]any{}
	for _, scope := range r.Form["scope"] {
		s.mu.Lock()
		s.scopes = append(s.scopes, scope)
		s.mu.Unlock()
		kind, rest, _ := strings.Cut(scope, ":")
		name, actions, _ := strings.Cut(rest, ":")
		granted := []string{}
		for action := range strings.SplitSeq(actions, ",") {
			if known || action == "pull" && strings.HasPrefix(name, "open/") {
				granted = append(granted, action)
			}
		}
		access = append(access, map[string]any{"type": kind, "name": name, "actions": granted})
	}
	now := time.Now()
	token := s.sign(map[string]any{"iss": "tokens", "aud": "lab", "sub": user, "iat": now.Unix(), "nbf": now.Unix() - 1, "exp": now.Add(time.Minute).Unix(), "jti": fmt.Sprint(now.UnixNano()), "access": access})
	if err := json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 60}); err != nil {
		s.t.Error(err)
	}
}

// sign makes a JSON web token: RFC 7519, with the certificate in its header.
func (s *tokenServer) sign(claims map[string]any) string {
	var parts []string
	for _, part := range []map[string]any{{"typ": "JWT", "alg": "RS256", "x5c": []string{base64.StdEncoding.EncodeToString(s.cert)}}, claims} {
		data, err := json.Marshal(part)
		if err != nil {
			s.t.Error(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Error(err)
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

// asked are the scopes since the last question.
func (s *tokenServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	scopes := slices.Compact(s.scopes)
	s.scopes = nil
	return scopes
}

// TestTokens: login, push and pull at a registry that takes tokens only, as Docker Hub, GitHub's and others.
func TestTokens(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	host, server := serveWithTokens(t)
	s, _ := newStore(t)
	ctx := context.Background()
	for _, name := range []string{"/open/app:1", "/closed/app:1"} {
		importFiles(t, s, host+name, map[string]string{"name": name})
		if _, err := newClient(t, Options{}).Push(ctx, s, host+name, PushOptions{}); err == nil || !strings.Contains(err.Error(), "mydocker login "+host) {
			t.Errorf("push without login: %v", err)
		}
	}
	if _, err := newClient(t, Options{}).Login(ctx, host, "ada", "wrong"); err == nil || !strings.Contains(err.Error(), "does not take this user name and password") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := newClient(t, Options{}).Login(ctx, host, "ada", "s3cret"); err != nil {
		t.Fatal(err)
	}
	server.asked()
	for _, name := range []string{"/open/app:1", "/closed/app:1"} {
		if _, err := newClient(t, Options{}).Push(ctx, s, host+name, PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if asked := server.asked(); !slices.Contains(asked, "repository:closed/app:push,pull") {
		t.Errorf("a push asks for %q", asked)
	}
	to, _ := newStore(t)
	if _, err := newClient(t, Options{}).Pull(ctx, to, host+"/closed/app:1", PullOptions{}); err != nil {
		t.Error(err)
	}
	if asked := server.asked(); !slices.Equal(asked, []string{"repository:closed/app:pull"}) {
		t.Errorf("a pull asks for %q", asked)
	}
	if _, err := Logout(host); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, Options{}).Pull(ctx, to, host+"/open/app:1", PullOptions{}); err != nil {
		t.Errorf("what anybody may pull: %v", err)
	}
	if _, err := newClient(t, Options{}).Pull(ctx, to, host+"/closed/app:1", PullOptions{}); err == nil || !strings.Contains(err.Error(), "denies access") || !strings.Contains(err.Error(), "mydocker login") {
		t.Errorf("what only ada may pull: %v", err)
	}
}

// TestTokenExpires: a token that the registry does not take any more in the middle of a pull is asked for anew.
func TestTokenExpires(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	host, tokens := serveWithTokens(t)
	s, _ := newStore(t)
	ctx := context.Background()
	if _, err := newClient(t, Options{}).Login(ctx, host, "ada", "s3cret"); err != nil {
		t.Fatal(err)
	}
	img := importFiles(t, s, host+"/open/app:1", map[string]string{"a": noise(t, 1<<20)})
	if _, err := newClient(t, Options{}).Push(ctx, s, host+"/open/app:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Pointer[string] // the token that was good for the manifest
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		if strings.Contains(r.URL.Path, "/manifests/") {
			refused.Store(&token)
		} else if old := refused.Load(); old != nil && *old == token {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.url+`/token",service="lab",scope="repository:open/app:pull",error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	to, _ := newStore(t)
	pulled, err := newClient(t, Options{}).Pull(ctx, to, strings.TrimPrefix(front.URL, "http://")+"/open/app:1", PullOptions{})
	if err != nil || pulled.ID != img.ID {
		t.Error(pulled, err)
	}
}

// TestPrivateRealms: only a registry that is in a private network itself may send us to a token server in one.
func TestPrivateRealms(t *testing.T) {
	c := newClient(t, Options{})
	for host, want := range map[string]bool{"docker.io": false, "ghcr.io:443": false, "8.8.8.8:5000": false, "10.1.2.3:5000": true, "[fd00::5]:5000": true, "localhost": true, "169.254.169.254": false} {
		e := endpoint{host: host, insecure: c.insecure(host)}
		if got := c.mayHavePrivateRealm(e); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	for realm, want := range map[string]string{
		`Bearer realm="https://10.0.0.5:8443/jwt",service="lab"`: `Bearer realm="https://10.0.0.5.token-server.invalid:8443/jwt",service="lab"`,
		`Bearer service="x",Realm="http://[fd00::5]/t"`:          `Bearer service="x",realm="http://fd00--5.token-server.invalid/t"`,
		`Bearer realm="https://auth.docker.io/token"`:            "",
		`Bearer realm="http://169.254.169.254/latest"`:           "",
		`Basic realm="our registry"`:                             "",
	} {
		if want == "" {
			want = realm
		}
		if got := (&privateRealms{addresses: map[string]string{}}).rename(realm); got != want {
			t.Errorf("%s became %s", realm, got)
		}
	}
	answer := &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Bearer realm="https://10.0.0.5/token",service="x"`}}, Body: http.NoBody}
	public, err := name.NewRegistry("registry.example")
	if err != nil {
		t.Fatal(err)
	}
	_, err = transport.NewWithContext(context.Background(), public, authn.Anonymous, roundTrip(func(r *http.Request) (*http.Response, error) {
		answer.Request = r
		return answer, nil
	}), nil)
	if err = explain("registry.example", err); err == nil || !strings.Contains(err.Error(), "where a registry has no business") || !strings.Contains(err.Error(), "insecure-registries") {
		t.Errorf("a public registry that names a private address: %v", err)
	}
}
