package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/plan"
)

// A command that may go on without the one who typed `exec` has a parent of its own: a process of ours that waits for it, and
// that holds its terminal.
//
//	exec -d     nobody listens: what the command says to its terminal is thrown away
//	exec -t     the caller gets the terminal's master through a socket and uses it directly. The parent holds another
//	            copy of it, so the command does not notice when the caller detaches.
//
//	caller                              exec-child
//	  <- the master (SCM_RIGHTS)          once the command is started
//	  -> detachByte                       from now on the parent reads what nobody else will; the socket is closed
//	  <- childExit (JSON)                 the command has ended
//
// A caller that goes away without a word is a connection that broke: the command is hung up on, as by any terminal.

// childExec is what exec-child is told.
type childExec struct {
	ID      string // of the exec, for the events
	Process *specs.Process
}

// childExit is what exec-child tells a caller with a terminal in the end.
type childExit struct {
	Code  int
	Error string
}

const detachByte = 'd'

// execChild starts a command by way of a parent of its own. client is the parent's end of the socket of exec -t, else nil.
func (e *Engine) execChild(d *Definition, c *container.Container, x *execRun, p *specs.Process, client *os.File) (int, error) {
	process, err := json.Marshal(childExec{x.id, p})
	if err != nil {
		return 125, exitWith(125, err)
	}
	h, err := e.launch("exec-child", client)
	if err != nil {
		return 125, exitWith(125, err)
	}
	defer h.dismiss()
	if err := h.send(orders{ID: d.ID, Process: process}); err != nil {
		return 125, exitWith(125, err)
	}
	if err := h.wait(); err != nil {
		if down := e.unlessDown(d, c, err); down != err {
			return 1, down
		}
		return exitCode(err), err
	}
	return 0, nil
}

// ExecChildMain is `mydocker exec-child`. For watcher see MonitorMain.
func ExecChildMain(watcher func(remote *os.File) (plan.Watcher, error)) int {
	o, tell, ok := takeOrders()
	var what childExec
	if !ok || json.Unmarshal(o.Process, &what) != nil || what.Process == nil {
		tell(errors.New("exec-child: this command is for mydocker itself; use exec -d"))
		return 125
	}
	client, err := o.client()
	if err != nil {
		tell(err)
		return 125
	}
	e, err := o.open(watcher)
	if err != nil {
		tell(err)
		return 125
	}
	proc, err := e.startChild(o.ID, what.Process, client)
	tell(execError(err))
	if err != nil {
		return 125
	}
	leaveStderr()
	if console := proc.Console(); console != nil {
		go keepTerminal(client, console)
	}
	settle()
	exit, err := proc.Wait()
	if d, findErr := e.readDefinition(o.ID); findErr == nil { // else it went with the container
		(&execRun{e, d, what.ID}).ended(exit.Code)
	}
	if client != nil {
		_ = json.NewEncoder(client).Encode(childExit{exit.Code, errorText(err)}) // it may have gone
	}
	if err != nil {
		return 1
	}
	return exit.Code
}

// startChild starts the command, and gives its terminal to the client, if there is one.
func (e *Engine) startChild(id string, p *specs.Process, client net.Conn) (*container.ExecProcess, error) {
	c, err := e.runtime.Load(id)
	if err != nil {
		return nil, err
	}
	proc, err := c.Exec(context.Background(), container.ExecOptions{Process: p})
	if err != nil || client == nil {
		return proc, err
	}
	return proc, sendFile(client, proc.Console())
}

// keepTerminal does what is to be done with a command's terminal when the client, if any, is no longer there.
func keepTerminal(client net.Conn, console *os.File) {
	if client != nil {
		word := make([]byte, 1)
		if _, err := io.ReadFull(client, word); err != nil || word[0] != detachByte {
			console.Close() // the last copy: the kernel sends SIGHUP
			return
		}
	}
	_, _ = io.Copy(io.Discard, console) // somebody has to read, or the command would stall
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sendFile passes a descriptor to the other end of a Unix socket.
func sendFile(conn net.Conn, f *os.File) error {
	_, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
	return os.NewSyscallError("sendmsg", err)
}

// receiveFile is the other side of sendFile.
func receiveFile(conn *net.UnixConn, name string) (*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no descriptor came through the socket"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no descriptor came through the socket"), err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), name), nil
}
