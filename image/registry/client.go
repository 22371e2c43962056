// Package registry talks to image registries: pull, push, login and logout, by the OCI distribution protocol
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).
//
// The protocol, tokens and credentials are google/go-containerregistry's and docker/cli's; what is ours is going on
// with broken downloads, mirrors, and errors that tell the way out. It is apart from package image, because HTTP and TLS
// cost every process that links them some start-up time.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/mydocker/mydocker/image"
)

// Options are how registries are reached.
type Options struct {
	// Insecure allows plain HTTP and certificates that nobody vouches for, for every registry.
	Insecure bool
	// SkipTLSVerify takes any certificate: --tls-verify=false.
	SkipTLSVerify bool
	// ConfigFile names mirrors and insecure registries, with the keys of Docker's daemon.json; "" is /etc/mydocker/registries.json.
	ConfigFile string
	// CertsDir has <host>/*.crt of authorities, and *.cert with *.key of our own, as Docker's; "" is /etc/docker/certs.d.
	CertsDir string
	// UserAgent is how we introduce ourselves; "" is mydocker.
	UserAgent string
}

// Config is the file that Options.ConfigFile names.
type Config struct {
	// Mirrors are asked before docker.io, in their order: URLs.
	Mirrors []string `json:"registry-mirrors"`
	// Insecure are the hosts, or networks like 10.0.0.0/8, that may be spoken to without TLS.
	Insecure []string `json:"insecure-registries"`
}

// Client is a way to registries. It is safe for use by several goroutines.
type Client struct {
	options  Options
	config   Config
	keychain authn.Keychain

	mu       sync.Mutex
	sessions map[string]*session // by host, repository and scope
	chosen   map[string]endpoint // which endpoint a repository was found at
}

// New reads the configuration, and connects to nothing.
func New(o Options) (*Client, error) {
	if o.ConfigFile == "" {
		o.ConfigFile = "/etc/mydocker/registries.json"
	}
	if o.CertsDir == "" {
		o.CertsDir = "/etc/docker/certs.d"
	}
	if o.UserAgent == "" {
		o.UserAgent = "mydocker"
	}
	c := &Client{options: o, keychain: authn.DefaultKeychain, sessions: map[string]*session{}, chosen: map[string]endpoint{}}
	data, err := os.ReadFile(o.ConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &c.config)
	}
	if err != nil {
		return nil, fmt.Errorf("read the registries' configuration %s: %w", o.ConfigFile, err)
	}
	for _, m := range c.config.Mirrors {
		if u, err := url.Parse(m); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%s: the mirror %q is not a URL like https://mirror.example.com", o.ConfigFile, m)
		}
	}
	return c, nil
}

// endpoint is one server to ask.
type endpoint struct {
	host     string
	insecure bool
	mirror   bool
}

// endpoints are the servers that may have a repository: for docker.io the mirrors first.
func (c *Client) endpoints(ref image.Reference) []endpoint {
	var list []endpoint
	if ref.Domain == "docker.io" {
		for _, m := range c.config.Mirrors {
			scheme, host, _ := strings.Cut(strings.TrimRight(m, "/"), "://")
			list = append(list, endpoint{host: host, insecure: scheme == "http", mirror: true})
		}
	}
	return append(list, endpoint{host: ref.Domain, insecure: c.insecure(ref.Domain)})
}

func (c *Client) insecure(host string) bool {
	if c.options.Insecure || isLoopback(host) {
		return true
	}
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	address := net.ParseIP(strings.Trim(bare, "[]"))
	for _, entry := range c.config.Insecure {
		if entry == host || entry == bare {
			return true
		}
		if _, network, err := net.ParseCIDR(entry); err == nil && address != nil && network.Contains(address) {
			return true
		}
	}
	return false
}

// isLoopback: Docker, too, speaks plain HTTP with what runs on the same machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// session is an authorised way to one repository of one server.
type session struct {
	client *http.Client
	base   string // scheme://host/v2/path
}

