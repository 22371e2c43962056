package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// A monitor that has started its container has done all that needs memory: decoding, planning, netlink. What is left is
// to wait, for years perhaps. So it replaces itself by a fresh copy of the program: execve(2) keeps the process, its
// children, its open files and with them its locks, and forgets the heap, which halves what a monitor takes.

// leanState is what the copy is told on its command line.
type leanState struct {
	Config   monitorConfig
	Network  network.Config // in force: the file may have become one that nobody can read, and the container is to live with that
	ID       string
	Life     Life
	Restarts int
	Backoff  restartBackoff
	// Descriptors. In is -1 without -i, Log -1 for --log-driver none.
	Lock, Sock, In, Out, Err, Rootfs int
	Held                             []int
	Ports                            []network.HostSocket `json:",omitempty"` // what Held are, in the same order
	DNS                              []int                `json:",omitempty"` // UDP, TCP
	Upstream                         []netip.Addr
	Parts                            map[string][]byte `json:",omitempty"` // unfinished lines of the log
	Journal                          *journalPlace     `json:",omitempty"`
}

// leanDelay is how long the change waits: who starts many containers one after the other has better use for the processors
// meanwhile, and a container that ends soon needs no lean monitor.
const leanDelay = time.Second

// Whoever waits for the answer of a name server would wait in vain after the change: it is put off, so many times.
const leanTries, leanPause = 8, 250 * time.Millisecond

// leanLater becomes lean unless the container ends before. It is called by the one who waits for that end: a child that is
// reaped in the moment of the change would be waited for in vain.
func (m *monitor) leanLater(l *live, life Life, restarts int, backoff restartBackoff) {
	if m.stay {
		return
	}
	pause := leanDelay
	for range leanTries {
		ended, err := waitPid(context.Background(), l.c, pause)
		if err != nil || ended {
			return // the one who waits will see
		}
		if again := m.becomeLean(l, life, restarts, backoff); !again {
			break
		}
		pause = leanPause
	}
	settle()
}

// becomeLean does not return when it succeeds. When it cannot be done, the monitor goes on as it is; again says that it may be possible
// in a moment.
func (m *monitor) becomeLean(l *live, life Life, restarts int, backoff restartBackoff) (again bool) {
	if m.stay || m.e.Watch != nil || m.d.Options.TTY || m.hub.attached() {
		return false
	}
	m.mu.Lock() // nobody changes the networks meanwhile
	defer m.mu.Unlock()
	// A connection that a proxy carries would not survive: then the monitor stays as it is.
	paused := l.proxies.pause()
	defer func() {
		if err := l.proxies.resume(l.held); err != nil {
			m.complain(err)
		}
	}()
	if !paused {
		return false
	}
	sock, err := m.stopAccepting()
	if err != nil {
		m.complain(err)
		return false
	}
	defer sock.Close()
	l.pausePumps()
	// Nobody who connected in time may be lost; who connects from now on waits in the socket.
	if l.streams.out != nil && l.streams.err != nil && !m.hub.attached() {
		s := leanState{
			Network: m.e.config,
			Config:  monitorConfig{Root: m.e.Root, Firewall: m.e.Firewall}, ID: m.d.ID, Life: life, Restarts: restarts, Backoff: backoff,
			Upstream: l.upstream, In: -1,
		}
		if err := m.passOn(l, sock, &s); errors.Is(err, network.ErrDNSBusy) {
			again = true
		} else if err != nil {
			m.complain(fmt.Errorf("the monitor could not make itself smaller: %w", err))
		}
	}
	l.resumePumps(m.d, m.hub)
	if listener, err := net.FileListener(sock); err != nil {
		m.complain(err)
	} else {
		m.startAccepting(listener)
	}
	return again
}

// stopAccepting lets new clients wait, and gives the socket in which they do.
func (m *monitor) stopAccepting() (*os.File, error) {
	sock, err := m.sock.(*net.UnixListener).File()
	if err != nil {
		return nil, err
	}
	m.sock.Close()
	<-m.accepting
	return sock, nil
}

