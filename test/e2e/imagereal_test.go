package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// makeDebianImages has images made of Debian packages, once; they lie in bin/debian afterwards. It is called on the real host:
// the tests' host has no way to Debian's mirrors. Only the tests that need the images fail when it does not work.
func makeDebianImages() string {
	dir, err := filepath.Abs("../../bin/debian")
	if err == nil {
		var said []byte
		if said, err = exec.Command("../debian-images.sh", dir).CombinedOutput(); err != nil {
			lines := strings.Split(strings.TrimSpace(string(said)), "\n")
			err = fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
	}
	if err != nil {
		return "DEBIAN_IMAGES_ERROR=" + err.Error()
	}
	return "DEBIAN_IMAGES=" + dir + "/layout"
}

// debianImages is an OCI layout, written by umoci, with the images debian and nginx.
func debianImages(t testing.TB) string {
	t.Helper()
	layout := os.Getenv("DEBIAN_IMAGES")
	if layout == "" {
		t.Fatalf("test/debian-images.sh has not made the images: %s", os.Getenv("DEBIAN_IMAGES_ERROR"))
	}
	return layout
}

// registryServer is Debian's docker-registry on the host's address in the LAN: not on the loopback, so nothing is forgiven.
type registryServer struct{ address, dir string }

// newRegistry starts one; with TLS it has a certificate of its own authority, with a password it wants to be logged in to.
func newRegistry(t testing.TB, port int, tls, password bool) *registryServer {
	t.Helper()
	r := &registryServer{address: fmt.Sprintf("10.99.0.1:%d", port), dir: t.TempDir()}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp:\n  addr: %s\n", r.dir, r.address)
	if tls {
		sh(t, "cd "+r.dir+" && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -addext subjectAltName=IP:10.99.0.1 -keyout key.pem -out ca.crt")
		config += fmt.Sprintf("  tls: {certificate: %s/ca.crt, key: %s/key.pem}\n", r.dir, r.dir)
	}
	if password {
		sh(t, "htpasswd -Bbn ada s3cret > "+r.dir+"/htpasswd")
		config += fmt.Sprintf("auth: {htpasswd: {realm: lab, path: %s/htpasswd}}\n", r.dir)
	}
	if err := os.WriteFile(r.dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("docker-registry", "serve", r.dir+"/config.yml")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	eventually(t, func() string {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
	return r
}

// An nginx of Debian's packages goes through a registry with TLS and a password, is run and answers.
func TestNginxOutOfARegistry(t *testing.T) {
	cleanHost(t)
	layout, r := debianImages(t), newRegistry(t, 5443, true, true)
	name := r.address + "/web/nginx:deb"
	sh(t, "skopeo --insecure-policy copy -q --dest-creds ada:s3cret --dest-cert-dir "+r.dir+" oci:"+layout+":nginx docker://"+name)
	home := t.TempDir()
	env := append(os.Environ(), "DOCKER_CONFIG="+home)
	trusting := append(env, "SSL_CERT_FILE="+r.dir+"/ca.crt")
	do := func(env []string, in string, args ...string) result {
		t.Helper()
		return myWith(t, strings.NewReader(in), env, args...)
	}
	fails := func(what string, got result, words ...string) {
		t.Helper()
		for _, w := range words {
			if got.code != 1 || !strings.Contains(got.err, w) {
				t.Errorf("%s: status %d, %q; want 1 and %q", what, got.code, got.err, w)
			}
		}
	}
	fails("unknown authority", do(env, "", "pull", "-q", name), "cannot be trusted", "/etc/docker/certs.d/"+r.address+"/ca.crt")
	fails("without a password", do(trusting, "", "pull", "-q", name), "denies access", "mydocker login "+r.address)
	fails("wrong password", do(trusting, "wrong", "login", "-u", "ada", "--password-stdin", r.address), "does not take this user name and password")
	if got := do(trusting, "s3cret", "login", "-u", "ada", "--password-stdin", r.address); got.code != 0 {
		t.Fatal(got.err)
	}
	fails("unknown name", do(trusting, "", "pull", "-q", r.address+"/web/apache:deb"), "has nothing under this name and tag")
	t.Cleanup(func() { my(t, "rmi", "-f", name, r.address+"/web/nginx:again") })
	if got := do(trusting, "", "pull", "-q", name); got.code != 0 {
		t.Fatal(got.err)
	}

	c := start(t, "nginx", "-d", "-p", "8080:80", name)
	eventually(t, func() string {
		if page, err := get("http://10.99.0.1:8080/"); err != nil || !strings.Contains(page, "Welcome to nginx!") {
			return fmt.Sprintf("the page is %.60q, %v", page, err)
		}
		return ""
	})
	match(t, "from the neighbour", neighbour(t, "curl -s -m 60 -D - http://10.99.0.1:8080/"), `Server: nginx/1\.`)
	match(t, "as who", c.sh("ps -o user= -C nginx 2>/dev/null || stat -c %U /proc/[0-9]*/comm | sort -u"), `www-data`)

	// What is pushed is what was pulled, whoever looks.
	must(t, "tag", name, r.address+"/web/nginx:again")
	if got := do(trusting, "", "push", "-q", r.address+"/web/nginx:again"); got.code != 0 {
		t.Fatal(got.err)
	}
	digest := func(ref string) string {
		return sh(t, "skopeo inspect --creds ada:s3cret --cert-dir "+r.dir+" --format '{{.Digest}}' docker://"+ref)
	}
	equal(t, "digest of what was pushed", digest(r.address+"/web/nginx:again"), digest(name))

	// buildah takes it from there, changes it, and pushes: we pull only what is new, and run it.
	storage := "--root " + r.dir + "/buildah --runroot " + r.dir + "/buildah-run --storage-driver overlay"
	sh(t, fmt.Sprintf(`set -e; b="buildah %s"; c=$($b from -q --creds ada:s3cret --cert-dir %s %s); echo 'made by buildah' > %s/page
$b copy -q $c %s/page /var/www/html/index.html; $b commit -q --creds ada:s3cret --cert-dir %s $c docker://%s/web/changed:1`, storage, r.dir, name, r.dir, r.dir, r.dir, r.address))
	changed := r.address + "/web/changed:1"
	t.Cleanup(func() { my(t, "rmi", "-f", changed) })
	if got := do(trusting, "", "create", "--name", "changed", "-p", "8081:80", changed); got.code != 0 || strings.Count(got.err, "Already exists") == 0 {
		t.Fatalf("create of a missing image: status %d, %s", got.code, got.err)
	}
	t.Cleanup(func() { my(t, "rm", "-f", "changed") })
	must(t, "start", "changed")
	eventually(t, func() string {
		if page, err := get("http://10.99.0.1:8081/"); page != "made by buildah" {
			return fmt.Sprintf("the page is %.60q, %v", page, err)
		}
		return ""
	})
	must(t, "rm", "-f", "changed")
	must(t, "rmi", changed)
	if got := do(trusting, "", "logout", r.address); got.code != 0 {
		t.Error(got.err)
	}
	fails("after logout", do(trusting, "", "pull", "-q", changed), "denies access")
}

// listing is what a file system has, one line for each file: type, mode, owner, size of files, time, name, link.
const listing = `find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' ! -path ./etc/hosts ! -path ./etc/hostname ! -path ./etc/resolv.conf ! -path ./etc ! -path . \( -type d -printf '%y %m %U:%G - %T@ %p %l\n' -o -printf '%y %m %U:%G %s %T@ %p %l\n' \) | sed 's/\.[0-9]* \./ ./'`

// files is the listing of a directory, sorted.
func files(t testing.TB, root string) []string {
	t.Helper()
	lines := strings.Split(sh(t, "cd "+root+" && "+listing), "\n")
	slices.Sort(lines)
	return lines
}

// A Debian of more than 100 MB is, file by file, what umoci unpacks; and so is what was committed, when it is saved and
// unpacked by umoci.
func TestDebianFileByFile(t *testing.T) {
	cleanHost(t)
	layout, dir := debianImages(t), t.TempDir()
	sh(t, "umoci unpack --image "+layout+":debian "+dir+"/debian && skopeo --insecure-policy copy -q oci:"+layout+":debian oci-archive:"+dir+"/debian.tar:debian:real")
	must(t, "load", "-q", "-i", dir+"/debian.tar")
	t.Cleanup(func() { my(t, "rmi", "-f", "debian:real", "debian:changed") })
	// /tmp of the container is the image's; --read-only keeps what is compared as it was.
	c := start(t, "debian", "-d", "--read-only", "debian:real", "sleep", "1000")
	theirs := files(t, dir+"/debian/rootfs")
	ours := files(t, fmt.Sprintf("/proc/%d/root", c.pid()))
	if d := diff(theirs, ours); d != "" || len(ours) < 5000 {
		t.Errorf("%d files; what umoci unpacks, and what we do:\n%.3000s", len(ours), d)
	}
	match(t, "it is whole", c.sh("dpkg --verify && dpkg -l | grep -c ^ii"), `^\d{2,3}$`)
	if size := sh(t, "du -sm "+dir+"/debian/rootfs | cut -f1"); len(size) < 3 {
		t.Errorf("the image has %s MB, want 100 and more", size)
	}

	w := start(t, "changing", "-d", "debian:real", "sleep", "1000")
	w.sh(`set -e; rm -r /usr/share/doc; mkdir /usr/share/doc; echo new > /usr/share/doc/new; rm /etc/debian_version; rm -r /usr/share/man; ln -s doc /usr/share/man
		ln /bin/ls /usr/bin/second; chown 7:8 /usr/games; chmod 4711 /bin/cat; mv /usr/share/common-licenses /srv/licenses; touch -d @1000000000 /srv/old; mkfifo -m 622 /srv/pipe`)
	must(t, "commit", "changing", "debian:changed")
	must(t, "save", "--archive-format", "oci-archive", "-o", dir+"/changed.tar", "debian:changed")
	// What is in the archive is a layout; umoci wants a short name.
	sh(t, fmt.Sprintf(`cd %s && mkdir changed && tar -C changed -xf changed.tar && jq '.manifests[0].annotations={"org.opencontainers.image.ref.name":"x"}' changed/index.json > index.json &&
mv index.json changed/ && umoci unpack --image changed:x unpacked`, dir))
	theirs = files(t, dir+"/unpacked/rootfs")
	ours = files(t, fmt.Sprintf("/proc/%d/root", w.pid()))
	if d := diff(ours, theirs); d != "" {
		t.Errorf("what the container has, and what umoci unpacks of its image:\n%.3000s", d)
	}
}

// proxy is an HTTP proxy that counts requests and the bytes of answers; it knows CONNECT too.
type proxy struct {
	url      string
	requests atomic.Int32
	bytes    atomic.Int64
	held     chan struct{} // once 40 MB have gone by, no more do until it is closed
}

func newProxy(t testing.TB) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "http://" + l.Addr().String()}
	server := &http.Server{Handler: p}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	if r.Method == http.MethodConnect {
		tunnel(w, r)
		return
	}
	r.RequestURI = ""
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for key, values := range answer.Header {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.StatusCode)
	for {
		n, err := io.CopyN(w, answer.Body, 256<<10)
		p.bytes.Add(n)
		if err != nil {
			return
		}
		if p.held != nil && p.bytes.Load() >= 40<<20 {
			<-p.held
		}
	}
}

func tunnel(w http.ResponseWriter, r *http.Request) {
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		to.Close()
		return
	}
	go func() { io.Copy(to, from); to.Close() }()
	io.Copy(from, to)
	from.Close()
}

// The proxy variables are heeded as by other programs: one for each scheme, and exceptions.
func TestProxyVariables(t *testing.T) {
	cleanHost(t)
	plain, secure := newRegistry(t, 5001, false, false), newRegistry(t, 5444, true, false)
	archive := saved(t, "small:1", nil, userland(t))
	for _, r := range []*registryServer{plain, secure} {
		sh(t, "skopeo --insecure-policy copy -q --dest-tls-verify=false docker-archive:"+archive+" docker://"+r.address+"/small:1")
	}
	p := newProxy(t)
	url, count := p.url, &p.requests
	for _, c := range []struct {
		what, env string
		from      *registryServer
		proxied   bool
	}{
		{"HTTP_PROXY", "HTTP_PROXY=" + url, plain, true},
		{"http_proxy", "http_proxy=" + url, plain, true},
		{"HTTPS_PROXY", "HTTPS_PROXY=" + url, secure, true},
		{"NO_PROXY", "HTTP_PROXY=" + url + " NO_PROXY=10.99.0.0/16", plain, false},
		{"NO_PROXY with a port", "HTTPS_PROXY=" + url + " NO_PROXY=" + secure.address, secure, false},
	} {
		count.Store(0)
		env := append(os.Environ(), "SSL_CERT_FILE="+secure.dir+"/ca.crt")
		name := c.from.address + "/small:1"
		flags := []string{"pull", "-q", name}
		if c.from == plain {
			flags = []string{"pull", "-q", "--insecure", name}
		}
		if got := myWith(t, nil, append(env, strings.Fields(c.env)...), flags...); got.code != 0 {
			t.Errorf("%s: %s", c.what, got.err)
			continue
		}
		if (count.Load() > 0) != c.proxied {
			t.Errorf("%s: %d requests came by the proxy, want some: %v", c.what, count.Load(), c.proxied)
		}
		must(t, "rmi", name)
	}
	got := myWith(t, nil, append(os.Environ(), "HTTP_PROXY=http://127.0.0.1:1"), "pull", "-q", "--insecure", plain.address+"/small:1")
	if got.code != 1 || !strings.Contains(got.err, "proxy") {
		t.Errorf("a proxy that is not there: status %d, %s", got.code, got.err)
	}
}

// A pull whose process is killed leaves no half image, and the next one goes on with what has arrived.
func TestKilledPull(t *testing.T) {
	cleanHost(t)
	layout, r := debianImages(t), newRegistry(t, 5002, false, false)
	name := r.address + "/nginx:1"
	sh(t, "skopeo --insecure-policy copy -q --dest-tls-verify=false oci:"+layout+":nginx docker://"+name)
	t.Cleanup(func() { my(t, "rmi", "-f", name) })
	line := newProxy(t)
	line.held = make(chan struct{}) // or it might be complete before it is killed
	env := append(os.Environ(), "HTTP_PROXY="+line.url)
	pull := exec.Command(binary, "pull", "--insecure", name)
	pull.Env = env
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { // until 10 MB of the large layer are there
		parts, _ := filepath.Glob("/var/lib/mydocker/images/ingest/*.part")
		for _, p := range parts {
			if info, err := os.Stat(p); err == nil && info.Size() > 10<<20 {
				return ""
			}
		}
		return fmt.Sprintf("nothing arrives: %v", parts)
	})
	if err := pull.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pull.Wait()
	eventually(t, func() string { // the process that speaks to the registry ends with it
		if left := sh(t, "pgrep -fx 'mydocker pull' || :"); left != "" {
			return "still there: " + left
		}
		return ""
	})
	refused(t, 1, []string{name}, "image", "inspect", name)
	line.bytes.Store(0)
	close(line.held)
	out := myWith(t, nil, env, "pull", "--insecure", name)
	equal(t, "the next pull: "+out.err, out.code, 0)
	if again := line.bytes.Load(); again > 62<<20 {
		t.Errorf("the next pull fetched %d bytes of 71 million: it did not go on", again)
	}
	match(t, "it runs", see(t, name, "sh", "-c", "nginx -v 2>&1"), `nginx/1\.`)
	if left, _ := filepath.Glob("/var/lib/mydocker/images/ingest/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
