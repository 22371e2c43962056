package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

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

// TestRottenPart: a power failure can leave zeros at the end of what an interrupted pull has kept. The next pull finds out, and begins that
// layer anew; when the registry's own is damaged as well it says so, and does not try for ever.
func TestRottenPart(t *testing.T) {
	host := serve(t, "")
	from, _ := newStore(t)
	importFiles(t, from, host+"/part:1", map[string]string{"f": noise(t, 1<<20)})
	if _, err := newClient(t, Options{}).Push(context.Background(), from, host+"/part:1", PushOptions{}); err != nil {
		t.Fatal(err)
	}
	img, err := from.Get(host + "/part:1")
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	var rotten atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if rotten.Load() && strings.Contains(r.Request.URL.Path, "/blobs/") && r.ContentLength > 100_000 {
			r.Body = io.NopCloser(bytes.NewReader(make([]byte, r.ContentLength)))
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/part:1"
	for _, registryToo := range []bool{false, true} {
		rotten.Store(registryToo)
		to, dir := newStore(t)
		parts := dir + "/lib/images/ingest/"
		if err := os.MkdirAll(parts, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(parts+img.Archives[0].Encoded()+".part", make([]byte, 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
		pulled, err := newClient(t, Options{}).Pull(context.Background(), to, ref, PullOptions{})
		if registryToo && (err == nil || !strings.Contains(err.Error(), "arrived damaged")) {
			t.Errorf("a registry whose layer is damaged, too: %v", err)
		}
		if !registryToo && (err != nil || pulled.ID != img.ID) {
			t.Errorf("a damaged beginning: %v, %v", pulled, err)
		}
		if left, err := filepath.Glob(parts + "*"); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}
