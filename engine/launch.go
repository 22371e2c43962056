package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// A command that needs a monitor launches it before it knows for what: a Go program takes a millisecond or two to start,
// during which the container can be defined. The monitor then waits at its standard input for orders; when that ends without
// any, it goes away.

// orders are what our own processes are told when they start: the engine's configuration and the container.
type orders struct {
	Config monitorConfig
	ID     string
	// Watched lets its operations be watched, too; Remote says that there is a socket to the command's own watcher.
	Watched, Remote bool `json:",omitempty"`
	// Client says that there is one at patientFD.
	Client bool `json:",omitempty"`
	// Adopt: the container runs, and has lost its monitor.
	Adopt bool `json:",omitempty"`
	// Process is what exec-child is to start: childExec.
	Process json.RawMessage `json:",omitempty"`
}

type monitorConfig struct {
	Root     state.Root
	Firewall string `json:",omitempty"`
}

// report is what one of our processes tells the command that started it.
type report struct {
	Error string
	Code  int
}

// Descriptors that our processes are started with, besides orders at standard input.
const (
	reportFD  = 3 // a pipe: one report, then closed
	patientFD = 4 // a socket: the client that started it, or nothing
	watcherFD = 5 // a socket to the watcher of the command that started it (plan.Remote), or nothing
)

// helper is a process of ours that waits for orders.
type helper struct {
	e      *Engine
	verb   string
	pid    int
	orders *os.File
	report *os.File
	remote bool // it has a socket to our watcher
	client bool // it has one to a client
}

// launch starts this program once more, in a session of its own, with nothing inherited but what is named. extra become
// descriptors 4, 5, …
func (e *Engine) launch(verb string, extra ...*os.File) (*helper, error) {
	theirs, mine, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		mine.Close()
		return nil, err
	}
	defer w.Close()
	remote, isRemote := e.Watch.(plan.Remote)
	if isRemote = isRemote && verb != "reap"; isRemote {
		watcher, err := remote.Connect()
		if err != nil {
			closeAll(&mine, &r)
			return nil, err
		}
		defer watcher.Close()
		if len(extra) == 0 {
			extra = []*os.File{nil} // nobody attaches
		}
		extra = append(extra, watcher)
	}
	h := &helper{e: e, verb: verb, remote: isRemote, client: len(extra) > 0 && extra[0] != nil, orders: mine, report: r}
	if h.pid, err = e.spawn(verb, append([]*os.File{theirs, nil, nil, w}, extra...)); err != nil {
		h.dismiss()
		return nil, fmt.Errorf("start `mydocker %s`: %w", verb, err)
	}
	return h, nil
}

// spawn starts one of our processes. Not by os/exec, which at its first start makes a child only to see whether the kernel has
// pidfds. Streams that are nil are /dev/null, but for standard error where somebody watches; other files that are nil are closed.
func (e *Engine) spawn(verb string, files []*os.File) (pid int, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	if e.Watch != nil {
		files[2] = os.Stderr
	}
	fds := make([]uintptr, len(files))
	for i, f := range files {
		if f == nil && i <= 2 {
			f = null
		}
		fds[i] = f.Fd()
	}
	if err := state.Disinherit(); err != nil {
		return 0, err
	}
	// A Go program has a thread that looks every 20 µs whether another is stuck, which was an eighth of the processor time of a
	// start. The slack, which a process has from the thread that starts it, lets that thread sleep longer (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil && slack < helperSlack && unix.Prctl(unix.PR_SET_TIMERSLACK, helperSlack, 0, 0, 0) == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0)
	}
	// No garbage collection: what such a process does is done in a moment, and a monitor that stays settles (settle, becomeLean).
	// A number of processors: Go need not look for one in /proc/self/mountinfo, nor prepare for all of a large machine.
	env := helperEnv("GOGC=off", "GOMAXPROCS=4")
	if s, ok := e.Watch.(plan.Speaker); ok {
		env = append(env, "LC_ALL="+s.Language())
	}
	pid, err = syscall.ForkExec(e.Executable, []string{"mydocker", verb}, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: fds, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	runtime.KeepAlive(files)
	return pid, err
}

// helperSlack is by how many nanoseconds a timer of our own processes may be late. What becomes a container's process is given the
// kernel's default back (container).
const helperSlack = 1_000_000

