package engine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mydocker/mydocker/state"
)

// The events take a bounded room; who follows them while the file is rotated misses none, and many may write at once.
func TestEventsAreRotated(t *testing.T) {
	needHost(t)
	dir := t.TempDir()
	e, err := Open(Config{Root: state.Root{Lib: dir, Run: t.TempDir(), NetNS: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	padding := strings.Repeat("x", 64<<10)
	const writers, each = 4, 100 // 25 MiB: three files full
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	seen, done := map[string]int{}, make(chan error, 1)
	ahead := make(chan struct{}, 64) // one who follows has to keep up with two files: so many events are half of one
	began := time.Now()
	e.Emit(Event{Type: "image", Action: "first"})
	go func() {
		done <- e.Events(ctx, EventOptions{Since: began, Each: func(ev Event) error {
			if seen[ev.Action]++; ev.Action != "first" {
				select {
				case <-ahead:
				default: // seen twice, as is told below
				}
			}
			if len(seen) == writers*each+1 {
				cancel()
			}
			return nil
		}})
	}()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				select {
				case ahead <- struct{}{}:
				case <-ctx.Done():
					return
				}
				e.Emit(Event{Type: "image", Action: fmt.Sprint(w, ".", i), Actor: Actor{Attributes: map[string]string{"padding": padding}}})
			}
		})
	}
	all.Wait()
	if err := <-done; err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if len(seen) != writers*each+1 {
		t.Errorf("%d events of %d were seen", len(seen), writers*each+1)
	}
	for action, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", action, n)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files: %v, %v", entries, err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Size() > maxEventsFile+int64(writers)*(int64(len(padding))+1000) {
			t.Errorf("%s: %v, %v", entry.Name(), info.Size(), err)
		}
	}
}
