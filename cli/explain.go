package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/step"
)

// explainer prints each operation when it is about to be done, as the command that it equals, and a failed one's error
// beneath it. What it prints can be pasted into a root shell: everything that is no command is a comment.
type explainer struct {
	out   io.Writer
	color bool
	texts *lang.Catalogue // nil: English
	mu    sync.Mutex
}

func (s *session) explainer(out *os.File) *explainer {
	e := &explainer{out: out, color: s.color(out)}
	if texts, err := s.catalogue(); err == nil { // a language that does not exist is refused elsewhere
		e.texts = texts
	}
	return e
}

// Watcher is the watcher in the monitor of a container, which is a process of its own: with --explain one that writes to the same
// standard error; with `step` one that asks the person who walks through the command, at the other end of remote.
func Watcher(remote *os.File) (plan.Watcher, error) {
	if remote != nil {
		return step.NewRemote(remote)
	}
	s := &session{lookup: os.LookupEnv}
	return s.explainer(os.Stderr), nil
}

// Language is the one that reasons are shown in.
func (e *explainer) Language() string {
	if e.texts == nil {
		return lang.English
	}
	return e.texts.Language()
}

func (e *explainer) Before(op plan.Op) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := io.WriteString(e.out, e.line(op))
	return err
}

func (e *explainer) After(op plan.Op, result error) error {
	if result != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		fmt.Fprintf(e.out, "# failed: %s\n", strings.ReplaceAll(result.Error(), "\n", "; "))
	}
	return result
}

// line is "command   # why", the why in a column of its own where the command is short enough.
func (e *explainer) line(op plan.Op) string {
	const column = 56
	command, why := strings.TrimRight(op.Command(), "\n"), op.Why()
	if why == "" {
		return command + "\n"
	}
	if e.texts != nil {
		why = e.texts.Translated("reason", why)
	}
	last := command[strings.LastIndexByte(command, '\n')+1:]
	pad := strings.Repeat(" ", max(1, column-len(last)))
	if strings.HasPrefix(last, "#") { // no command at all: the line is a comment already
		why = "(" + why + ")"
		pad = " "
	} else {
		why = "# " + why
	}
	if e.color {
		why = "\x1b[2m" + why + "\x1b[0m"
	}
	return command + pad + why + "\n"
}
