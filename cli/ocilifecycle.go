package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strconv"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
)

func bundleFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "directory of config.json"},
		&urfave.StringFlag{Name: "console-socket", Usage: "unix socket that is sent the terminal"},
		&urfave.StringFlag{Name: "pidfd-socket", Usage: "unix socket that is sent a descriptor of the process"},
		&urfave.StringFlag{Name: "pid-file", Usage: "file for the process id"},
		&urfave.BoolFlag{Name: "no-pivot", Usage: "change the root by chroot"},
		&urfave.BoolFlag{Name: "no-new-keyring", Usage: "keep the caller's session keyring"},
		&urfave.IntFlag{Name: "preserve-fds", Usage: "pass so many descriptors from 3 on"},
	}
}

func (o *ociSession) lifecycleCommands() []*urfave.Command {
	run := append(bundleFlags(),
		&urfave.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for the container"},
		&urfave.BoolFlag{Name: "keep", Usage: "do not delete the container after its end"},
		&urfave.BoolFlag{Name: "no-subreaper", Usage: "taken for compatibility"},
	)
	return []*urfave.Command{
		ociCommand("create", "create a container", "ID", 1, 1, bundleFlags(), o.create),
		ociCommand("run", "create and start a container", "ID", 1, 1, run, o.run),
		ociCommand("start", "run the command of a created container", "ID", 1, 1, nil, func(c *urfave.Context) error {
			found, err := o.load(c)
			if err != nil {
				return err
			}
			return found.Start()
		}),
		ociCommand("kill", "send a signal (default TERM)", "ID [SIGNAL]", 1, 2, []urfave.Flag{
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "to all processes of the container"},
		}, o.kill),
		ociCommand("delete", "delete a container", "ID", 1, 1, []urfave.Flag{
			&urfave.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill it first; absent is success"},
		}, o.delete),
		ociCommand("pause", "stop all processes of a container", "ID", 1, 1, nil, func(c *urfave.Context) error {
			found, err := o.load(c)
			if err != nil {
				return err
			}
			return found.Pause()
		}),
		ociCommand("resume", "let a paused container go on", "ID", 1, 1, nil, func(c *urfave.Context) error {
			found, err := o.load(c)
			if err != nil {
				return err
			}
			return found.Resume()
		}),
	}
}

func (o *ociSession) createOptions(c *urfave.Context) (container.CreateOptions, error) {
	opts := container.CreateOptions{
		ID: c.Args().First(), Bundle: c.String("bundle"), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		PidFile: c.String("pid-file"), ConsoleSocket: c.String("console-socket"), PidfdSocket: c.String("pidfd-socket"),
		KeepConfig: true, Systemd: o.systemd, NoPivot: c.Bool("no-pivot"), NoNewKeyring: c.Bool("no-new-keyring"),
	}
	spec, err := container.LoadSpec(opts.Bundle)
	if err != nil {
		return opts, err
	}
	opts.Spec = spec
	files, env, err := passedFiles(c.Int("preserve-fds"), os.Getenv("LISTEN_FDS"))
	if err != nil {
		return opts, err
	}
	if opts.ExtraFiles = files; spec.Process != nil {
		spec.Process.Env = append(spec.Process.Env, env...)
	}
	return opts, nil
}

// passedFiles are the descriptors that the container inherits: those of socket activation (sd_listen_fds(3): LISTEN_FDS
// counts only for the process whose number LISTEN_PID is), then those of --preserve-fds.
func passedFiles(preserve int, listen string) (files []*os.File, env []string, err error) {
	if preserve < 0 {
		return nil, nil, fmt.Errorf("--preserve-fds %d is not a number of descriptors", preserve)
	}
	count := preserve
	if listen != "" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		n, err := strconv.Atoi(listen)
		if err != nil || n < 0 {
			return nil, nil, fmt.Errorf("LISTEN_FDS=%q is not a number", listen)
		}
		count += n
		env = []string{"LISTEN_FDS=" + listen, "LISTEN_PID=1"}
	}
	for fd := 3; fd < 3+count; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF // opened by this process itself: what is inherited has come through an execve
		}
		if err != nil {
			return nil, nil, fmt.Errorf("descriptor %d, which the container should inherit: %w", fd, err)
		}
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd)))
	}
	return files, env, nil
}

