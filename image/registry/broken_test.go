package registry

import (
	"context"
	"errors"
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

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

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
