// Package step lets a person walk through what mydocker does, one operation at a time: it is a plan.Watcher that shows each
// operation, with the command that it equals and its reason, and waits for an answer before the operation is done.
//
// "Back" does not undo a single operation: many have no inverse of their own (a mount in the container's namespace, a seccomp filter). It
// lets the operation that is being asked about fail. Then the command takes back all that it has done, by the teardown that every failed
// command uses, and is run once more, without asking, up to the operation before. What the learner sees is therefore what really
// happens when a start fails; the new run has new ids, and may have a new address.
//
// Once a container's command runs (plan.Final) there is no way back: a program has done what nobody can take back. From there on
// nothing is asked, only shown.
package step

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/plan"
)

// Outcome is how one run of the command ended.
type Outcome int

const (
	// Finished: it came to its end, or failed by itself.
	Finished Outcome = iota
	// Quit: it was stopped by the person.
	Quit
	// Again: it has been undone, and is to be run once more.
	Again
)

// ErrQuit is the result of an operation that the person did not want.
var ErrQuit = errors.New("stopped by you")

var errBack = errors.New("one step back")

// Stepper is the watcher.
type Stepper struct {
	texts *lang.Catalogue
	in    *os.File
	out   io.Writer
	color bool
	// reversible says that the command undoes what it has done when one of its operations fails.
	reversible bool

	asking sync.Mutex // held while the person thinks: operations of other goroutines wait
	mu     sync.Mutex // guards what follows
	mode   mode
	seen   []key // the operations of this run that were met, in their order
	until  *mark // replaying: where to ask again
	again  bool  // leaving in order to come back
	asked  bool  // ever
	// undoing are the commands that were begun in order to undo: each is shown when it turns out that there was something to undo.
	undoing map[string]int
}

// mode is what happens at the next operation.
type mode int

const (
	ask       mode = iota
	replay         // pass, until the mark
	goOn           // pass and show
	undo           // the command takes back what it did: pass and show
	refuseAll      // the command takes nothing back: let nothing more happen
)

// key names an operation in a way that is the same in another run, where ids, names and addresses may differ: by its kind and its reason.
type key struct{ kind, why string }

// mark is the n-th operation of a key.
type mark struct {
	key key
	n   int
}

// New makes a stepper that asks on in and shows on out.
func New(in *os.File, out io.Writer, color, reversible bool, texts *lang.Catalogue) *Stepper {
	return &Stepper{in: in, out: out, color: color, reversible: reversible, texts: texts, undoing: map[string]int{}}
}

// Before shows an operation and waits for the answer.
func (s *Stepper) Before(op plan.Op) error { return s.before(op, kindOf(op)) }

func (s *Stepper) before(op plan.Op, kind string) error {
	s.asking.Lock()
	defer s.asking.Unlock()
	number, m := s.meet(key{kind, op.Why()}, plan.IsFinal(op))
	switch m {
	case replay:
		return nil
	case goOn:
		s.show(op, number)
		return nil
	case undo:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.undoing[op.Command()]++
		return nil
	case refuseAll:
		return ErrQuit
	}
	s.show(op, number)
	return s.dialogue()
}

// meet counts an operation, and says what is to be done about it.
func (s *Stepper) meet(k key, final bool) (number int, m mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == undo || s.mode == refuseAll {
		return 0, s.mode
	}
	s.seen = append(s.seen, k)
	if s.mode == replay && (final || *s.until == s.here()) {
		// A final operation is never passed over: it cannot be taken back.
		s.mode, s.until = ask, nil
	}
	s.asked = s.asked || s.mode == ask
	return len(s.seen), s.mode
}

// here is the mark of the operation that was met last.
func (s *Stepper) here() mark { return s.markOf(len(s.seen) - 1) }

func (s *Stepper) markOf(i int) mark {
	m := mark{key: s.seen[i]}
	for _, k := range s.seen[:i] {
		if k == m.key {
			m.n++
		}
	}
	return m
}

// After shows what went wrong.
func (s *Stepper) After(op plan.Op, result error) error {
	s.mu.Lock()
	if plan.IsFinal(op) && result == nil {
		s.mode = goOn
	}
	quiet := s.mode == undo || s.mode == refuseAll
	undone := s.ended(op)
	s.mu.Unlock()
	if undone && result == nil {
		s.say("step.undone", "command", strings.ReplaceAll(strings.TrimRight(op.Command(), "\n"), "\n", "\n     "))
	}
	if result != nil && !quiet {
		s.say("step.failed", "error", strings.ReplaceAll(result.Error(), "\n", "; "))
	}
	return result
}

