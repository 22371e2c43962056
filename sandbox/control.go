package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A command comes into a sandbox through a socket of its keeper, which is in all the right namespaces already and starts it:
//
//	client                                        keeper
//	one byte, with stdin, stdout, stderr   ────>
//	{"Place":"lan","Args":[…],…}           ────>  starts it
//	{"Signal":15}                          ────>  hands it on to the command's process group
//	                                       <────  {"Exit":0}  or  {"Error":"…","Exit":127}
//
// When the client hangs up before the end, the command gets SIGHUP, as from a terminal.

// request is one command.
type request struct {
	Place    string
	Args     []string
	Env      []string
	Dir      string
	Terminal bool // stdin is a terminal, to become the controlling one
}

// hint goes from the client to the running command.
type hint struct{ Signal int }

// answer ends a request.
type answer struct {
	Exit  int
	Error string
}

// Places of a sandbox, as users name them.
const (
	Host     = "host"
	Second   = "host2"
	LAN      = "lan"
	Internet = "internet"
)

func (k *keeper) serve(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors
			continue
		}
		go k.one(c)
	}
}

// one carries out one request.
func (k *keeper) one(c *net.UnixConn) {
	defer c.Close()
	files, err := receiveFiles(c)
	if err != nil {
		return // no client of ours
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	in := json.NewDecoder(c)
	var r request
	if err := in.Decode(&r); err != nil {
		return
	}
	if k.second && r.Place == Second {
		relay(c, in, files, r)
		return
	}
	reply := json.NewEncoder(c)
	done := make(chan unix.WaitStatus, 1)
	pid, code, err := k.run(&r, files, func(s unix.WaitStatus) { done <- s })
	if err != nil {
		_ = reply.Encode(answer{Exit: code, Error: err.Error()}) // who hung up does not want it
		return
	}
	go func() {
		var h hint
		for in.Decode(&h) == nil {
			k.children.signal(pid, unix.Signal(h.Signal))
		}
		k.children.signal(pid, unix.SIGHUP)
	}()
	status := <-done
	exit := status.ExitStatus()
	if status.Signaled() {
		exit = 128 + int(status.Signal())
	}
	_ = reply.Encode(answer{Exit: exit})
}

// run starts the command of a request. The code of an error is the shell's: 127 not found, 126 not to be executed.
func (k *keeper) run(r *request, files []*os.File, ended func(unix.WaitStatus)) (pid, code int, err error) {
	if len(r.Args) == 0 {
		return 0, 125, errors.New("there is no command")
	}
	env := append(slices.DeleteFunc(slices.Clone(r.Env), hostsOwn), "MYDOCKER_SANDBOX="+k.name)
	env, path := sandboxPath(env)
	sys := &syscall.SysProcAttr{Setsid: true, Setctty: r.Terminal}
	args := r.Args
	program, err := find(args[0], path)
	if err != nil {
		return 0, 127, err
	}
	switch r.Place {
	case Host, "":
	case LAN, Internet:
		args = append([]string{"mydocker", "sandbox", "place", r.Place, program}, args...)
		program = "/proc/self/exe"
		sys.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS
	case Second:
		return 0, 125, errors.New("this sandbox has one host: `mydocker sandbox up --hosts 2` makes one with two")
	default:
		return 0, 125, fmt.Errorf("a sandbox has no place %q: there are %s and internet", r.Place, k.places())
	}
	dir := r.Dir
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = "/"
	}
	pid, err = k.children.start(program, args, &os.ProcAttr{Dir: dir, Env: env, Files: files, Sys: sys}, ended)
	if err != nil {
		return 0, 126, err
	}
	return pid, 0, nil
}

func (k *keeper) places() string {
	if k.second {
		return "host, host2, lan"
	}
	return "host, lan"
}

// hostsOwn are variables that speak of places that are not there in a sandbox.
func hostsOwn(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return slices.Contains([]string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "MYDOCKER_SANDBOX", "SSH_AUTH_SOCK"}, name)
}

// sandboxPath puts our own programs before, and those of administrators behind the client's PATH.
func sandboxPath(env []string) ([]string, string) {
	path := "/usr/local/bin:/usr/bin:/bin"
	env = slices.DeleteFunc(env, func(kv string) bool {
		value, ok := strings.CutPrefix(kv, "PATH=")
		if ok && value != "" {
			path = value
		}
		return ok
	})
	path = strings.TrimPrefix(path, binDir+":")
	have := strings.Split(path, ":")
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(have, dir) {
			path += ":" + dir
		}
	}
	path = binDir + ":" + path
	return append(env, "PATH="+path), path
}

// find is what a shell does with a command's name.
func find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(path, ":") {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: command not found in the sandbox", name)
}

// relay hands a request on to host2, with its files, and whatever is said afterwards.
func relay(c *net.UnixConn, in *json.Decoder, files []*os.File, r request) {
	r.Place = Host
	to, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: secondSocket, Net: "unix"})
	if err == nil {
		defer to.Close()
		err = sendRequest(to, files, r)
	}
	if err != nil {
		_ = json.NewEncoder(c).Encode(answer{Exit: 125, Error: "host2 does not answer: " + err.Error()})
		return
	}
	go func() {
		_, _ = io.Copy(to, io.MultiReader(in.Buffered(), c))
		_ = to.CloseWrite()
	}()
	_, _ = io.Copy(c, to)
}

// sendRequest is the client's half of the drawing above.
func sendRequest(c *net.UnixConn, files []*os.File, r request) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if _, _, err := c.WriteMsgUnix([]byte{1}, unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	return json.NewEncoder(c).Encode(r)
}

// receiveFiles takes the first byte and the three files that came with it.
func receiveFiles(c *net.UnixConn) (files []*os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || n != 1 {
		return nil, errors.Join(err, errors.New("a connection without a request"))
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stream"))
		}
	}
	if len(files) != 3 {
		for _, f := range files {
			f.Close()
		}
		return nil, errors.New("a request without its three streams")
	}
	return files, nil
}
