package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplaceIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "file")
	for _, d := range []Durability{Volatile, Durable} {
		if err := ReplaceJSON(path, map[string]int{"a": 1}, d); err != nil {
			t.Fatal(err)
		}
		var got map[string]int
		if err := ReadJSON(path, &got); err != nil || got["a"] != 1 {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the file: %v, %v", entries, err)
	}
}

// TestRewriteOnlyWhatIsThere: a record that somebody has removed does not come back.
func TestRewriteOnlyWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "file")
	if err := RewriteJSON(path, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := ReplaceJSON(path, 1, Volatile); err != nil {
		t.Fatal(err)
	}
	if err := RewriteJSON(path, 2); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "2\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the file: %v, %v", entries, err)
	}
}

func TestSweepTakesOnlyWhatTheDeadLeft(t *testing.T) {
	dir := t.TempDir()
	alive, err := createTemp(filepath.Join(dir, "sub", "alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	dead, err := createTemp(filepath.Join(dir, "sub", "dead"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil { // as the kernel does when a process is killed
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "record"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removed, err := Sweep(dir, 1)
	if err != nil || len(removed) != 1 || removed[0] != dead.Name() {
		t.Errorf("removed %v, %v; want %s", removed, err, dead.Name())
	}
	if _, err := os.Stat(alive.Name()); err != nil {
		t.Error(err)
	}
}

func TestReadDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(path, []byte(`{"a":`), 0o600); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := ReadJSON(path, &v); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a torn record: %v", err)
	}
	if err := ReadJSON(path+"x", &v); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing record: %v", err)
	}
}

func TestClaimHasOneWinner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "names", "web")
	var wg sync.WaitGroup
	won := make(chan string, 50)
	for i := range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			me := fmt.Sprint(i)
			err := Claim(path, me)
			var taken *Taken
			switch {
			case err == nil:
				won <- me
			case !errors.As(err, &taken) || taken.Owner == "":
				t.Errorf("claim %s: %v", me, err)
			}
		}()
	}
	wg.Wait()
	close(won)
	var winners []string
	for w := range won {
		winners = append(winners, w)
	}
	if len(winners) != 1 {
		t.Fatalf("winners: %v", winners)
	}
	if err := Unclaim(path, "somebody else"); err != nil {
		t.Fatal(err)
	}
	if err := Claim(path, "x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("somebody else gave it back: %v", err)
	}
	if err := Unclaim(path, winners[0]); err != nil {
		t.Fatal(err)
	}
	if err := Claim(path, "x"); err != nil {
		t.Error(err)
	}
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks", "l")
	if held, err := Held(path); held || err != nil {
		t.Fatalf("a lock that is not there is held: %v, %v", held, err)
	}
	l, err := AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if held, err := Held(path); !held || err != nil {
		t.Errorf("held: %v, %v", held, err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	s1, err1 := AcquireShared(path)
	s2, err2 := AcquireShared(path)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); held || err != nil {
		t.Errorf("a shared lock counts as held: %v, %v", held, err)
	}
	if err := errors.Join(s1.Release(), s2.Release()); err != nil {
		t.Fatal(err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 4095, 4096, 4097, 10000} {
		path := filepath.Join(dir, fmt.Sprint(size))
		want := bytes.Repeat([]byte{'x'}, size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	// What /proc shows has no size.
	want, err := os.ReadFile("/proc/filesystems")
	if got, readErr := ReadFile("/proc/filesystems"); err != nil || readErr != nil || !bytes.Equal(got, want) {
		t.Errorf("filesystems: %v, %v\n%s", err, readErr, got)
	}
	if _, err := ReadFile(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := ReadFile(dir); !errors.Is(err, unix.EISDIR) {
		t.Errorf("a directory: %v", err)
	}
}

// Who only asks for a lock keeps nobody from taking it.
func TestAskingIsNotHolding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := Held(path); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2000 {
		l, err := TryLock(path)
		if err != nil {
			t.Error(err)
			break
		}
		l.Release()
	}
	close(stop)
	asking.Wait()
}
