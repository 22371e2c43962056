package container

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The conversation between the creator and init, over a socketpair that init finds as a descriptor:
//
//	creator                                        init
//	   |  clone(NEWPID|NEWNS|…), exec init            |
//	   |--------------------------------------------->| Go starts up
//	   |  (meanwhile: cgroup, root file system)       |
//	   |-- config (+ rootfs, barrier descriptors) --->| does the steps, one by one
//	   |-- trees (+ descriptors) -------------------->| only where init itself could not open what it binds
//	   |<- before #n, after #n ----- only if watched -|
//	   |-- verdict ---------------------------------->|
//	   |<- hooks -------------------------------------| only if the bundle has hooks for the creator
//	   |-- verdict ---------------------------------->|
//	   |<- console (+ descriptor) --------------------| only with a terminal
//	   |<- ready -------------------------------------| at the start barrier
//	   |-- start ------------------------------------>|
//	   |<- labels ------------------------------------| init becomes its last program (trampoline.go)
//	   |<- listener (+ descriptor) -------------------| only with a seccomp filter that asks a program outside
//	   |<- end of file -------------------------------| execve closed the socket: the command runs
//
// At any point init may send "failed" and end. When the creator ends, init reads end of file and ends too. If the
// creator asked to go away after "ready", init waits at a listening socket instead, and whoever connects speaks the
// last lines.
type messageType byte

const (
	msgConfig messageType = iota + 1
	msgBefore
	msgAfter
	msgVerdict
	msgHooks
	msgConsole
	msgReady
	msgStart
	msgFailed
	msgLabels   // what the rows of the last program are for
	msgRow      // a row of the last program failed: see rowFailure
	msgListener // a descriptor: the seccomp filter's listener
	msgTrees    // descriptors: detached mounts for steps that bind
	msgMounts   // descriptors: file systems that the first process has made (direct.go)
	msgBorn     // a process id: who was born in place of the sender
)

// maxFiles is the largest number of descriptors in one message.
const maxFiles = 8

// maxMessage bounds what one side makes the other allocate: arguments and environment may be some megabytes.
const maxMessage = 64 << 20

// conn is one end of the conversation: a length, a type, a payload, and sometimes descriptors.
type conn struct{ fd int }

// frame is a message as it is sent.
func frame(t messageType, payload []byte) []byte {
	head := make([]byte, 5, 5+len(payload))
	binary.LittleEndian.PutUint32(head, uint32(len(payload)))
	head[4] = byte(t)
	return append(head, payload...)
}

// send writes one message. MSG_NOSIGNAL: a peer that has gone is an error, not a SIGPIPE.
func (c conn) send(t messageType, payload []byte, files ...int) error {
	data := frame(t, payload)
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	for len(data) > 0 {
		n, err := unix.SendmsgN(c.fd, data, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		data, rights = data[n:], nil
	}
	return nil
}

// receive reads one message. io.EOF means that the other side has closed before one began.
func (c conn) receive() (messageType, []byte, []int, error) {
	var head [5]byte
	files, err := c.readFull(head[:])
	if err != nil {
		return 0, nil, nil, err
	}
	size := binary.LittleEndian.Uint32(head[:4])
	if size > maxMessage {
		return 0, nil, files, fmt.Errorf("message of %d bytes", size)
	}
	payload := make([]byte, size)
	more, err := c.readFull(payload)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return messageType(head[4]), payload, append(files, more...), err
}

func (c conn) readFull(buf []byte) (files []int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	for done := 0; done < len(buf); {
		n, oobn, _, _, err := unix.Recvmsg(c.fd, buf[done:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return files, fmt.Errorf("receive: %w", err)
		}
		if oobn > 0 {
			got, err := parseRights(oob[:oobn])
			if err != nil {
				return files, err
			}
			files = append(files, got...)
		}
		if n == 0 {
			if done == 0 {
				return files, io.EOF
			}
			return files, io.ErrUnexpectedEOF
		}
		done += n
	}
	return files, nil
}

func parseRights(oob []byte) ([]int, error) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive descriptors: %w", err)
	}
	var files []int
	for i := range list {
		got, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			return nil, fmt.Errorf("receive descriptors: %w", err)
		}
		files = append(files, got...)
	}
	return files, nil
}

// encoder and decoder write the config in the plainest form: numbers as varints, strings with their length. JSON would
// cost a container's start a tenth of a millisecond.
type encoder struct{ buf []byte }

func (e *encoder) uint(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }
func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
	} else {
		e.uint(0)
	}
}
func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.buf = append(e.buf, s...)
}
func (e *encoder) strings(list []string) {
	e.uint(uint64(len(list)))
	for _, s := range list {
		e.string(s)
	}
}

type decoder struct {
	buf []byte
	err error
}

var errShortConfig = errors.New("the config ends too early")

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.buf)
	if size <= 0 {
		d.buf, d.err = nil, errShortConfig
		return 0
	}
	d.buf = d.buf[size:]
	return n
}

func (d *decoder) bool() bool { return d.uint() != 0 }

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.buf)) {
		d.buf, d.err = nil, errShortConfig
		return ""
	}
	s := string(d.buf[:n])
	d.buf = d.buf[n:]
	return s
}

func (d *decoder) strings() []string {
	n := d.uint()
	if n > uint64(len(d.buf)) { // every string takes at least one byte
		d.buf, d.err = nil, errShortConfig
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

// socketPair makes both ends, closed on exec.
func socketPair() (ours, theirs int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return pair[0], pair[1], nil
}

// failure is an error that crosses the socket: its text, the kernel's number, and for a command that cannot be executed
// the exit status.
type failure struct {
	text    string
	errno   unix.Errno
	code    int
	command string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

func encodeError(err error) []byte {
	var e encoder
	f := failure{text: err.Error()}
	var command *CommandError
	if errors.As(err, &command) {
		f.code, f.command, f.text = command.Code, command.Command, command.Err.Error()
	}
	errors.As(err, &f.errno)
	e.string(f.text)
	e.uint(uint64(f.errno))
	e.uint(uint64(f.code))
	e.string(f.command)
	return e.buf
}

func decodeError(payload []byte) error {
	d := decoder{buf: payload}
	f := &failure{text: d.string(), errno: unix.Errno(d.uint()), code: int(d.uint()), command: d.string()}
	if d.err != nil {
		return fmt.Errorf("an error that cannot be read: %w", d.err)
	}
	if f.code != 0 {
		return &CommandError{Command: f.command, Code: f.code, Err: f}
	}
	return f
}

// interrupt ends the conversation when ctx ends, so that nobody waits for ever in receive. The function it returns must
// be called before the descriptor is closed: after it nothing touches the descriptor any more.
func (c conn) interrupt(ctx context.Context) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
