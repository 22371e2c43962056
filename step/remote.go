package step

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// A container that may outlive the command (run -d, -t, a restart policy) is started by its monitor, a process of its own without a
// terminal. Its operations are asked about here all the same, over a socket:
//
//	monitor                          the command, with the person
//	  | --- {"Kind","Cmd","Why"} --->  Before
//	  | <-- {"Error"} --------------
//	  |     does it
//	  | --- {"Done","Error"} ------->  After
//	  | <-- {} ----------------------
//
// When the command is gone, or the container runs, the monitor asks no more.

type question struct {
	Kind, Cmd, Why string
	Final          bool   `json:",omitempty"`
	Done           bool   `json:",omitempty"` // it has been done
	Error          string `json:",omitempty"` // with this result
	Nothing        bool   `json:",omitempty"` // there was nothing to take away
}

type verdict struct {
	Error string `json:",omitempty"`
}

// Connect makes a socket by which a Remote in another process asks this stepper. The caller closes the file when the other has it.
func (s *Stepper) Connect() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "stepper"), os.NewFile(uintptr(fds[1]), "stepped")
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		theirs.Close()
		return nil, err
	}
	go s.serve(conn)
	return theirs, nil
}

func (s *Stepper) serve(conn net.Conn) {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var q question
		if err := in.Decode(&q); err != nil {
			return // the monitor has ended, or asks no more
		}
		op := plan.Step{Cmd: q.Cmd, Reason: q.Why, Final: q.Final}
		var err error
		if q.Done {
			if q.Error != "" {
				err = errors.New(q.Error)
			}
			if q.Nothing {
				_ = s.Nothing(op)
			} else {
				_ = s.After(op, err) // the result is the monitor's own
			}
			err = nil
		} else {
			err = s.before(op, q.Kind)
		}
		var v verdict
		if err != nil {
			v.Error = err.Error()
		}
		if err := out.Encode(v); err != nil {
			return
		}
	}
}

// Remote is the watcher in the other process.
type Remote struct {
	mu   sync.Mutex
	conn net.Conn // nil when nobody is asked any more
	in   *json.Decoder
	out  *json.Encoder
}

// NewRemote asks the stepper at the other end of a socket. The file is closed.
func NewRemote(f *os.File) (*Remote, error) {
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	return &Remote{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

// Before asks.
func (r *Remote) Before(op plan.Op) error {
	return r.ask(question{Kind: kindOf(op), Cmd: op.Command(), Why: op.Why(), Final: plan.IsFinal(op)})
}

// After tells the result.
func (r *Remote) After(op plan.Op, result error) error {
	q := question{Kind: kindOf(op), Cmd: op.Command(), Why: op.Why(), Final: plan.IsFinal(op), Done: true}
	if result != nil {
		q.Error = result.Error()
	}
	err := r.ask(q)
	if q.Final && result == nil {
		r.hangUp()
	}
	return errors.Join(result, err)
}

// Nothing tells that there was nothing to take away.
func (r *Remote) Nothing(op plan.Op) error {
	return r.ask(question{Kind: kindOf(op), Cmd: op.Command(), Why: op.Why(), Done: true, Nothing: true})
}

func (r *Remote) ask(q question) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return nil
	}
	var v verdict
	err := r.out.Encode(q)
	if err == nil {
		err = r.in.Decode(&v)
	}
	if err != nil {
		// The person's command was killed: the container must not be half a container, so it is undone. What follows is not asked about.
		r.conn.Close()
		r.conn = nil
		return ErrQuit
	}
	if v.Error != "" {
		return errors.New(v.Error)
	}
	return nil
}

func kindOf(op plan.Op) string { return fmt.Sprintf("%T", op) }

func (r *Remote) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}