// Nothing is for what there was nothing to undo of: it was never done, or is undone already.
func (s *Stepper) Nothing(op plan.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended(op)
	return nil
}

// ended says whether an operation that is over was begun in order to undo.
func (s *Stepper) ended(op plan.Op) bool {
	command := op.Command()
	if s.undoing[command] == 0 {
		return false
	}
	s.undoing[command]--
	return true
}

// Outcome says how the run ended that is over now, and gets ready for the next.
func (s *Stepper) Outcome() Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mode != undo && s.mode != refuseAll:
		return Finished
	case s.again:
		s.mode, s.again = replay, false
		s.seen = nil
		return Again
	}
	return Quit
}

// Leaving says that the person has had enough: nothing new should be begun.
func (s *Stepper) Leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode == undo || s.mode == refuseAll
}

// Asked says whether there was any operation to ask about.
func (s *Stepper) Asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// dialogue asks until the answer decides what becomes of the operation.
func (s *Stepper) dialogue() error {
	for {
		answer, err := s.readAnswer()
		if err != nil {
			s.say("step.input-ended")
			return s.leave(ErrQuit)
		}
		switch word := strings.ToLower(answer); {
		case strings.HasPrefix(answer, "!"):
			s.shell(strings.TrimSpace(answer[1:]))
		case word == "" || word == "n" || word == "next":
			return nil
		case word == "c" || word == "continue":
			s.setMode(goOn)
			return nil
		case word == "q" || word == "quit":
			return s.leave(ErrQuit)
		case word == "s" || word == "shell":
			s.shell("")
		case word == "b" || word == "back":
			if s.back() {
				return s.leave(errBack)
			}
		case word == "h" || word == "help" || word == "?":
			s.say("step.help")
		default:
			s.say("step.unknown", "answer", answer)
		}
	}
}

// back prepares to go one step back, if there is one.
func (s *Stepper) back() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.reversible:
		s.say("step.no-way-back")
		return false
	case len(s.seen) < 2:
		s.say("step.first")
		return false
	}
	m := s.markOf(len(s.seen) - 2)
	s.until, s.again = &m, true
	return true
}

func (s *Stepper) leave(why error) error {
	if s.reversible {
		s.setMode(undo)
	} else {
		s.setMode(refuseAll)
	}
	return why
}

func (s *Stepper) setMode(m mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// readAnswer prints the prompt and reads a line, byte by byte: what comes behind it may be meant for the container. ctrl-c is "quit".
func (s *Stepper) readAnswer() (string, error) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT)
	defer signal.Stop(interrupted)
	fmt.Fprint(s.out, s.texts.Text("step.prompt")+" ")
	type answer struct {
		text string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		text, err := readLine(s.in)
		read <- answer{text, err}
	}()
	select {
	case <-interrupted:
		fmt.Fprintln(s.out)
		return "quit", nil
	case a := <-read:
		if !isTerminal(s.in) {
			fmt.Fprintln(s.out, a.text) // or the prompts would stand in one line
		}
		return strings.TrimSpace(a.text), a.err
	}
}

func readLine(in io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := in.Read(one)
		if n == 1 && one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[:n]...)
		if err != nil {
			if len(line) > 0 && errors.Is(err, io.EOF) {
				return string(line), nil
			}
			return "", err
		}
	}
}

// show prints an operation.
func (s *Stepper) show(op plan.Op, number int) {
	command, why := strings.TrimRight(op.Command(), "\n"), s.texts.Translated("reason", op.Why())
	if s.color {
		command = "\x1b[1m" + command + "\x1b[0m"
	}
	head := fmt.Sprintf("%3d  ", number)
	fmt.Fprintf(s.out, "%s%s\n", head, strings.ReplaceAll(command, "\n", "\n     "))
	if why != "" {
		fmt.Fprintf(s.out, "     # %s\n", why)
	}
}

func (s *Stepper) say(key string, placeholders ...any) {
	fmt.Fprintln(s.out, s.texts.Text(key, placeholders...))
}