func (c *Client) registry(e endpoint) (name.Registry, error) {
	var options []name.Option
	if e.insecure {
		options = append(options, name.Insecure)
	}
	host := e.host
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host, options...)
	if err != nil {
		return name.Registry{}, fmt.Errorf("%s is no registry: %w", host, err)
	}
	return registry, nil
}

// session finds out how the server wants to be spoken to, and gets the right to pull (or push, by the scope).
func (c *Client) session(ctx context.Context, e endpoint, path, scope string) (*session, error) {
	key := e.host + "/" + path + " " + scope
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sessions[key]; ok {
		return s, nil
	}
	server, err := c.registry(e)
	if err != nil {
		return nil, err
	}
	auth, err := authn.Resolve(ctx, c.keychain, server)
	if err != nil {
		return nil, fmt.Errorf("look up the credentials for %s: %w", e.host, err)
	}
	base, err := c.transport(e)
	if err != nil {
		return nil, err
	}
	rt, err := transport.NewWithContext(ctx, server, auth, base, []string{"repository:" + path + ":" + scope})
	if err != nil {
		return nil, explain(e.host, err)
	}
	// The transport puts the scheme that the server answered to in place of this one.
	s := &session{client: &http.Client{Transport: rt}, base: server.Scheme() + "://" + server.RegistryStr() + "/v2/" + path}
	c.sessions[key] = s
	return s, nil
}

// transport is what carries requests to a server: with its certificates, through the proxy that the environment names,
// and with another try after what passes by itself.
func (c *Client) transport(e endpoint) (http.RoundTripper, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.options.SkipTLSVerify || c.options.Insecure && !isLoopback(e.host)}
	pool, err := c.certificates(e.host)
	if err != nil {
		return nil, err
	}
	config.RootCAs = pool
	if config.Certificates, err = c.ownCertificates(e.host); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       config,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		ReadBufferSize:        64 << 10,
	}
	guarded := &plainGuard{inner: t, allowed: e.insecure}
	retry := transport.NewRetry(guarded, transport.WithRetryPredicate(passes), transport.WithRetryBackoff(transport.Backoff{Duration: 300 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
		transport.WithRetryStatusCodes(http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout))
	if c.mayHavePrivateRealm(e) {
		retry = &privateRealms{inner: retry, addresses: map[string]string{}}
	}
	return transport.NewUserAgent(retry, c.options.UserAgent), nil
}

// passes says of a failure whether it may pass by itself. A name that cannot be resolved has been asked for several times.
func passes(err error) bool {
	var dns *net.DNSError
	var temporary interface{ Temporary() bool }
	if errors.As(err, &dns) {
		return false
	}
	return errors.As(err, &temporary) && temporary.Temporary() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// certificates are those of the host's own, and those that the administrator has put down for this registry.
func (c *Client) certificates(host string) (*x509.CertPool, error) {
	files, err := filepath.Glob(filepath.Join(c.options.CertsDir, strings.ReplaceAll(host, "*", ""), "*.crt"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", file)
		}
	}
	return pool, nil
}

// ownCertificates are those by which we show who we are, as Docker has them: <name>.cert, and the key in <name>.key.
func (c *Client) ownCertificates(host string) ([]tls.Certificate, error) {
	files, err := filepath.Glob(filepath.Join(c.options.CertsDir, strings.ReplaceAll(host, "*", ""), "*.cert"))
	if err != nil {
		return nil, err
	}
	var own []tls.Certificate
	for _, file := range files {
		pair, err := tls.LoadX509KeyPair(file, strings.TrimSuffix(file, ".cert")+".key")
		if err != nil {
			return nil, fmt.Errorf("read the certificate for registry %s: %w", host, err)
		}
		own = append(own, pair)
	}
	return own, nil
}

// plainGuard keeps passwords and images off the open line: the library would speak plain HTTP with every private
// address, which Docker does not.
type plainGuard struct {
	inner   http.RoundTripper
	allowed bool
}

func (p *plainGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && !p.allowed && !isLoopback(r.URL.Host) {
		return nil, errPlain
	}
	return p.inner.RoundTrip(r)
}

var errPlain = errors.New("plain HTTP is not allowed for this registry")
