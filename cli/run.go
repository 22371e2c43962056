package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/engine"
)

func runVerb() *verb {
	return &verb{
		name: "run", summary: "Create and run a new container from an image",
		usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]", rules: true, min: 1, max: -1, passthrough: true, complete: "image",
		about: `The exit status is that of the command; 125 is an error of mydocker's own, 126 a command that cannot be
executed, 127 one that is not found.

Examples:
  $ mydocker run --rm -it busybox sh
  $ mydocker network create br0
  $ mydocker run -d --name web -net br0 -p 8080:80 busybox httpd -f -h /www
  $ mydocker run --rm -v "$PWD":/src:ro -w /src -m 256m --cpus 1.5 busybox ls -l
  $ mydocker --explain run --rm busybox true`,
		flags: func() []urfave.Flag {
			return append(createFlags(),
				yes("detach,d", "Run container in background and print container ID"),
				str("detach-keys", "string", "Override the key sequence for detaching a container"),
				yes("dry-run", "Print the container's network as a shell script, and make nothing"),
				yesDefault("sig-proxy", true, "Proxy received signals to the process"),
			)
		},
		run: run,
	}
}

func run(s *session, c *urfave.Context) error {
	o := engine.RunOptions{Detach: c.Bool("detach"), NoSigProxy: !c.Bool("sig-proxy")}
	var err error
	if o.CreateOptions, err = createOptions(c, s.lookup); err != nil {
		return s.refuse(err)
	}
	o.Env = s.withProxies(o.Env)
	if o.DetachKeys, err = s.detachKeys(c, o.TTY && !o.Detach); err != nil {
		return s.refuse(err)
	}
	pull, err := readPull(c)
	if err != nil {
		return s.refuse(err)
	}
	if c.Bool("dry-run") {
		if err := checkDryRun(o.CreateOptions); err != nil {
			return s.refuse(err)
		}
		return s.planRun(o.CreateOptions)
	}
	streams, err := attachedStreams(s.streams, o.AttachStreams)
	if err != nil {
		return err
	}
	if !o.Detach {
		if err := checkTTY(o.TTY, o.OpenStdin, s.streams.In); err != nil {
			return err
		}
	}
	e, err := s.engine()
	if err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	if o.Detach {
		var id string
		var warnings []string
		err := s.withImage(&o.CreateOptions, pull, func() (err error) {
			id, warnings, err = e.RunDetached(context.Background(), o)
			return err
		})
		s.warn(warnings)
		if id != "" {
			s.warnIfCopied(e, id)
			_, printErr := fmt.Fprintln(s.streams.Out, id)
			err = errors.Join(err, printErr)
		}
		return err
	}
	var code int
	err = s.withImage(&o.CreateOptions, pull, func() (err error) {
		code, err = e.Run(context.Background(), o, streams)
		return err
	})
	return status(code, err)
}

// attachedStreams keeps those of the caller's streams that -a named; without any -a all are kept.
func attachedStreams(s engine.Streams, wanted []string) (engine.Streams, error) {
	if len(wanted) == 0 {
		return s, nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return s, err
	}
	if !slices.Contains(wanted, "stdin") {
		s.In = nil
	}
	if !slices.Contains(wanted, "stdout") {
		s.Out = null
	}
	if !slices.Contains(wanted, "stderr") {
		s.Err = null
	}
	return s, nil
}

func createVerb() *verb {
	return &verb{
		name: "create", summary: "Create a new container",
		usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]", min: 1, max: -1, passthrough: true, complete: "image",
		about: `The container is written down and not started; "mydocker start" does that.

Examples:
  $ mydocker create --name web -net br0 -p 8080:80 busybox httpd -f
  $ mydocker start web`,
		flags: createFlags,
		run: func(s *session, c *urfave.Context) error {
			o, err := createOptions(c, s.lookup)
			if err != nil {
				return s.refuse(err)
			}
			o.Env = s.withProxies(o.Env)
			pull, err := readPull(c)
			if err != nil {
				return s.refuse(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			ctx, stop := interruptible()
			defer stop()
			id, warnings, err := s.createWithImage(ctx, e, o, pull)
			s.warn(warnings)
			if err != nil {
				return &engine.ExitError{Code: 1, Err: err} // 125 is run's
			}
			_, err = fmt.Fprintln(s.streams.Out, id)
			return err
		},
	}
}

// interruptible is a context that ctrl-c ends, for what should clean up behind itself. Other commands simply die of it.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
}
