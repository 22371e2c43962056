package registry

import (
	"strings"
	"testing"

	"github.com/mydocker/mydocker/image"
)

func TestPrinterOnATerminal(t *testing.T) {
	var out strings.Builder
	p := NewPrinter(&out, 60)
	p.Tell(image.Event{ID: "aaaaaaaaaaaa", Status: "Pulling fs layer"})
	p.Tell(image.Event{ID: "bbbbbbbbbbbb", Status: "Downloading", Current: 500_000, Total: 1_000_000})
	p.Tell(image.Event{ID: "aaaaaaaaaaaa", Status: "Pull complete"})
	p.Close()
	frames := strings.Split(out.String(), "\x1b[2A")
	want := "\raaaaaaaaaaaa: Pull complete\x1b[K\n\rbbbbbbbbbbbb: Downloading [=========>          ]  500kB/1MB\x1b[K\n"
	if got := frames[len(frames)-1]; got != want {
		t.Errorf("the last frame is %q, want %q", got, want)
	}
	for _, l := range strings.Split(out.String(), "\n") {
		if i := strings.LastIndex(l, "\r"); i >= 0 && len(strings.TrimSuffix(l[i+1:], "\x1b[K")) >= 60 {
			t.Errorf("%q is wider than the terminal", l)
		}
	}
}

func TestPrinterElsewhere(t *testing.T) {
	var out strings.Builder
	p := NewPrinter(&out, 0)
	for _, status := range []string{"Pulling fs layer", "Downloading", "Downloading", "Download complete", "Pull complete"} {
		p.Tell(image.Event{ID: "aaaaaaaaaaaa", Status: status, Current: 1, Total: 2})
	}
	p.Close()
	if want := "aaaaaaaaaaaa: Pulling fs layer\naaaaaaaaaaaa: Download complete\naaaaaaaaaaaa: Pull complete\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 1_234_567: "1.235MB", 45_600_000: "45.6MB", 2_000_000_000: "2GB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