// helperEnv is the environment of our own processes: nothing of the caller's but PATH, and where a mydocker that was built with
// the race detector is to write what it finds.
func helperEnv(more ...string) []string {
	env := append([]string{"PATH=" + os.Getenv("PATH")}, more...)
	if race, ok := os.LookupEnv("GORACE"); ok {
		env = append(env, "GORACE="+race)
	}
	return env
}

// dismiss lets go of the helper: one without orders ends.
func (h *helper) dismiss() {
	closeAll(&h.orders, &h.report)
}

// send gives the orders.
func (h *helper) send(o orders) error {
	o.Config = monitorConfig{Root: h.e.Root, Firewall: h.e.Firewall}
	o.Watched, o.Remote, o.Client = h.e.Watch != nil, h.remote, h.client
	err := json.NewEncoder(h.orders).Encode(o)
	closeAll(&h.orders)
	return err
}

// wait gives the helper's report: nil, or what went wrong there.
func (h *helper) wait() error {
	var rep report
	if err := json.NewDecoder(h.report).Decode(&rep); err != nil {
		return exitWith(125, fmt.Errorf("`mydocker %s` ended without an answer: %s (mydocker gc cleans up after it)", h.verb, h.end()))
	}
	if rep.Error != "" {
		return &startFailed{&ExitError{Code: rep.Code, Err: errors.New(rep.Error)}}
	}
	return nil
}

// end waits for the helper's end and says how it ended.
func (h *helper) end() string {
	for {
		var ws unix.WaitStatus
		switch _, err := unix.Wait4(h.pid, &ws, 0, nil); {
		case err == unix.EINTR:
		case err != nil:
			return err.Error()
		case ws.Signaled():
			return "signal: " + ws.Signal().String()
		default:
			return fmt.Sprintf("exit status %d", ws.ExitStatus())
		}
	}
}

// startContainer lets a launched monitor start the container, and returns when the container's command runs.
func (h *helper) startContainer(d *Definition) error {
	defer h.dismiss()
	images, err := h.e.images()
	if err == nil {
		err = images.EnsureChecked() // the monitor has no terminal to tell of images that are mended
	}
	if err != nil {
		return exitWith(125, err)
	}
	if err := h.send(orders{ID: d.ID}); err != nil {
		return exitWith(125, fmt.Errorf("start the monitor of %s: %w", d.Name, err))
	}
	if err := h.wait(); err != nil {
		return err
	}
	return nil
}

// takeOrders is the other side of launch. told gives the report, once.
func takeOrders() (o orders, tell func(error), ok bool) {
	out := os.NewFile(reportFD, "report")
	tell = func(err error) {
		if out == nil {
			return
		}
		_ = json.NewEncoder(out).Encode(asReport(err)) // nobody listening any more is no reason to stop
		out.Close()
		out = nil
	}
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil || o.ID == "" {
		return o, tell, false // dismissed; or typed by a curious user
	}
	return o, tell, true
}

// open opens the engine that the orders are for. For watcher see MonitorMain.
func (o *orders) open(watcher func(remote *os.File) (plan.Watcher, error)) (*Engine, error) {
	c := Config{Root: o.Config.Root, Firewall: o.Config.Firewall}
	if o.Watched {
		var remote *os.File
		if o.Remote {
			remote = os.NewFile(watcherFD, "watcher")
		}
		w, err := watcher(remote)
		if err != nil {
			return nil, err
		}
		c.Watch = w
	}
	return Open(c)
}

// client is the connection to the client that started this process, nil if there is none.
func (o *orders) client() (net.Conn, error) {
	if !o.Client {
		return nil, nil
	}
	f := os.NewFile(patientFD, "client")
	defer f.Close()
	return net.FileConn(f)
}

// socketPair is the client's end of a socket, and the other for the process that it launches.
func socketPair() (conn net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	mine := os.NewFile(uintptr(fds[0]), "helper")
	defer mine.Close()
	theirs = os.NewFile(uintptr(fds[1]), "client")
	if conn, err = net.FileConn(mine); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// leaveStderr is for one whose start is done: who started it goes on, and what was shown of --explain has to end here, or the
// standard error of that one would never end.
func leaveStderr() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		_ = unix.Dup3(int(null.Fd()), 2, 0)
		null.Close()
	}
}

func asReport(err error) report {
	if err == nil {
		return report{}
	}
	r := report{Error: err.Error(), Code: 125}
	var exit *ExitError
	if errors.As(err, &exit) {
		r.Code = exit.Code
	}
	return r
}
