// Package remote is how the command line has something done at a registry: a request and its answers, as plain data.
//
// They are data because two programs may stand at the two ends. What speaks HTTP and TLS costs every process that links it
// half a millisecond at its start, and a `run` starts several processes. So `make` puts the part that speaks to registries
// into mydocker as a compressed program of its own (package helper), which pull, push and login start; a plain `go build`
// links it in. Both call worker.Do.
package remote

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Request is one thing to do.
type Request struct {
	Verb string // pull, tags, push, login, logout
	Root state.Root

	Ref      string // pull and push: the image; tags: any name of its repository
	Platform string // pull: os/architecture[/variant]; "" is the host's

	Server, User, Password string // login and logout

	Insecure, SkipTLSVerify bool
	UserAgent               string
}

// Answer is a piece of news while the work goes on, or, with Done, its result.
type Answer struct {
	Event *image.Event `json:",omitempty"`

	Done   bool         `json:",omitempty"`
	Digest image.Digest `json:",omitempty"` // pull and push: of what the registry has under the name
	Fresh  bool         `json:",omitempty"` // pull: it was not here before
	Stored bool         `json:",omitempty"` // pull: something came into the store
	Known  bool         `json:",omitempty"` // logout: there were credentials
	Tags   []string     `json:",omitempty"` // tags: those that the repository has
	Error  string       `json:",omitempty"`
	Absent bool         `json:",omitempty"` // the error is an fs.ErrNotExist
}

// Failed is an error that came as an answer.
type Failed struct {
	Message string
	Absent  bool
}

func (f *Failed) Error() string        { return f.Message }
func (f *Failed) Is(target error) bool { return f.Absent && target == fs.ErrNotExist }

// Result is the final answer as a value and an error.
func (a Answer) Result() (Answer, error) {
	if a.Error != "" {
		return a, &Failed{Message: a.Error, Absent: a.Absent}
	}
	return a, nil
}

// Finish is the final answer of work that ended in err.
func Finish(a Answer, err error) Answer {
	a.Done = true
	if err != nil {
		a.Error, a.Absent = err.Error(), errors.Is(err, fs.ErrNotExist)
	}
	return a
}

// Read reads answers until the final one, and passes the news on.
func Read(r io.Reader, tell image.Progress) (Answer, error) {
	for d := json.NewDecoder(r); ; {
		var a Answer
		if err := d.Decode(&a); err != nil {
			return a, err
		}
		if a.Done {
			return a.Result()
		}
		if a.Event != nil && tell != nil {
			tell(*a.Event)
		}
	}
}
