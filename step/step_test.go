package step

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/plan"
)

// screen collects what is shown, from several goroutines.
type screen struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// asking is a stepper whose answers stand in a pipe.
func asking(t *testing.T, answers string, reversible bool) (*Stepper, *screen) {
	t.Helper()
	texts, err := lang.Open("en")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if _, err := w.WriteString(answers); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := &screen{}
	return New(r, out, false, reversible, texts), out
}

// command is a plan of four operations, the last of which is final; when one fails, those before it are undone, the last first.
func command(w plan.Watcher, world *[]string) error {
	var done []string
	for _, name := range []string{"a", "b", "c", "run"} {
		op := plan.Step{Cmd: "make " + name, Reason: "because of " + name, Final: name == "run"}
		if err := plan.Do(w, op, func() error { *world = append(*world, name); return nil }); err != nil {
			for i := len(done) - 1; i >= 0; i-- {
				undo := plan.Step{Cmd: "unmake " + done[i], Reason: "the command failed"}
				if err := plan.Do(w, undo, func() error { *world = (*world)[:len(*world)-1]; return nil }); err != nil {
					return err
				}
			}
			return err
		}
		done = append(done, name)
	}
	return plan.Do(w, plan.Step{Cmd: "clean up"}, func() error { *world = append(*world, "clean"); return nil })
}

func TestWalk(t *testing.T) {
	for _, c := range []struct {
		answers, world string
		outcomes       []Outcome
		shown          string
	}{
		{"n\n\nnext\nn\n", "a b c run clean", []Outcome{Finished}, "clean up"},
		{"n\nc\n", "a b c run clean", []Outcome{Finished}, "make run"},
		{"n\nn\nq\n", "", []Outcome{Quit}, "undo: unmake a"},
		{"n\nn\n", "", []Outcome{Quit}, "The input has ended"},
		{"n\nn\nb\nq\n", "", []Outcome{Again, Quit}, "undo: unmake b"},
		{"n\nn\nb\nb\nn\nc\n", "a b c run clean", []Outcome{Again, Again, Finished}, ""},
		{"b\nc\n", "a b c run clean", []Outcome{Finished}, "nothing to undo yet"},
		{"n\nn\nn\nb\nn\nn\n", "a b c run clean", []Outcome{Again, Finished}, ""},
	} {
		s, out := asking(t, c.answers, true)
		var world []string
		var outcomes []Outcome
		for {
			err := command(s, &world)
			if s.Leaving() != (err != nil) {
				t.Errorf("%q: leaving %v, error %v", c.answers, s.Leaving(), err)
			}
			o := s.Outcome()
			outcomes = append(outcomes, o)
			if o != Again {
				break
			}
			if len(world) > 0 {
				t.Errorf("%q: %v is left before the next turn", c.answers, world)
			}
		}
		if got := strings.Join(world, " "); got != c.world || fmt.Sprint(outcomes) != fmt.Sprint(c.outcomes) {
			t.Errorf("%q: made %q, outcomes %v; want %q, %v\n%s", c.answers, got, outcomes, c.world, c.outcomes, out)
		}
		if !strings.Contains(out.String(), c.shown) || strings.Contains(out.String(), "⟪") {
			t.Errorf("%q: no %q in\n%s", c.answers, c.shown, out)
		}
	}
}

// What a command that undoes nothing has begun is not gone on with.
func TestQuitWithoutAWayBack(t *testing.T) {
	s, out := asking(t, "n\nb\nq\n", false)
	done := 0
	for i := range 5 { // such commands go on after an error
		err := plan.Do(s, plan.Step{Cmd: fmt.Sprint("remove ", i)}, func() error { done++; return nil })
		if (i > 0) != errors.Is(err, ErrQuit) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if done != 1 || s.Outcome() != Quit || !strings.Contains(out.String(), "cannot be brought back") {
		t.Errorf("%d done\n%s", done, out)
	}
}

// Operations of many goroutines are asked about one after the other, also those in other processes.
func TestSideBySide(t *testing.T) {
	const n = 20
	s, out := asking(t, strings.Repeat("n\n", 3*n), true)
	var wg sync.WaitGroup
	work := func(w plan.Watcher, name string) {
		for i := range n {
			op := plan.Step{Cmd: fmt.Sprintf("%s %d", name, i), Reason: "to see"}
			if err := plan.Do(w, op, func() error { return nil }); err != nil {
				t.Errorf("%s %d: %v", name, i, err)
			}
		}
	}
	wg.Go(func() { work(s, "one") })
	wg.Go(func() { work(s, "two") })
	f, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	remote, err := NewRemote(f)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { work(remote, "three") })
	wg.Wait()
	for i, block := range strings.Split(strings.TrimSuffix(out.String(), "help? n\n"), "help? n\n") {
		if strings.Count(block, "# to see") != 1 || !strings.HasPrefix(block, fmt.Sprintf("%3d  ", i+1)) {
			t.Fatalf("operation %d is shown as\n%s", i+1, block)
		}
	}
}

func TestRemote(t *testing.T) {
	s, out := asking(t, "n\nn\n! echo in the middle\nq\n", true)
	f, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	remote, err := NewRemote(f)
	if err != nil {
		t.Fatal(err)
	}
	var world []string
	if err := command(remote, &world); err == nil || err.Error() != ErrQuit.Error() || len(world) > 0 || s.Outcome() != Quit {
		t.Errorf("%v, %v", err, world)
	}
	if !strings.Contains(out.String(), "in the middle") || !strings.Contains(out.String(), "undo: unmake b") {
		t.Errorf("shown:\n%s", out)
	}

	// A failure is told; what comes after the final operation is the other process' own business.
	s, out = asking(t, strings.Repeat("n\n", 9), true)
	if f, err = s.Connect(); err != nil {
		t.Fatal(err)
	}
	if remote, err = NewRemote(f); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("no space\nleft")
	if err := plan.Do(remote, plan.Step{Cmd: "fail"}, func() error { return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if err := command(remote, &world); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "# failed: no space; left") || strings.Contains(out.String(), "clean up") {
		t.Errorf("shown:\n%s", out)
	}
}

// When the person's command is gone, what the other process has half made is undone.
func TestRemoteAlone(t *testing.T) {
	s, _ := asking(t, "n\n", true)
	f, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	remote, err := NewRemote(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(remote, plan.Step{Cmd: "one"}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	remote.conn.Close()
	var world []string
	if err := command(remote, &world); !errors.Is(err, ErrQuit) || len(world) > 0 {
		t.Errorf("%v, %v", err, world)
	}
}

// A shell wants a terminal; a command that fails is told and asked again.
func TestShell(t *testing.T) {
	t.Setenv("SHELL", "/bin/sh")
	s, out := asking(t, "s\n! exit 3\n! echo $((40+2))\nn\n", true)
	done := make(chan error, 1)
	go func() { done <- plan.Do(s, plan.Step{Cmd: "one"}, func() error { return nil }) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("nobody answers")
	}
	for _, want := range []string{"A shell needs a terminal", "exit status 3", "42\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
