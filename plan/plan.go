// Package plan holds the one idea that lets mydocker show what it does: a kernel operation is a value before it is
// an effect.
//
// Network, container and engine turn a wish into a list of operations by pure functions. One loop applies the list;
// the same list, printed, is what `mydocker --explain` shows. Because both read the same values they cannot drift apart.
//
// It is a leaf: it imports nothing of ours.
package plan

import (
	"errors"
	"os"
)

// Op is one kernel operation, as data.
type Op interface {
	// Command is the shell command that the operation equals: `ip link add br0 type bridge`. It can be pasted into a
	// root shell; where no command equals the operation, it is a comment line starting with "# ".
	Command() string
	// Why says in a few words what the operation is for, in lower case and without a full stop.
	Why() string
}

// Watcher is told of every operation around the moment when it is done. Explaining, single-stepping and the tests that
// fail every operation in turn are watchers.
type Watcher interface {
	// Before may refuse: the operation is then not done, and the error becomes its result.
	Before(Op) error
	// After is given the operation's result and returns the result that counts.
	After(Op, error) error
}

// Remote is a watcher that another process of ours can have a share in: the monitor that is started for a container.
type Remote interface {
	Watcher
	// Connect gives a socket, for the other process to make its watcher of.
	Connect() (*os.File, error)
}

// Speaker is a watcher that shows reasons in a language, en or zh: that of a process which is started for the command shows them in
// the same.
type Speaker interface{ Language() string }

// ErrNothing is what an operation that takes something away returns where there was nothing to take. Do makes success of it.
var ErrNothing = errors.New("there is nothing to take away")

// Undoer is a watcher that shows what is undone. It is told when an operation has found nothing to take away; others see success.
type Undoer interface{ Nothing(Op) error }

// Do performs one operation under the eyes of w. A nil watcher sees nothing and costs nothing.
func Do(w Watcher, op Op, do func() error) error {
	if w == nil {
		if err := do(); err != ErrNothing {
			return err
		}
		return nil
	}
	if err := w.Before(op); err != nil {
		return err
	}
	err := do()
	if err == ErrNothing {
		if u, ok := w.(Undoer); ok {
			return u.Nothing(op)
		}
		err = nil
	}
	return w.After(op, err)
}

// Step is the plainest operation: two strings. It serves where the effect itself is a function call elsewhere.
type Step struct {
	Cmd, Reason string
	// Final says that this operation sets something running that no teardown takes back: a container's command.
	Final bool
}

func (s Step) Command() string { return s.Cmd }
func (s Step) Why() string     { return s.Reason }

// IsFinal says whether an operation cannot be taken back.
func IsFinal(op Op) bool {
	s, ok := op.(Step)
	return ok && s.Final
}