func (o *ociSession) create(c *urfave.Context) error {
	opts, err := o.createOptions(c)
	if err != nil {
		return err
	}
	if err := checkConsole(opts.ConsoleSocket, true, opts.Spec.Process != nil && opts.Spec.Process.Terminal); err != nil {
		return err
	}
	opts.Detach = true
	_, err = o.runtime.Create(c.Context, opts)
	return inUse(err)
}

// checkConsole refuses a terminal that nobody would have, and a socket that nothing would come to. The words are runc's.
func checkConsole(socket string, detach, terminal bool) error {
	switch {
	case detach && terminal && socket == "":
		return errors.New("cannot allocate tty if runc will detach without setting console socket: add --console-socket, or do without a terminal")
	case socket != "" && !(detach && terminal):
		return errors.New("cannot use console socket if runc will not detach or allocate tty: --console-socket is for a terminal of what is detached")
	}
	return nil
}

// inUse adds the words that engines look for.
func inUse(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: container with given ID already exists", err)
	}
	return err
}

func (o *ociSession) run(c *urfave.Context) error {
	opts, err := o.createOptions(c)
	if err != nil {
		return err
	}
	detach := c.Bool("detach")
	if err := checkConsole(opts.ConsoleSocket, detach, opts.Spec.Process != nil && opts.Spec.Process.Terminal); err != nil {
		return err
	}
	signals := relaySignals(detach)
	defer signals.stop()
	made, err := o.runtime.Create(c.Context, opts)
	if err != nil {
		return inUse(err)
	}
	if err := made.Start(); err != nil {
		return errors.Join(err, made.Release())
	}
	if detach {
		return nil
	}
	exit, err := o.attend(made.Console(), signals, made.Kill, made.Wait)
	o.code = exit.Code
	if c.Bool("keep") {
		return err
	}
	return errors.Join(err, made.Release())
}

// attend stands beside a process in the foreground: terminal, signals, end.
func (o *ociSession) attend(console *os.File, signals *relay, kill func(unix.Signal) error, wait func() (container.Exit, error)) (container.Exit, error) {
	restore := func() {}
	var copied <-chan struct{}
	if console != nil {
		defer console.Close()
		var err error
		if restore, copied, err = joinTerminal(console); err != nil {
			return container.Exit{}, errors.Join(err, kill(unix.SIGKILL))
		}
	}
	defer restore()
	go signals.pass(console, kill)
	exit, err := wait()
	if copied != nil {
		<-copied
	}
	return exit, err
}

// relay collects signals from before there is a process to pass them to.
type relay struct{ c chan os.Signal }

func relaySignals(detach bool) *relay {
	r := &relay{make(chan os.Signal, 64)}
	if !detach {
		signal.Notify(r.c)
	}
	return r
}

func (r *relay) stop() { signal.Stop(r.c) }

func (r *relay) pass(console *os.File, kill func(unix.Signal) error) {
	for s := range r.c {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE:
		case unix.SIGWINCH:
			if console != nil {
				copySize(console)
			}
		default:
			// The process may have ended between the signal and now; nobody is left to be told then.
			_ = kill(s.(unix.Signal))
		}
	}
}

func (o *ociSession) kill(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if c.NArg() == 2 {
		if sig, err = parseOCISignal(c.Args().Get(1)); err != nil {
			return err
		}
	}
	if c.Bool("all") {
		return found.KillAll(sig)
	}
	if s := found.Status(); s == container.Stopped {
		return fmt.Errorf("container %s: %w: it is %s", found.ID(), container.ErrNotRunning, s)
	}
	return found.Kill(sig)
}

// parseOCISignal knows 0 besides, which asks whether the process is there: kill(2).
func parseOCISignal(text string) (unix.Signal, error) {
	if text == "0" {
		return 0, nil
	}
	sig, err := engine.ParseSignal(text)
	if err != nil {
		return 0, fmt.Errorf("unknown signal %q (kill -l lists them)", text)
	}
	return sig, nil
}

func (o *ociSession) delete(c *urfave.Context) error {
	if !c.Bool("force") {
		if _, err := o.load(c); err != nil {
			return err
		}
	}
	return o.runtime.Delete(c.Args().First(), c.Bool("force"))
}