// passOn replaces this process. If it returns, that has failed.
func (m *monitor) passOn(l *live, sock *os.File, s *leanState) (err error) {
	files := map[*int]*os.File{&s.Lock: m.lock.File(), &s.Sock: sock, &s.Out: l.streams.out, &s.Err: l.streams.err, &s.Rootfs: l.rootfs}
	s.Held = make([]int, len(l.held))
	for i, port := range l.held {
		files[&s.Held[i]] = port.File
	}
	s.Ports = l.held
	if l.dns != nil {
		udp, tcp, err := network.HandOverDNS(l.dns)
		if err != nil {
			return err
		}
		defer func() {
			var resumeErr error
			l.dns, resumeErr = m.e.networks.ResumeDNS(m.sandbox(), m.d.ID, udp, tcp, s.Upstream...)
			err = errors.Join(err, resumeErr)
		}()
		s.DNS = make([]int, 2)
		files[&s.DNS[0]], files[&s.DNS[1]] = udp, tcp
	}
	for to, f := range files {
		if *to, err = inheritable(f); err != nil {
			return err
		}
	}
	if l.streams.in != nil {
		if s.In, err = inheritable(l.streams.in); err != nil {
			s.In = -1 // closed meanwhile: there is nothing more to come
		}
	}
	if m.log != nil {
		s.Parts = m.log.part
		if m.log.journal != nil {
			s.Journal = &m.log.journal.place
		}
	}
	letter, err := leaveLetter(s)
	if err != nil {
		return err
	}
	return syscall.Exec(m.e.Executable, []string{"mydocker", "monitor", s.ID, strconv.Itoa(letter)}, helperEnv("GOGC=20", "GOMAXPROCS=2"))
}

// leaveLetter writes the state where the next self finds it: a file in memory, at the descriptor that is returned.
func leaveLetter(s *leanState) (fd int, err error) {
	data, err := json.Marshal(s)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.MemfdCreate("monitor", 0); err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	if _, err = unix.Pwrite(fd, data, 0); err != nil {
		unix.Close(fd)
	}
	return fd, err
}

func readLetter(arg string) (*leanState, error) {
	fd, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "letter")
	if f == nil {
		return nil, os.ErrInvalid
	}
	defer f.Close()
	s := new(leanState)
	return s, json.NewDecoder(f).Decode(s)
}

func (m *monitor) sandbox() *network.Sandbox {
	return &network.Sandbox{Name: m.d.Name, Path: filepath.Join(m.e.Root.NetNS, m.d.Name)}
}

// inheritable lets a descriptor survive execve. Not by File.Fd, which would make a pipe blocking.
func inheritable(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(n uintptr) {
		fd = int(n)
		_, err = unix.FcntlInt(n, unix.F_SETFD, 0)
	})
	return fd, errors.Join(err, ctlErr)
}

// inherited is the other end: a descriptor that came through execve, and goes no further.
func inherited(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// resumeMain is a monitor that has become lean.
func resumeMain(letter string) int {
	s, err := readLetter(letter)
	if err != nil {
		return 125
	}
	e, err := open(Config{Root: s.Config.Root, Firewall: s.Config.Firewall})
	if err != nil {
		return 125
	}
	e.use(s.Network)
	m, l, err := e.resume(s)
	if err != nil {
		return 1 // the container goes on without a monitor: stop, rm and gc know what to do about that
	}
	m.heedTermination()
	life, l, err := m.run(&begun{live: l, life: s.Life, restarts: s.Restarts, backoff: s.Backoff}, func(error) {})
	if err = errors.Join(err, m.finish(l, life)); err != nil {
		return 1
	}
	return 0
}

func (e *Engine) resume(s *leanState) (*monitor, *live, error) {
	d, err := e.readDefinition(s.ID)
	if err != nil {
		return nil, nil, err
	}
	m := &monitor{e: e, d: d, lock: state.InheritedLock(inherited(s.Lock, "lock"))}
	l := &live{rootfs: inherited(s.Rootfs, "rootfs"), upstream: s.Upstream}
	l.streams = &stdio{out: inherited(s.Out, "stdout"), err: inherited(s.Err, "stderr")}
	if s.In >= 0 {
		l.streams.in = inherited(s.In, "stdin")
	}
	for i, fd := range s.Held {
		port := s.Ports[i]
		port.File = inherited(fd, "port")
		l.held = append(l.held, port)
	}
	if l.proxies, err = startProxies(nil, l.held); err != nil {
		return nil, nil, err
	}
	if l.c, err = e.runtime.Load(s.ID); err != nil {
		return nil, nil, err
	}
	l.c.Adopt()
	if err := m.openLog(); err != nil {
		return nil, nil, err
	}
	if m.log != nil && s.Parts != nil {
		m.log.part = s.Parts
	}
	if s.Journal != nil {
		m.log.journal.place = *s.Journal
	}
	if len(s.DNS) == 2 {
		if l.dns, err = e.networks.ResumeDNS(m.sandbox(), d.ID, inherited(s.DNS[0], "dns"), inherited(s.DNS[1], "dns"), s.Upstream...); err != nil {
			return nil, nil, err
		}
	}
	m.makeHub()
	sock := inherited(s.Sock, "attach.sock")
	m.setLive(l)
	listener, err := net.FileListener(sock)
	if err != nil {
		return nil, nil, err
	}
	sock.Close()
	m.startAccepting(listener)
	l.resumePumps(d, m.hub)
	return m, l, nil
}

// begun is a container that a former self of this monitor has started.
type begun struct {
	live     *live
	life     Life
	restarts int
	backoff  restartBackoff
}

// attached says whether anybody is connected.
func (h *hub) attached() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients) > 0 || h.local != nil
}
