package cli

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/mydocker/mydocker/image"
)

// newRegistry starts a registry on loopback; with a password it wants to be logged in to.
func newRegistry(t *testing.T, password string) (host string) {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, given, _ := r.BasicAuth(); given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return strings.TrimPrefix(server.URL, "http://")
}

func TestPushPullAndRunWhatIsMissing(t *testing.T) {
	busyboxImage(t)
	host := newRegistry(t, "")
	name := host + "/tools/box:1"
	my(t, "tag", "busybox", name)
	match(t, "push", my(t, "push", name), `^1: digest: sha256:[0-9a-f]{64}\n$`)
	my(t, "rmi", name)

	out, errs, code := onHost(t, "pull", name)
	if code != 0 || !strings.HasPrefix(errs, "1: Pulling from tools/box\n") {
		t.Errorf("pull: status %d, %s", code, errs)
	}
	match(t, "pull", out, `^Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for `+name+`\n`+name+`\n$`)
	match(t, "pull again", my(t, "pull", name), `\nStatus: Image is up to date for `+name+`\n`)
	equal(t, "pull -q", my(t, "pull", "-q", name), name+"\n")
	my(t, "rmi", name)

	out, errs, code = onHost(t, "run", "--rm", name, "echo", "hi")
	if code != 0 || out != "hi\n" || !strings.HasPrefix(errs, "Unable to find image '"+name+"' locally\n1: Pulling from tools/box\n") {
		t.Errorf("run of a missing image: status %d, %q, %s", code, out, errs)
	}
	my(t, "rmi", name)
	refused(t, 125, name, "run", "--rm", "--pull", "never", name, "true")
	_, errs, code = onHost(t, "create", "-q", "--name", "made", name)
	if code != 0 || errs != "" {
		t.Errorf("create -q of a missing image: status %d, %s", code, errs)
	}
	_, errs, code = onHost(t, "run", "--rm", "--pull", "always", name, "true")
	if code != 0 || !strings.HasPrefix(errs, "1: Pulling from") {
		t.Errorf("run --pull always: status %d, %s", code, errs)
	}
	equal(t, "the platform that is here", my(t, "run", "--rm", "--platform", "linux/"+runtime.GOARCH, name, "echo", "hi"), "hi\n")
	refused(t, 125, "s390x", "run", "--rm", "--platform", "linux/s390x", name, "true")
	refused(t, 125, "not for the platform linux/s390x", "run", "--rm", "--pull", "never", "--platform", "linux/s390x", name, "true")
	refused(t, 1, "not for the platform linux/s390x", "create", "--pull", "never", "--platform", "linux/s390x", name, "true")
	refused(t, 125, "tools/nothing", "run", "--rm", host+"/tools/nothing", "true")
	refused(t, 125, "network create", "run", "--rm", "--net", "nowhere", name, "true") // missing, but not the image

	my(t, "tag", "busybox", host+"/tools/box:2")
	equal(t, "push -a", strings.Join(firstWords(my(t, "push", "-a", host+"/tools/box")), " "), "1: 2:")
	my(t, "rm", "made")
	my(t, "rmi", name, host+"/tools/box:2")

	all := my(t, "pull", "-a", host+"/tools/box")
	match(t, "pull -a", all, `^(Digest: sha256:[0-9a-f]{64}\n){2}Status: Downloaded newer image for `+host+`/tools/box\n`+host+`/tools/box\n$`)
	match(t, "pull -a again", my(t, "pull", "-a", host+"/tools/box"), `Status: Image is up to date for `+host+`/tools/box\n`)
	equal(t, "the tags", my(t, "images", "--format", "{{.Tag}}", host+"/tools/box"), "1\n2\n")
	refused(t, 1, "tag can't be used with --all-tags/-a", "pull", "-a", name)
	refused(t, 1, "tag can't be used with --all-tags/-a", "push", "-a", name)
	refused(t, 1, "list the tags of "+host+"/tools/nothing", "pull", "-a", host+"/tools/nothing")
	my(t, "rmi", name, host+"/tools/box:2")
}

func firstWords(text string) (words []string) {
	for line := range strings.Lines(text) {
		words = append(words, strings.Fields(line)[0])
	}
	return words
}

func TestLogin(t *testing.T) {
	busyboxImage(t)
	host := newRegistry(t, "secret")
	name := host + "/box:1"
	my(t, "tag", "busybox", name)
	defer my(t, "rmi", name)
	refused(t, 1, "mydocker login", "push", name)
	refused(t, 1, "does not take this user name and password", "login", "-u", "me", "-p", "wrong", host)
	refused(t, 1, "--password-stdin option requires --username", "login", "--password-stdin", host)
	refused(t, 1, "standard input is not a terminal", "login", host)
	equal(t, "login", my(t, "login", "-u", "me", "-p", "secret", host), "Login Succeeded\n")
	elsewhere, before := t.TempDir(), os.Getenv("DOCKER_CONFIG")
	equal(t, "login for another directory", my(t, "--config", elsewhere, "login", "-u", "me", "-p", "secret", host), "Login Succeeded\n")
	if _, err := os.Stat(filepath.Join(elsewhere, "config.json")); err != nil {
		t.Error(err)
	}
	t.Setenv("DOCKER_CONFIG", before) // --config has changed it, which in a process of its own is nobody's loss
	equal(t, "login again", my(t, "login", host), "Authenticating with existing credentials...\nLogin Succeeded\n")
	match(t, "push", my(t, "push", "-q", name), `^`+name+`\n$`)
	equal(t, "logout", my(t, "logout", host), "Removing login credentials for "+host+"\n")
	equal(t, "logout again", my(t, "logout", host), "Not logged in to "+host+"\n")
	refused(t, 1, "standard input is not a terminal", "login", host)
	refused(t, 1, "mydocker login", "pull", name)
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, latest: make(map[string]image.Event)}
	for _, ev := range []image.Event{
		{ID: "a", Status: "Pulling fs layer"}, {ID: "a", Status: "Downloading", Current: 1, Total: 2}, {ID: "a", Status: "Downloading", Current: 2, Total: 2},
		{ID: "b", Status: "Already exists"}, {ID: "a", Status: "Pull complete"},
	} {
		p.tell(ev)
	}
	p.done()
	equal(t, "without a terminal", out.String(), "a: Pulling fs layer\nb: Already exists\na: Pull complete\n")

	out.Reset()
	p = &progress{out: &out, terminal: true, width: 200, latest: make(map[string]image.Event)}
	p.tell(image.Event{ID: "a", Status: "Downloading", Current: 1e6, Total: 2e6})
	p.tell(image.Event{ID: "b", Status: "Pull complete"})
	want := "\ra: Downloading [=========================>                        ]  1MB/2MB\x1b[K\n"
	equal(t, "on a terminal", out.String(), want+"\x1b[1A"+want+"\rb: Pull complete\x1b[K\n")
	for width, want := range map[int]string{80: "a: Downloading 1MB/2MB", 10: "a: Downl"} {
		got := progressLine(image.Event{ID: "a", Status: "Downloading", Current: 1e6, Total: 2e6}, width)
		if !strings.HasPrefix(got, want) || len(got) >= width {
			t.Errorf("width %d: %q", width, got)
		}
	}
}
